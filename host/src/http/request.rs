//! The request as the connector asks for it: its form is checked here, before anything else looks at it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use url::Url;

use super::Error;
use super::policy::{Denial, MAX_URL_BYTES};
use super::retry::Repeat;
use crate::auth::Secrets;

pub use ::http::Method;

/// More headers than any API needs; servers commonly stop at 100.
const MAX_HEADERS: usize = 100;
/// Names and values together. Servers commonly stop at 8 to 64 KiB.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Headers that frame the message or steer the connection. A connector that could set them could smuggle a second request
/// past the policy (RFC 9112, section 11.2), or hide the body's encoding from the host.
const HOST_HEADERS: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// A request as a connector makes it. Secrets are placeholders everywhere in it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Absolute URL. What is already encoded in it stays as it is.
    pub url: String,
    /// Appended to the URL, percent-encoded, in this order.
    pub query: Vec<(String, String)>,
    /// Headers, in this order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
    /// Statuses outside 200-299 that are a response instead of an error.
    pub accept: Vec<u16>,
    /// Whether a POST or PATCH only asks, and may be sent again after a failure.
    pub reads: bool,
    /// Whether what it carries is good for one use, so that it is sent again only where the server could not handle it.
    pub single_use: bool,
}

impl Request {
    /// Makes a GET request without anything else.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            url: url.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            accept: Vec::new(),
            reads: false,
            single_use: false,
        }
    }
}

impl Request {
    /// Counts the bytes of everything in it.
    pub fn bytes(&self) -> usize {
        let texts = self.query.iter().chain(&self.headers).map(|(name, value)| name.len() + value.len());
        self.url.len() + self.body.as_ref().map_or(0, Bytes::len) + texts.sum::<usize>()
    }
}

/// A request whose form is right. Secrets are still placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub method: Method,
    pub url: Url,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Option<Bytes>,
    /// Whether it may be sent again.
    pub repeat: Repeat,
}

impl Template {
    /// Checks the form of a request.
    pub(super) fn of(request: &Request, max_body_bytes: u64, bases: &Bases) -> Result<Self, Error> {
        let url = whole_url(&request.url, &request.query, bases)?;
        check_headers(&request.headers)?;
        let body_bytes = request.body.as_ref().map_or(0, |body| body.len() as u64);
        if body_bytes > max_body_bytes {
            return Err(Error::Invalid(format!(
                "the request's body has {body_bytes} bytes, more than the limit of {max_body_bytes} \
                 (rule body-length)"
            )));
        }
        let headers = request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        // RFC 9110, section 9.2.2, and what the connector says of its own.
        let repeat = match request.method.is_idempotent() || request.reads {
            true => Repeat::Always,
            false if request.single_use => Repeat::Refused,
            false => Repeat::Never,
        };
        Ok(Self { method: request.method.clone(), url, headers, body: request.body.clone(), repeat })
    }

    /// The first value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        super::header(&self.headers, name)
    }

    /// Refuses placeholders in places where no secret is put in.
    pub(super) fn check_placeholders(&self, secrets: &Secrets) -> Result<(), Error> {
        let before_query = self.url.as_str().split('?').next().unwrap_or_default();
        if secrets.stand_in(before_query.as_bytes()) {
            return Err(Error::Invalid(
                "a secret stands in the URL's host or path; it can stand in a header, the query or the body (rule \
                 secret-in-path)"
                    .to_owned(),
            ));
        }
        match self.headers.iter().find(|(name, _)| secrets.stand_in(name.as_bytes())) {
            Some(_) => Err(Error::Invalid("a secret stands in a header's name (rule header-name)".to_owned())),
            None => Ok(()),
        }
    }
}

/// What stood before the query the last time. The pages of a list differ in their query alone, and a host's name takes
/// longer to parse than all the rest.
#[derive(Debug, Default)]
pub(super) struct Bases(Mutex<Option<(String, Url)>>);

impl Bases {
    fn parse(&self, text: &str) -> Result<Url, url::ParseError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, url)) = last.as_ref().filter(|(base, _)| base == text) {
            return Ok(url.clone());
        }
        let url = Url::parse(text)?;
        *last = Some((text.to_owned(), url.clone()));
        Ok(url)
    }
}

/// Parses the URL and appends the query, without touching what is already there.
fn whole_url(text: &str, query: &[(String, String)], bases: &Bases) -> Result<Url, Error> {
    let invalid = |rule: &str, reason: String| Error::Invalid(format!("{reason} (rule {rule})"));
    if let Some(c) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid("url-characters", format!("the URL holds the character {c:?}; percent-encode it")));
    }
    if text.contains('\\') {
        return Err(invalid("url-characters", "the URL holds a backslash; percent-encode it".to_owned()));
    }
    let mut whole = text.split('#').next().unwrap_or_default().to_owned();
    for (name, value) in query {
        let separator = match whole.find('?') {
            None => "?",
            Some(at) if at + 1 == whole.len() || whole.ends_with('&') => "",
            Some(_) => "&",
        };
        whole.push_str(separator);
        whole.push_str(&encode_query(name));
        whole.push('=');
        whole.push_str(&encode_query(value));
    }
    if whole.len() > MAX_URL_BYTES {
        let text = format!("the URL has {} bytes, more than the limit of {MAX_URL_BYTES}", whole.len());
        return Err(invalid("url-length", text));
    }
    let (base, query) = whole.split_once('?').map_or((whole.as_str(), None), |(base, query)| (base, Some(query)));
    let url = bases.parse(base);
    let mut url = url.map_err(|error| invalid("url-syntax", format!("the URL is malformed: {error}")))?;
    if query.is_some() {
        url.set_query(query);
    }
    Ok(url)
}

/// Percent-encodes all but unreserved characters (RFC 3986, section 2.3).
fn encode_query(text: &str) -> String {
    crate::auth::percent_encode(text, b"")
}

fn check_headers(headers: &[(String, String)]) -> Result<(), Error> {
    if headers.len() > MAX_HEADERS {
        let text = format!("{} headers are more than the limit of {MAX_HEADERS} (rule header-count)", headers.len());
        return Err(Error::Invalid(text));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        let text =
            format!("headers of {bytes} bytes are more than the limit of {MAX_HEADER_BYTES} (rule header-length)");
        return Err(Error::Invalid(text));
    }
    for (name, value) in headers {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(Error::Invalid(format!("a header's name is malformed (rule header-name): {name:?}")));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            let text = format!("the value of header {name} holds a control character (rule header-injection)");
            return Err(Error::Invalid(text));
        }
        let lower = name.to_ascii_lowercase();
        if HOST_HEADERS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            let text = format!("header {lower} is set by the host alone; leave it out");
            return Err(Error::Denied(Denial::new("host-header", text).to_string()));
        }
    }
    Ok(())
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(request: &Request) -> Result<Template, String> {
        Template::of(request, 1024, &Bases::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_query_is_appended_and_what_is_there_is_left_alone() {
        for (url, query, whole) in [
            ("https://a.example", vec![], "https://a.example/"),
            ("https://a.example/x", vec![("q", "a b&c=d/é")], "https://a.example/x?q=a%20b%26c%3Dd%2F%C3%A9"),
            ("https://a.example/x?_next=12%2C13,a+b", vec![("n", "1")], "https://a.example/x?_next=12%2C13,a+b&n=1"),
            ("https://a.example/x?_next=~a%7Eb%2c", vec![], "https://a.example/x?_next=~a%7Eb%2c"),
            ("https://a.example/x?", vec![("n", "1"), ("n", "2")], "https://a.example/x?n=1&n=2"),
            ("https://a.example/x?a=1&", vec![("n", "1")], "https://a.example/x?a=1&n=1"),
            ("https://a.example/x#top", vec![("n", "")], "https://a.example/x?n="),
            ("https://a.example/x%2Fy", vec![("t", "__secret.k__")], "https://a.example/x%2Fy?t=__secret.k__"),
        ] {
            let query = query.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let request = Request { query, ..Request::get(url) };
            assert_eq!(template(&request).unwrap().url.as_str(), whole);
        }
    }

    #[test]
    fn a_url_by_its_base_is_the_url_as_a_whole() {
        let bases = Bases::default();
        for url in [
            "https://a.example/x?n=1",
            "https://a.example/x?n=2&m='\"<>`{}é",
            "https://a.example/x?",
            "https://a.example/x??a=?b",
            "https://A.example:443/%7Ex/../y?q",
            "https://a.example?q=1",
            "https://a.example?q=2",
            "https://127.1:8080/x?q=2#f",
            "https://a.example/x",
        ] {
            let mut whole = Url::parse(url).unwrap();
            whole.set_fragment(None);
            for _ in 0..2 {
                assert_eq!(whole_url(url, &[], &bases).unwrap(), whole, "{url}");
            }
        }
    }

    #[test]
    fn malformed_urls_are_refused_with_the_rule() {
        let long = format!("https://a.example/{}", "a".repeat(MAX_URL_BYTES));
        for (url, rule) in [
            ("https://a.example/\r\nHost: evil", "url-characters"),
            ("https://a.example/a b", "url-characters"),
            ("https://a.example\\@evil.example/", "url-characters"),
            ("/relative", "url-syntax"),
            ("https://", "url-syntax"),
            ("https://a.example:99999/", "url-syntax"),
            (long.as_str(), "url-length"),
        ] {
            let error = template(&Request::get(url)).unwrap_err();
            assert!(error.contains(rule), "{url}: {error}");
        }
    }

    #[test]
    fn headers_that_frame_the_message_are_refused_with_the_rule() {
        for (name, value, rule) in [
            ("Host", "evil.example", "host-header"),
            ("content-length", "0", "host-header"),
            ("Transfer-Encoding", "chunked", "host-header"),
            ("CONNECTION", "close", "host-header"),
            ("Upgrade", "h2c", "host-header"),
            ("Proxy-Authorization", "x", "host-header"),
            ("X-A", "b\r\nHost: evil", "header-injection"),
            ("X-A", "b\0", "header-injection"),
            ("X A", "b", "header-name"),
            ("X-A:", "b", "header-name"),
            ("", "b", "header-name"),
            ("Ä", "b", "header-name"),
        ] {
            let request =
                Request { headers: vec![(name.to_owned(), value.to_owned())], ..Request::get("https://a.example") };
            let error = template(&request).unwrap_err();
            assert!(error.contains(rule), "{name}: {error}");
        }
    }

    #[test]
    fn oversized_parts_are_refused_with_the_rule() {
        let header = |value: &str| ("x-a".to_owned(), value.to_owned());
        let many = Request { headers: vec![header("b"); 101], ..Request::get("https://a.example") };
        assert!(template(&many).unwrap_err().contains("header-count"));
        let big = Request { headers: vec![header(&"b".repeat(70_000))], ..Request::get("https://a.example") };
        assert!(template(&big).unwrap_err().contains("header-length"));
        let body = Request { body: Some(Bytes::from(vec![0; 1025])), ..Request::get("https://a.example") };
        assert!(template(&body).unwrap_err().contains("body-length"));
    }

    #[test]
    fn a_secret_in_the_path_is_refused() {
        let secrets = Secrets::default();
        secrets.insert("k", crate::auth::Secret::new("v"));
        let check = |url: &str| template(&Request::get(url)).unwrap().check_placeholders(&secrets);
        assert!(check("https://a.example/__secret.k__/x").is_err());
        assert!(check("https://a.example/x?k=__secret.k__").is_ok());
    }
}
