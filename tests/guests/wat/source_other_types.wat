;; Exports functions that have the names of a connector's, and other types.
(component
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $source
    (export "describe" (func $f)) (export "check" (func $f)) (export "streams" (func $f))
    (export "partitions" (func $f)) (export "read" (func $f)))
  (export "ingest:connector/source@0.1.0" (instance $source)))
