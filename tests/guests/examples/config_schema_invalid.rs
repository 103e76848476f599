//! Has a configuration schema that is none.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        guests::description().config_schema(json!({"type": 7}))
    }
}

connector_sdk::export!(Connection<Case>);
