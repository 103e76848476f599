//! Secrets, of which a connector never sees the value.

use serde::Deserialize;

/// A `writeOnly` value of the configuration: a placeholder, in whose place the host puts the value
/// when it sends a request to an allowed host.
///
/// ```
/// # use connector_sdk::{Request, Secret};
/// let token: Secret = serde_json::from_str("\"placeholder\"")?;
/// let request = Request::get("https://api.example.com/me").header("X-Api-Key", token.placeholder());
/// assert_eq!(format!("{token:?}"), "Secret(…)");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the text to put where the secret belongs in a header, query or body.
    #[must_use]
    pub fn placeholder(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
