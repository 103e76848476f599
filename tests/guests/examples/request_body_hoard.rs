//! Starts requests with bodies that are large only together.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let body = vec![b'x'; 10 << 20];
        let started: Vec<_> =
            (0..32).map(|_| Request::post(format!("{}/slow", config.url)).body(body.clone()).start()).collect();
        for pending in started {
            pending.wait()?;
        }
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
