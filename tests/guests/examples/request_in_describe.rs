//! Makes a request in `describe`.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        let _ = Request::get("https://api.example.com/").send();
        guests::description()
    }
}

connector_sdk::export!(Connection<Case>);
