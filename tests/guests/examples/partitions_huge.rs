//! Lists partitions without end, as far as its memory goes.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn partitions(_: &Config, _: &str) -> Result<Vec<Partition>> {
        Ok((0..1_000_000).map(|number| Partition::new(format!("{number:0>200}"))).collect())
    }
}

connector_sdk::export!(Connection<Case>);
