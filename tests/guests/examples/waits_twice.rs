//! Waits twice for one request.

use guests::prelude::*;

use connector_sdk::bindings::ingest::connector::http as wit;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let request = wit::Request {
            method: wit::Method::Get,
            url: format!("{}/items", config.url),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            accept: Vec::new(),
            reads: false,
        };
        let pending = wit::start(&request);
        let _ = pending.wait();
        let _ = pending.wait();
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
