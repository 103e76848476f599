//! Has a configuration schema that points to a file.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        guests::description().config_schema(json!({
            "properties": {"url": {"$ref": "file:///etc/passwd"}}
        }))
    }
}

connector_sdk::export!(Connection<Case>);
