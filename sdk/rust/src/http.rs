//! Requests on their way, and what comes back.

use serde::de::DeserializeOwned;

use crate::bindings::ingest::connector::http as wit;
use crate::link::{self, Link};
use crate::response::{ResponseView, read_json};
use crate::{Error, Method, Request, Result, url};

/// A received response. Its body stays in the host; ask for the values you need.
#[derive(Debug)]
pub struct Response {
    raw: wit::Response,
    url: String,
}

impl Response {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.raw.status()
    }

    /// Returns the first value of a header, looked up without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.raw.header(name)
    }

    /// Returns all header fields in order.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        self.raw.headers()
    }

    /// Copies the whole decoded body. Prefer [`json`](Response::json) and
    /// [`Page::select`](crate::Page::select), which leave it in the host.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.raw.body()
    }

    /// Reads the value at an RFC 6901 pointer; nothing there reads as `null`, so ask for an
    /// `Option` where that is fine.
    ///
    /// # Errors
    /// [`Error::Data`] where the body is not JSON, or the value is missing or of another type.
    pub fn json<T: DeserializeOwned>(&self, pointer: &str) -> Result<T> {
        read_json(self, pointer)
    }

    /// Returns the JSON text at a pointer; none where the pointer leads nowhere.
    ///
    /// # Errors
    /// [`Error::Data`] where the body is not JSON or the pointer is malformed.
    pub fn json_text(&self, pointer: &str) -> Result<Option<String>> {
        self.raw.json(pointer).map_err(|e| self.json_error(e))
    }

    /// Returns how many elements the array (or members the object) at a pointer has; none where
    /// there is neither.
    ///
    /// # Errors
    /// [`Error::Data`] where the body is not JSON or the pointer is malformed.
    pub fn len(&self, pointer: &str) -> Result<Option<u64>> {
        self.raw.len(pointer).map_err(|e| self.json_error(e))
    }

    /// Returns, as the JSON text of an array, what stands at a pointer within each element of the array at another one:
    /// `null` where that leads nowhere. None where there is no array.
    ///
    /// ```no_run
    /// # use connector_sdk::prelude::*;
    /// # fn ids(response: &Response) -> Result<Option<String>> {
    /// // [1,2,null] for {"items": [{"id": 1}, {"id": 2}, {}]}
    /// response.values("/items", "/id")
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] where the body is not JSON or a pointer is malformed.
    pub fn values(&self, pointer: &str, within: &str) -> Result<Option<String>> {
        self.raw.values(pointer, within).map_err(|e| self.json_error(e))
    }

    /// Returns a number that is equal for equal JSON texts at a pointer, to know a value again without a copy of it; none
    /// where the pointer leads nowhere. It is the same in later runs.
    ///
    /// # Errors
    /// [`Error::Data`] where the body is not JSON or the pointer is malformed.
    pub fn fingerprint(&self, pointer: &str) -> Result<Option<u64>> {
        self.raw.fingerprint(pointer).map_err(|e| self.json_error(e))
    }

    /// Returns the target of the first `Link` header field with a relation (RFC 8288), as an
    /// absolute URL.
    #[must_use]
    pub fn link(&self, rel: &str) -> Option<String> {
        self.links().into_iter().find(|l| l.has_rel(rel)).map(|l| url::resolve(&self.url, &l.target))
    }

    /// Returns every link of the `Link` header fields that speaks of this resource.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        link::from_headers(&self.headers())
    }

    /// Says that this response is an error in truth, whatever its status says. Where it is `retryable`, the host sends the
    /// request again by its own rules and returns what comes then, which may have to be rejected again.
    ///
    /// ```no_run
    /// # use connector_sdk::prelude::*;
    /// # fn ask(request: &Request) -> Result<Response> {
    /// let mut response = request.send()?;
    /// while response.json::<Option<String>>("/error")?.as_deref() == Some("try_later") {
    ///     response = response.reject("the API is busy", true)?;
    /// }
    /// # Ok(response) }
    /// ```
    ///
    /// # Errors
    /// [`HttpError::Rejected`] where it is not retryable or was tried often enough, and as [`Request::send`].
    pub fn reject(self, reason: impl AsRef<str>, retryable: bool) -> Result<Self, HttpError> {
        let rejected = wit::reject(self.raw, reason.as_ref(), retryable);
        let raw = rejected.map_err(|error| match HttpError::of(error, &self.url) {
            HttpError::Rejected { url, status, attempts, reason, .. } => {
                HttpError::Rejected { url, status, attempts, reason, retryable }
            }
            other => other,
        })?;
        Ok(Self { raw, url: self.url })
    }

    pub(crate) fn into_raw(self) -> wit::Response {
        self.raw
    }

    fn json_error(&self, error: wit::JsonError) -> Error {
        match error {
            wit::JsonError::Syntax(reason) => Error::data(format!("body of {} is not JSON: {reason}", self.url)),
            wit::JsonError::Pointer(reason) => Error::data(format!("malformed JSON pointer: {reason}")),
        }
    }
}

impl ResponseView for Response {
    fn status(&self) -> u16 {
        Response::status(self)
    }

    fn header(&self, name: &str) -> Option<String> {
        Response::header(self, name)
    }

    fn headers(&self) -> Vec<(String, String)> {
        Response::headers(self)
    }

    fn json_text(&self, pointer: &str) -> Result<Option<String>> {
        Response::json_text(self, pointer)
    }

    fn len(&self, pointer: &str) -> Result<Option<u64>> {
        Response::len(self, pointer)
    }

    fn values(&self, pointer: &str, within: &str) -> Result<Option<String>> {
        Response::values(self, pointer, within)
    }

    fn fingerprint(&self, pointer: &str) -> Result<Option<u64>> {
        Response::fingerprint(self, pointer)
    }
}

/// A request under way; start several to have them in flight together.
#[derive(Debug)]
pub struct Pending {
    raw: wit::Pending,
    url: String,
}

impl Pending {
    /// Waits for the response.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn wait(self) -> Result<Response, HttpError> {
        Ok(Response { raw: self.raw.wait().map_err(|e| HttpError::of(e, &self.url))?, url: self.url })
    }
}

impl Request {
    /// Sends the request and waits; retries, credentials and rate limits are the host's work.
    ///
    /// # Errors
    /// [`HttpError`], which `?` turns into the fitting [`enum@Error`].
    pub fn send(&self) -> Result<Response, HttpError> {
        let raw = wit::send(&self.to_wit()).map_err(|e| HttpError::of(e, &self.url))?;
        Ok(Response { raw, url: self.url.clone() })
    }

    /// Sends the request without waiting.
    #[must_use]
    pub fn start(&self) -> Pending {
        Pending { raw: wit::start(&self.to_wit()), url: self.url.clone() }
    }

    fn to_wit(&self) -> wit::Request {
        wit::Request {
            method: self.method.into(),
            url: self.url.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            accept: self.accept.clone(),
            reads: self.reads,
        }
    }
}

impl From<Method> for wit::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Head => Self::Head,
            Method::Post => Self::Post,
            Method::Put => Self::Put,
            Method::Patch => Self::Patch,
            Method::Delete => Self::Delete,
        }
    }
}

/// Why there is no response, after every retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The policy of this run forbids the request.
    #[error("{url} is not allowed: {rule}")]
    Denied {
        /// The URL that was asked for.
        url: String,
        /// The rule, in words.
        rule: String,
    },
    /// No response came.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The URL that was asked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A final status that the request does not accept.
    #[error("{url} answered {status}{}{}", after(*attempts), quoted(excerpt))]
    Status {
        /// The URL that was asked for.
        url: String,
        /// The status.
        status: u16,
        /// Times the request was sent.
        attempts: u32,
        /// Start of the body, secrets redacted.
        excerpt: String,
    },
    /// The response is larger than the limit.
    #[error("response of {url} is larger than the limit of {limit_bytes} bytes (--max-response)")]
    TooLarge {
        /// The URL that was asked for.
        url: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The request itself is malformed.
    #[error("malformed request to {url}: {reason}")]
    Invalid {
        /// The URL that was asked for.
        url: String,
        /// What is malformed.
        reason: String,
    },
    /// A response that the connector rejected.
    #[error("{url} answered {status}{}, which is an error in truth: {reason}", after(*attempts))]
    Rejected {
        /// The URL that was asked for.
        url: String,
        /// The status.
        status: u16,
        /// Times the request was sent.
        attempts: u32,
        /// Why it was rejected.
        reason: String,
        /// Whether it was worth another try.
        retryable: bool,
    },
}

impl HttpError {
    /// Returns the status, where the server answered with one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Rejected { status, .. } => Some(*status),
            _ => None,
        }
    }

    fn of(error: wit::Error, url: &str) -> Self {
        // The path is enough to find the request; a query may hold what nobody should read.
        let url = url.split(['?', '#']).next().unwrap_or(url).to_owned();
        match error {
            wit::Error::Denied(rule) => Self::Denied { url, rule },
            wit::Error::Unreachable(reason) => Self::Unreachable { url, reason },
            wit::Error::Status(wit::StatusError { status, attempts, excerpt }) => {
                Self::Status { url, status, attempts, excerpt }
            }
            wit::Error::TooLarge(limit_bytes) => Self::TooLarge { url, limit_bytes },
            wit::Error::Invalid(reason) => Self::Invalid { url, reason },
            wit::Error::Rejected(wit::Rejection { status, attempts, reason }) => {
                Self::Rejected { url, status, attempts, reason, retryable: false }
            }
        }
    }
}

impl From<HttpError> for Error {
    /// 401 and 403 are the credentials; 408, 425, 429, 5xx and no answer at all are worth another
    /// try; everything else is final.
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Status { status: 401 | 403, .. } => Error::auth(error),
            HttpError::Status { status: 408 | 425 | 429 | 500..=599, .. } => Error::transient(error),
            HttpError::Unreachable { .. } | HttpError::Rejected { retryable: true, .. } => Error::transient(error),
            HttpError::Rejected { .. } => Error::data(error),
            _ => Error::http(error),
        }
    }
}

/// How often it was tried, where that was more than once.
/// The start of a body, where there is one.
fn quoted(excerpt: &str) -> String {
    if excerpt.trim().is_empty() { " with an empty body".to_owned() } else { format!(": {excerpt}") }
}

fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Error {
        let raw = wit::StatusError { status, attempts: 2, excerpt: "no".into() };
        HttpError::of(wit::Error::Status(raw), "https://a/b?token=x").into()
    }

    #[test]
    fn a_status_becomes_the_error_that_says_what_to_do() {
        let text = |s| format!("https://a/b answered {s} after 2 attempts: no");
        assert_eq!(status(401), Error::Auth(text(401)));
        assert_eq!(status(403), Error::Auth(text(403)));
        assert_eq!(status(404), Error::Http(text(404)));
        assert_eq!(status(429), Error::Transient(text(429)));
        assert_eq!(status(503), Error::Transient(text(503)));
    }

    #[test]
    fn an_unreachable_host_is_worth_another_try_and_a_denied_one_is_not() {
        let of = |e| Error::from(HttpError::of(e, "https://a/"));
        assert_eq!(
            of(wit::Error::Unreachable("timeout".into())),
            Error::transient("https://a/ cannot be reached: timeout")
        );
        assert_eq!(of(wit::Error::Denied("private".into())), Error::http("https://a/ is not allowed: private"));
    }
}
