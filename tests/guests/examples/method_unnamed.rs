//! Makes a request of a method that its description does not name.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        Request::new(Method::Delete, format!("{}/items/1", config.url)).send()?;
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
