//! Makes a request to the address where clouds keep credentials.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        guests::description().host("http://169.254.169.254")
    }

    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        Request::get("http://169.254.169.254/latest/meta-data/").send()?;
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
