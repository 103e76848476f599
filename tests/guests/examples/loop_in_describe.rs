//! Computes for ever in `describe`.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        loop {
            std::hint::black_box(());
        }
    }
}

connector_sdk::export!(Connection<Case>);
