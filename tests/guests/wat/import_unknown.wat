;; Asks for an interface of nobody's.
(component
  (import "acme:disk/raw" (instance))
  (instance $source)
  (export "ingest:connector/source@0.1.0" (instance $source)))
