//! Names two streams alike.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn streams(_: &Config) -> Result<Vec<Stream>> {
        Ok(vec![Stream::new("items").primary_key(["id"]), Stream::new("items").primary_key(["id"])])
    }
}

connector_sdk::export!(Connection<Case>);
