//! Removes ever new keys that were never there.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        for number in 0..200_000 {
            connector_sdk::storage::delete(&format!("{number:0>1000}"))?;
        }
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
