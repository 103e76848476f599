//! Asks for the time ten million times between two pages.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let mut last = 0;
        for _ in 0..10_000_000 {
            last = connector_sdk::clock::now_ms().max(last);
        }
        std::hint::black_box(last);
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
