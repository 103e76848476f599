//! Calls itself without end.

use guests::prelude::*;

/// Keeps something on the stack over the call, so that no compiler makes a loop of it.
#[expect(unconditional_recursion, reason = "what this case is about")]
fn depth(level: u64) -> u64 {
    let here = std::hint::black_box([level; 16]);
    depth(level + 1) + here[0]
}

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        Ok(Some(depth(1).to_string()))
    }
}

connector_sdk::export!(Connection<Case>);
