//! Names a stream so that its folder would lie outside of the output folder.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn streams(_: &Config) -> Result<Vec<Stream>> {
        Ok(vec![Stream::new("items"), Stream::new("../x")])
    }
}

connector_sdk::export!(Connection<Case>);
