//! Asks for the time for ever in `streams`.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn streams(_: &Config) -> Result<Vec<Stream>> {
        loop {
            std::hint::black_box(connector_sdk::clock::now_ms());
        }
    }
}

connector_sdk::export!(Connection<Case>);
