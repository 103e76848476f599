//! Ends the process, as it thinks.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let _ = Page::json(r#"[{"id":1}]"#).emit();
        std::process::exit(0)
    }
}

connector_sdk::export!(Connection<Case>);
