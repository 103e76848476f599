//! Gives a checkpoint of megabytes with every page.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        for number in 0..1_000 {
            let checkpoint = format!("{number}{}", "x".repeat(10 << 20));
            let _ = Page::json(format!("[{{\"id\":{number}}}]")).checkpoint(checkpoint).emit();
        }
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
