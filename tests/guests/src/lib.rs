//! What the hostile connectors under `examples/` share: a well-behaved connector, of which each case replaces the part
//! that it is about.
//!
//! ```no_run
//! use guests::prelude::*;
//!
//! struct Case;
//!
//! impl Guest for Case {
//!     fn read(_: &Config, _: &Read) -> Result<Option<String>> {
//!         loop {}
//!     }
//! }
//!
//! connector_sdk::export!(Connection<Case>);
//! ```

#![deny(missing_docs)]

use std::marker::PhantomData;

use connector_sdk::prelude::*;

/// What every case needs.
pub mod prelude {
    pub use connector_sdk::prelude::*;

    pub use crate::{Config, Connection, Guest, MASK, healthy};
}

/// The configuration of every case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Base URL of the API.
    pub url: String,
    /// A secret for it.
    pub token: Option<Secret>,
    /// Another URL, which the description does not name.
    pub elsewhere: Option<String>,
    /// Texts to look for in the guest's memory, each byte of them changed by [`MASK`] and in hexadecimal digits, so that
    /// looking for them puts none of them there.
    #[serde(default)]
    pub masked: Vec<String>,
}

/// What changes the bytes of [`Config::masked`].
pub const MASK: u8 = 0x5a;

impl Config {
    /// Makes a request for a path of the API.
    #[must_use]
    pub fn get(&self, path: &str) -> Request {
        Request::get(format!("{}{path}", self.url))
    }
}

/// A case: what it does otherwise than a connector should.
pub trait Guest {
    /// Describes it.
    fn describe() -> Description {
        description()
    }

    /// Lists its streams.
    ///
    /// # Errors
    /// Whatever the case wants.
    fn streams(config: &Config) -> Result<Vec<Stream>> {
        let _ = config;
        Ok(vec![Stream::new("items").primary_key(["id"])])
    }

    /// Lists its partitions.
    ///
    /// # Errors
    /// Whatever the case wants.
    fn partitions(config: &Config, stream: &str) -> Result<Vec<Partition>> {
        let _ = (config, stream);
        Ok(Vec::new())
    }

    /// Reads a stream.
    ///
    /// # Errors
    /// Whatever the case wants.
    fn read(config: &Config, read: &Read) -> Result<Option<String>> {
        let _ = (config, read);
        healthy()
    }
}

/// The description of a case that has nothing special in it.
#[must_use]
pub fn description() -> Description {
    // Not the package's version: reports of these cases are compared as text.
    Description::new("guest", "1.0.0", "Does what no connector should.").host("{url}").config_schema(json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "url": {"type": "string", "default": "https://api.example.com"},
            "token": {"type": "string", "writeOnly": true},
            "elsewhere": {"type": "string"},
            "masked": {"type": "array", "items": {"type": "string"}},
        }
    }))
}

/// Reads as a good connector does: three records, and the end.
///
/// # Errors
/// None; it is what `read` returns.
pub fn healthy() -> Result<Option<String>> {
    let _ = Page::json(r#"[{"id":1},{"id":2},{"id":3}]"#).emit();
    Ok(None)
}

/// A case with its configuration.
#[derive(Deserialize)]
#[serde(from = "Config", bound = "")]
pub struct Connection<G> {
    config: Config,
    case: PhantomData<G>,
}

impl<G> From<Config> for Connection<G> {
    fn from(config: Config) -> Self {
        Self { config, case: PhantomData }
    }
}

impl<G: Guest> Connector for Connection<G> {
    fn describe() -> Description {
        G::describe()
    }

    fn streams(&self) -> Result<Vec<Stream>> {
        G::streams(&self.config)
    }

    fn partitions(&self, stream: &str, _since: Option<&str>) -> Result<Vec<Partition>> {
        G::partitions(&self.config, stream)
    }

    fn read(&self, read: &Read) -> Result<Option<String>> {
        G::read(&self.config, read)
    }
}
