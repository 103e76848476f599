//! Does what a connector should, by the SDK's cursors: what the others are measured against.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, read: &Read) -> Result<Option<String>> {
        Ok(read.pages(config.get("/items"), "/items", Cursor::token("/next", "cursor")).run()?.watermark)
    }
}

connector_sdk::export!(Connection<Case>);
