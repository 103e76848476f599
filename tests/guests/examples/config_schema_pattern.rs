//! Has a pattern in its configuration schema that a backtracking matcher would never be done with.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        guests::description().config_schema(json!({
            "properties": {"url": {"type": "string"}, "elsewhere": {"type": "string", "pattern": "^(a|a?)+$"}}
        }))
    }
}

connector_sdk::export!(Connection<Case>);
