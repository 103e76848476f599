//! Sleeps for a century in `describe`.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        connector_sdk::clock::sleep(std::time::Duration::from_secs(100 * 365 * 24 * 3600));
        guests::description()
    }
}

connector_sdk::export!(Connection<Case>);
