;; Was made for a version of the contract from before the first release.
(component
  (import "ingest:connector/http@0.0.9" (instance))
  (instance $source)
  (export "ingest:connector/source@0.0.9" (instance $source)))
