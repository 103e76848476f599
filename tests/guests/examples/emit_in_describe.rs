//! Emits records in `describe`.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        let _ = healthy();
        guests::description()
    }
}

connector_sdk::export!(Connection<Case>);
