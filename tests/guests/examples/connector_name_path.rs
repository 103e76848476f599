//! Calls itself by a name that would be a file elsewhere.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        Description::new("../../guest", "1.0.0", "Climbs.")
    }
}

connector_sdk::export!(Connection<Case>);
