;; Exports the interface of a connector with nothing in it.
(component
  (instance $source)
  (export "ingest:connector/source@0.1.0" (instance $source)))
