//! Asks for the time for ever in `describe`: each question is a call of the host, so that it never computes for long.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        loop {
            std::hint::black_box(connector_sdk::clock::now_ms());
        }
    }
}

connector_sdk::export!(Connection<Case>);
