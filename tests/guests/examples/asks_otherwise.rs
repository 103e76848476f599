//! Asks for the same as `reads_by_cursor` at first, and then for something else: where a replay has to end.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let response = config.get("/items").send()?;
        let cursor: Option<String> = response.json("/next")?;
        let _ = Page::select(response, "/items").emit();
        let next = config.get("/items").query_opt("after", cursor).header("x-version", "2");
        let _ = Page::select(next.send()?, "/items").emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
