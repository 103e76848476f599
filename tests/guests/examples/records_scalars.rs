//! Emits numbers where records should be.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json("[1,2,3]").emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
