#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that fails may panic"))]

mod auth;
pub mod bindings;
pub mod clock;
mod connector;
mod error;
mod http;
pub mod link;
pub mod log;
mod output;
pub mod pages;
pub mod rate_limit;
mod request;
mod response;
mod secret;
pub mod storage;
pub mod testing;
pub mod url;

pub use auth::{Auth, AuthKind};
pub use connector::{BudgetHeaders, Component, Connector, Description, Order, Partition, Read, Stream, parse_config};
pub use error::{Error, Result};
pub use http::{HttpError, Pending, Response};
pub use output::{Flow, Page, Seam};
pub use request::{Method, Request};
pub use response::ResponseView;
pub use secret::Secret;
pub use serde_json::json;

/// What most connectors need: `use connector_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::pages::{Cursor, Keyset, LinkHeader, Offset, PageNumber, Paginator, Watermark};
    pub use crate::{
        Auth, AuthKind, Connector, Description, Error, Flow, Method, Page, Partition, Read, Request, Response,
        ResponseView, Result, Secret, Stream, description, json,
    };
    pub use serde::{Deserialize, Serialize};
}

/// Makes a type that implements [`Connector`] the component's export.
///
/// In a native build it exports nothing, so that a connector's own tests run like any others.
#[macro_export]
macro_rules! export {
    ($connector:ty) => {
        const _: () = {
            #[cfg(target_family = "wasm")]
            type Exported = $crate::Component<$connector>;
            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Exported with_types_in $crate::bindings);
            #[cfg(not(target_family = "wasm"))]
            const _: Option<$crate::Component<$connector>> = None;
        };
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readmes_connector_is_the_example_and_has_under_40_lines() {
        let (readme, example) = (include_str!("../README.md"), include_str!("../examples/tickets.rs"));
        let code = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("# fn main").next()).unwrap();
        assert!(example.ends_with(code), "README.md and examples/tickets.rs differ");
        assert!(code.lines().count() < 40);
    }
}
