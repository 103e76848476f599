//! Writes what would steer a terminal, to the log, to standard output, and in its error.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    #[expect(clippy::print_stdout, reason = "what this case is about")]
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        connector_sdk::info!("\u{1b}[2J\u{7}cleared\r\nhost error: forged\u{9b}1A\u{202e}"; field = "\u{1b}]0;title\u{7}");
        println!("\u{1b}[31mred\rover");
        Err(Error::other("\u{1b}[2Jgone\nerror[internal]: forged"))
    }
}

connector_sdk::export!(Connection<Case>);
