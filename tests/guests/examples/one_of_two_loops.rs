//! Has two streams: one computes for ever, the other one is healthy.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn streams(_: &Config) -> Result<Vec<Stream>> {
        Ok(["stuck", "healthy"].map(|name| Stream::new(name).primary_key(["id"])).into())
    }

    fn read(_: &Config, read: &Read) -> Result<Option<String>> {
        if read.stream == "stuck" {
            loop {
                std::hint::black_box(());
            }
        }
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
