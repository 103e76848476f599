//! Emits a record that is very large.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(format!("[{{\"id\":1,\"text\":\"{}\"}}]", "x".repeat(20 << 20))).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
