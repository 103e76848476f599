//! Starts 10,000 requests before it waits for one.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let started: Vec<_> = (0..10_000).map(|_| config.get("/slow").start()).collect();
        for pending in started {
            pending.wait()?;
        }
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
