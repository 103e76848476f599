//! What the server received, for tests to compare.

use bytes::Bytes;

/// A request as it arrived, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Position among all requests of the server, from 1.
    pub number: u64,
    /// `GET`, `POST`, ….
    pub method: String,
    /// Path, still percent-encoded.
    pub path: String,
    /// Query text, still percent-encoded, without the question mark; empty where there is none.
    pub raw_query: String,
    /// Query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Status of the answer; none where the connection was cut before one.
    pub status: Option<u16>,
}

impl Received {
    /// Path and query as they stood in the request line.
    #[must_use]
    pub fn target(&self) -> String {
        if self.raw_query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.raw_query) }
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The query's parameters, then the fields of a JSON object in the body, as text.
    #[must_use]
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        let mut all = self.query.clone();
        if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(&self.body) {
            all.extend(fields.into_iter().map(|(name, value)| match value {
                serde_json::Value::String(text) => (name, text),
                other => (name, other.to_string()),
            }));
        }
        all
    }
}
