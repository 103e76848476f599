//! Emits a text that is no Unicode.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(r#"[{"id":1,"text":"\ud800"}]"#).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
