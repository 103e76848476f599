//! Keeps every response.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let mut responses = Vec::new();
        loop {
            responses.push(config.get("/large").send()?);
        }
    }
}

connector_sdk::export!(Connection<Case>);
