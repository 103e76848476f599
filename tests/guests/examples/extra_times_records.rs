//! Adds a large constant field to very many records.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let constant = "x".repeat(1 << 20);
        let _ = Page::select(config.get("/many").send()?, "").extra("constant", &constant)?.emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
