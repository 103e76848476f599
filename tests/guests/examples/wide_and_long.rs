//! Emits one record with very many fields, and very many with none.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let fields: Vec<String> = (0..1_500).map(|field| format!("\"f{field}\":1")).collect();
        let mut text = format!("[{{\"id\":1,{}}}", fields.join(","));
        text.push_str(&",{}".repeat(2_000_000));
        text.push(']');
        let _ = Page::json(text).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
