//! Code generated from `wit/`; everything the SDK offers is a wrapper around it.

#![expect(missing_docs, reason = "what is generated from the contract is documented there")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "connector",
    pub_export_macro: true,
    default_bindings_module: "connector_sdk::bindings",
});
