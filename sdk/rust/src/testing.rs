//! Responses made of text, to test paginators and hooks natively, without wasm.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::{Error, ResponseView, Result};

/// A response in a test.
///
/// ```
/// use connector_sdk::{ResponseView, testing::Reply};
///
/// let reply = Reply::json(r#"{"data": [1, 2]}"#).with_header("X-Total", "2");
/// assert_eq!(reply.len("/data")?, Some(2));
/// assert_eq!(reply.header("x-total").as_deref(), Some("2"));
/// # Ok::<(), connector_sdk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: std::result::Result<Value, String>,
}

impl Reply {
    /// Makes a 200 with a body, which need not be JSON.
    #[must_use]
    pub fn json(body: &str) -> Self {
        Self { status: 200, headers: Vec::new(), body: serde_json::from_str(body).map_err(|e| e.to_string()) }
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Appends a header field.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn at(&self, pointer: &str) -> Result<Option<&Value>> {
        let body = self.body.as_ref().map_err(|e| Error::data(format!("body is not JSON: {e}")))?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(Error::data(format!("malformed JSON pointer: {pointer}")));
        }
        Ok(body.pointer(pointer))
    }
}

impl ResponseView for Reply {
    fn status(&self) -> u16 {
        self.status
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }

    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }

    fn json_text(&self, pointer: &str) -> Result<Option<String>> {
        Ok(self.at(pointer)?.map(Value::to_string))
    }

    fn len(&self, pointer: &str) -> Result<Option<u64>> {
        let len = match self.at(pointer)? {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(members)) => members.len(),
            _ => return Ok(None),
        };
        Ok(u64::try_from(len).ok())
    }

    fn values(&self, pointer: &str, within: &str) -> Result<Option<String>> {
        let Some(Value::Array(items)) = self.at(pointer)? else { return Ok(None) };
        let values: Vec<&Value> = items.iter().map(|item| item.pointer(within).unwrap_or(&Value::Null)).collect();
        Ok(serde_json::to_string(&values).ok())
    }

    fn fingerprint(&self, pointer: &str) -> Result<Option<u64>> {
        let hash = |value: &Value| {
            let mut hasher = DefaultHasher::new();
            value.to_string().hash(&mut hasher);
            hasher.finish()
        };
        Ok(self.at(pointer)?.map(hash))
    }
}
