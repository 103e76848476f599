//! Emits records in `streams`.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn streams(_: &Config) -> Result<Vec<Stream>> {
        let _ = healthy();
        Ok(vec![Stream::new("items")])
    }
}

connector_sdk::export!(Connection<Case>);
