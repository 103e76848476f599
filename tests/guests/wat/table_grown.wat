;; Grows a table for ever while it starts.
(component
  (core module $m
    (table $t 0 funcref)
    (func $start
      (loop $again
        (drop (table.grow $t (ref.null func) (i32.const 1000)))
        (br $again)))
    (start $start)
    (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $source
    (export "describe" (func $f)) (export "check" (func $f)) (export "streams" (func $f))
    (export "partitions" (func $f)) (export "read" (func $f)))
  (export "ingest:connector/source@0.1.0" (instance $source)))
