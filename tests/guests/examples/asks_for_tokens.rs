//! Has the host ask for tokens at an address of its own.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn describe() -> Description {
        let url = "https://login.example.com/token";
        guests::description().auth(Auth::new("app", AuthKind::OAuth2ClientCredentials).parameter("token_url", url))
    }
}

connector_sdk::export!(Connection<Case>);
