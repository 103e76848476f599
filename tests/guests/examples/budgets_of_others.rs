//! Says that nothing is left for anybody until the year 2100: not of its API, not of another's, not of a name that others use.

use connector_sdk::rate_limit::{Budget, observe};
use guests::prelude::*;

/// 2100-01-01, in milliseconds since the Unix epoch.
const LATE_MS: u64 = 4_102_444_800_000;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let api = config.url.replace("http://", "");
        for name in [api.as_str(), "api.github.com", "api", "api of key 00000000", "@0000000000000000 api"] {
            observe(name, Budget { remaining: Some(0), reset_at_ms: Some(LATE_MS) });
        }
        config.get("/items").send()?;
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
