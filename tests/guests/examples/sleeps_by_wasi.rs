//! Sleeps for a century, through the language's own library.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        std::thread::sleep(std::time::Duration::from_secs(100 * 365 * 24 * 3600));
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
