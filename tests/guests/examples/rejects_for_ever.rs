//! Rejects every answer, for as long as the host lets it.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let mut response = config.get("/items").send()?;
        loop {
            response = response.reject("x".repeat(1 << 20), true)?;
        }
    }
}

connector_sdk::export!(Connection<Case>);
