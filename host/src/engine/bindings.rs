//! Code generated from the contract in `wit/`, fenced off from what people wrote.

#![expect(missing_docs, reason = "the documentation stands in the contract's own files, which are not carried over")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "connector",
    imports: {
        // Called often and never waiting: no fiber switch for them.
        "ingest:connector/clock.now": trappable,
        "ingest:connector/http.[method]response.status": trappable,
        "ingest:connector/http.[method]response.header": trappable,
        "ingest:connector/http.[method]response.headers": trappable,
        "ingest:connector/http.[method]response.body": trappable,
        "ingest:connector/http.[method]response.json": trappable,
        "ingest:connector/http.[method]response.len": trappable,
        "ingest:connector/http.[method]response.values": trappable,
        "ingest:connector/http.[method]response.fingerprint": trappable,
        "ingest:connector/log.write": trappable,
        "ingest:connector/rate-limit.observe": trappable,
        "ingest:connector/rate-limit.status": trappable,
        "ingest:connector/storage.get": trappable,
        "ingest:connector/storage.set": trappable,
        "ingest:connector/storage.delete": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "ingest:connector/http.response": crate::capability::http::Response,
        "ingest:connector/http.pending": crate::capability::http::Pending,
    },
});
