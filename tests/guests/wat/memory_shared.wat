;; Declares a shared memory, whose growth no limit of one guest would see.
(component
  (core module $m (memory 1 49152 shared) (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $source
    (export "describe" (func $f)) (export "check" (func $f)) (export "streams" (func $f))
    (export "partitions" (func $f)) (export "read" (func $f)))
  (export "ingest:connector/source@0.1.0" (instance $source)))
