//! Writes to the log for ever.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        loop {
            connector_sdk::debug!("one more line");
        }
    }
}

connector_sdk::export!(Connection<Case>);
