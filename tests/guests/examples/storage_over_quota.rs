//! Stores more than it may.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        for number in 0..100 {
            connector_sdk::storage::set_bytes(&format!("key {number}"), &[0; 1000])?;
        }
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
