//! Asks for what `reads_by_cursor` asks for, and makes other records of it: for the difference that a replay shows.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let mut cursor: Option<String> = None;
        loop {
            let response = config.get("/items").query_opt("cursor", cursor).send()?;
            let texts = response.json_text("/items")?.unwrap_or_default();
            // Record 2 is gone, 9,002 is new, 3 has another name.
            let texts = texts.replace("{\"id\":2,", "{\"id\":9002,").replace("item-0000003", "third");
            cursor = response.json("/next")?;
            let _ = Page::json(texts).emit();
            if cursor.is_none() {
                return Ok(None);
            }
        }
    }
}

connector_sdk::export!(Connection<Case>);
