;; Makes 120 tables.
(component
  (core module $m
    (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref)
    (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref)
    (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref)
    (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref)
    (func (export "f")))
  (core instance $i (instantiate $m))
  (core instance (instantiate $m))
  (core instance (instantiate $m))
  (core instance (instantiate $m))
  (core instance (instantiate $m))
  (core instance (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $source
    (export "describe" (func $f)) (export "check" (func $f)) (export "streams" (func $f))
    (export "partitions" (func $f)) (export "read" (func $f)))
  (export "ingest:connector/source@0.1.0" (instance $source)))
