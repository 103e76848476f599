//! Emits the same page for ever.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        loop {
            healthy()?;
        }
    }
}

connector_sdk::export!(Connection<Case>);
