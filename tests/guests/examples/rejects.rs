//! Says of a good answer that it is an error: first one that may pass, then one that will not.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let response = config.get("/items").send()?;
        let again = response.reject("the first answer is never good", true)?;
        again.reject("and neither is\u{1b}[2J the second", false)?;
        healthy()
    }
}

connector_sdk::export!(Connection<Case>);
