//! Describes limits of its API, and asks for more than they allow.

use std::time::Duration;

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        guests::description().rate(2, Duration::from_secs(3600), 2).concurrency(1)
    }

    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        // Started together; the API is asked for one after the other.
        let started: Vec<_> = (0..2).map(|_| config.get("/items?mark=described").start()).collect();
        for pending in started {
            pending.wait()?;
        }
        config.get("/items?mark=described").send()?;
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
