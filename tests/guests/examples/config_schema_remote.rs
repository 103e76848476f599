//! Has a configuration schema that points to another host.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        guests::description().config_schema(json!({
            "properties": {"url": {"$ref": "http://127.0.0.1:1/schema"}}
        }))
    }
}

connector_sdk::export!(Connection<Case>);
