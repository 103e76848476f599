//! Takes a gibibyte of memory in one piece.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        std::hint::black_box(vec![1_u8; 1 << 30]);
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
