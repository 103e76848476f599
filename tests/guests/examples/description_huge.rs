//! Describes itself in a hundred megabytes.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        Description::new("guest", "1.0.0", "x".repeat(100 << 20))
    }
}

connector_sdk::export!(Connection<Case>);
