;; Is a core module, no component.
(module (func (export "read")))
