//! Asks for every host there is.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        guests::description().host("*")
    }
}

connector_sdk::export!(Connection<Case>);
