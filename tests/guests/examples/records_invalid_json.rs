//! Emits something that breaks off.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(r#"[{"id":1},{"id":2,"text":"broken"#).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
