//! Emits records each of which has a field of its own.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json({
            let records: Vec<String> = (0..100_000).map(|field| format!("{{\"f{field}\":1}}")).collect();
            format!("[{}]", records.join(","))
        })
        .emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
