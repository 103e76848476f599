//! Has no stream at all.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn streams(_: &Config) -> Result<Vec<Stream>> {
        Ok(Vec::new())
    }
}

connector_sdk::export!(Connection<Case>);
