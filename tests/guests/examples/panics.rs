//! Panics.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        #[expect(clippy::panic, reason = "what this case is about")]
        {
            panic!("there is no page 7")
        }
    }
}

connector_sdk::export!(Connection<Case>);
