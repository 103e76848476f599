//! Tells everybody what it read of a person: in its log, on standard output, in a selection that leads nowhere, in its error.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    #[expect(clippy::print_stdout, reason = "what this case is about")]
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let response = config.get("/person").send()?;
        let body = String::from_utf8_lossy(&response.body()).into_owned();
        connector_sdk::info!("{}", body; body);
        println!("{body}");
        let _ = Page::select(response, "").emit();
        let _ = Page::json(body.as_str()).emit();
        Err(Error::other(body))
    }
}

connector_sdk::export!(Connection<Case>);
