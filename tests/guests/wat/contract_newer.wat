;; Was made for a version of the contract that this host does not know, and imports nothing.
(component
  (instance $source)
  (export "ingest:connector/source@0.2.0" (instance $source)))
