//! Takes memory piece by piece.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let mut pieces = Vec::new();
        loop {
            pieces.push(vec![1_u8; 1 << 20]);
            std::hint::black_box(&mut pieces);
        }
    }
}

connector_sdk::export!(Connection<Case>);
