//! Emits a record that has a name twice.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(r#"[{"id":1},{"id":2,"a":{"b":1,"b":2}}]"#).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
