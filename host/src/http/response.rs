//! What comes back: to the connector, and from it where it does not accept that.

use bytes::Bytes;
use url::Url;

/// A received response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Bytes,
    /// Where it came from in the end, with placeholders.
    pub url: Url,
    /// Times the request was sent.
    pub attempts: u32,
    /// Bytes of the body as received.
    pub received_bytes: u64,
    /// The method of the request that it answers.
    pub method: http::Method,
    /// The number of its exchange in the archive; none where nothing is kept.
    pub exchange: Option<u64>,
    /// The name of the budget that paid for it.
    pub budget: String,
}

impl Response {
    /// Returns the first value of a header, looked up case-insensitively.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// Finds the first value of a header, whatever the case of its name (RFC 9110, section 5.1).
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// What the host needs to know of a response that a connector rejects.
#[derive(Debug, Clone, Copy)]
pub struct Rejected<'a> {
    /// The status.
    pub status: u16,
    /// Times the request was sent.
    pub attempts: u32,
    /// The headers.
    pub headers: &'a [(String, String)],
    /// The name of the budget that paid for it.
    pub budget: &'a str,
}
