//! Selects from an answer that is a page for people.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::select(config.get("/html").send()?, "/items").emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
