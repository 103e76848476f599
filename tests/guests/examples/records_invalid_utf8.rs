//! Emits bytes that are no UTF-8.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(b"[{\"id\":1,\"text\":\"\xff\xfe\"}]").emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
