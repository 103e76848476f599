//! Makes a request to a host that its description does not name.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let elsewhere = config.elsewhere.as_deref().unwrap_or_default();
        Request::get(format!("{elsewhere}/items")).send()?;
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
