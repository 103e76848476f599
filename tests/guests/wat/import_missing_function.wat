;; Asks an interface of the contract for a function that it does not have.
(component
  (import "ingest:connector/clock@0.1.0" (instance (export "set" (func (param "to" u64)))))
  (instance $source)
  (export "ingest:connector/source@0.1.0" (instance $source)))
