//! Emits numbers that no machine has.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(
            r#"[{"id":1,"a":1e999999999,"b":123456789012345678901234567890123456789012345678901234567890,"c":-0.0}]"#,
        )
        .emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
