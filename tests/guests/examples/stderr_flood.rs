//! Writes to standard error for ever.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        use std::io::Write;
        loop {
            let _ = std::io::stderr().write_all(b"one more line\n");
        }
    }
}

connector_sdk::export!(Connection<Case>);
