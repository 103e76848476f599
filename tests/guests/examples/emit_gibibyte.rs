//! Emits a page of a gibibyte.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(vec![b' '; 1 << 30]).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
