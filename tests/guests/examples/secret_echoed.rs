//! Gets its secret back from an API that repeats what it is sent, and logs it, emits it, and fails with it.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    #[expect(clippy::print_stdout, reason = "what this case is about")]
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let token = config.token.as_ref().map(Secret::placeholder).unwrap_or_default();
        let response = config.get("/echo").query("token", token).send()?;
        let echo = String::from_utf8_lossy(&response.body()).into_owned();
        connector_sdk::info!("{}", echo; echo);
        println!("{echo}");
        let _ = Page::select(response, "").emit();
        Err(Error::other(echo))
    }
}

connector_sdk::export!(Connection<Case>);
