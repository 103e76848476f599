//! Names ever new budgets.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        for number in 0..1_000_000 {
            connector_sdk::rate_limit::acquire(&format!("bucket {number}"), 1);
        }
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
