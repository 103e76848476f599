//! Selects a list of numbers.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::select(config.get("/numbers").send()?, "/numbers").emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
