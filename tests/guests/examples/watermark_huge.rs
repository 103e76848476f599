//! Returns a watermark of megabytes.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        healthy()?;
        Ok(Some("x".repeat(10 << 20)))
    }
}

connector_sdk::export!(Connection<Case>);
