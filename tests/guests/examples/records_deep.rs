//! Emits a record that is nested very deep.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(format!("[{}1{}]", "{\"a\":".repeat(100_000), "}".repeat(100_000))).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
