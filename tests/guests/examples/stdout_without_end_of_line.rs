//! Writes a line without an end to standard output.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        use std::io::Write;
        loop {
            let _ = std::io::stdout().write_all(b"no end ");
        }
    }
}

connector_sdk::export!(Connection<Case>);
