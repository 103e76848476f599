//! Keeps records of an answer by places of which one comes twice.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let response = config.get("/items").send()?;
        let _ = Page::select(response, "/items").keep([0, 1, 1])?.emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
