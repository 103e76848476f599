//! Believes whatever it is told: what fails is the end, a list that is missing is an empty one, a page that came before is a
//! new one, and a read that goes on begins again. What `host torture` is to find out.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let mut cursor: Option<String> = None;
        loop {
            let Ok(response) = config.get("/items").query_opt("cursor", cursor.as_deref()).send() else { break };
            cursor = response.json("/next").ok().flatten();
            if matches!(response.len("/items"), Ok(Some(1..))) {
                let _ = Page::select(response, "/items").emit();
            }
            if cursor.is_none() {
                break;
            }
        }
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
