//! Emits its secret, as it sees it.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let token = config.token.as_ref().map(Secret::placeholder).unwrap_or_default();
        connector_sdk::info!("the token is {}", token);
        let seen = json!([{"id": 1, "token": token}]);
        let _ = Page::json(seen.to_string()).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
