//! Computes for ever in `read`.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        loop {
            std::hint::black_box(());
        }
    }
}

connector_sdk::export!(Connection<Case>);
