;; Asks for the way out that goes past the host.
(component
  (import "wasi:http/outgoing-handler@0.2.0" (instance))
  (instance $source)
  (export "ingest:connector/source@0.1.0" (instance $source)))
