;; Is a component of another world.
(component
  (import "wasi:cli/stdout@0.2.0" (instance))
  (instance $run)
  (export "wasi:cli/run@0.2.0" (instance $run)))
