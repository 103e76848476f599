//! A request as a plain value.

use serde::Serialize;

use crate::{Error, Result, Secret, url};

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// GET, the default.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Method {
    /// Returns the method as it stands in a request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request, built step by step and compared, cloned and kept like any other value.
///
/// ```
/// use connector_sdk::Request;
///
/// let request = Request::get("https://api.example.com/issues")
///     .query("state", "all")
///     .query("per_page", 100)
///     .header("Accept", "application/json")
///     .accept(404);
/// assert_eq!(request.to_string(), "GET https://api.example.com/issues?state=all&per_page=100");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Absolute URL; a query in it is sent exactly as it is written.
    pub url: String,
    /// Names and values that the host appends to the URL, percent-encoding them once.
    pub query: Vec<(String, String)>,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// Statuses outside 200-299 that come back as a response instead of an error.
    pub accept: Vec<u16>,
    /// Whether a POST or PATCH only asks, and so may be sent again after a failure.
    pub reads: bool,
}

impl Request {
    /// Starts a request of any method.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), ..Self::default() }
    }

    /// Starts a GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// Starts a POST request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    /// Appends a query parameter. The host percent-encodes name and value once: pass them plain.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    /// Appends a query parameter where there is a value, and nothing where there is none.
    #[must_use]
    pub fn query_opt(self, name: impl Into<String>, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Puts a query parameter in the place of every one of the same name.
    #[must_use]
    pub fn set_query(mut self, name: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        match self.query.iter().position(|(n, _)| n == name) {
            Some(first) => {
                let mut at = 0;
                self.query.retain(|(n, _)| {
                    let keep = n != name || at == first;
                    at += 1;
                    keep
                });
                if let Some(slot) = self.query.get_mut(first) {
                    slot.1 = value;
                }
            }
            None => self.query.push((name.to_owned(), value)),
        }
        self
    }

    /// Appends a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a secret as `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.header("Authorization", format!("Bearer {}", token.placeholder()))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body to a value's JSON, and `Content-Type` if there is none yet.
    ///
    /// # Errors
    /// [`Error::Other`] where the value has no JSON form, such as a map with keys that are no text.
    pub fn json(mut self, value: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(|e| Error::other(format!("body of {}: {e}", self.url)))?;
        self.body = Some(body);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            self.headers.push(("Content-Type".into(), "application/json".into()));
        }
        Ok(self)
    }

    /// Asks for a status outside 200-299 as a response instead of an error.
    #[must_use]
    pub fn accept(mut self, status: u16) -> Self {
        if !self.accept.contains(&status) {
            self.accept.push(status);
        }
        self
    }

    /// Says that a POST or PATCH only asks, as for a list: the host may then send it again after a failure.
    #[must_use]
    pub fn reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// Turns this request to a URL that the API gave: its query takes the place of this request's,
    /// except for the parameters named in `keep` that the URL lacks. Method, headers and body stay.
    #[must_use]
    pub fn follow(mut self, url: impl Into<String>, keep: &[String]) -> Self {
        self.url = url.into();
        let url = &self.url;
        self.query.retain(|(name, _)| keep.contains(name) && !url::has_query(url, name));
        self
    }

    /// Returns the URL with the query appended, encoded as the host encodes it.
    #[must_use]
    pub fn full_url(&self) -> String {
        url::append_query(&self.url, &self.query)
    }
}

impl std::fmt::Display for Request {
    /// Method and URL, for messages; never headers, where credentials stand.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.full_url())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_query_replaces_every_parameter_of_the_name_where_the_first_stood() {
        let request = Request::get("http://a/").query("a", 1).query("b", 2).query("a", 3).set_query("a", 9);
        assert_eq!(request.query, [("a".into(), "9".into()), ("b".into(), "2".into())]);
    }

    #[test]
    fn following_a_url_drops_the_query_but_for_the_kept_names_it_lacks() {
        let keep = ["key".to_owned(), "page".to_owned()];
        let request = Request::get("http://a/").query("key", "k").query("page", 1).query("state", "all");
        let next = request.follow("http://a/?page=2", &keep);
        assert_eq!(next.full_url(), "http://a/?page=2&key=k");
    }

    #[test]
    fn json_sets_the_content_type_once() {
        let request = Request::post("http://a/").header("content-type", "application/vnd.x+json");
        let request = request.json(&serde_json::json!({"a": 1})).unwrap();
        assert_eq!(request.headers.len(), 1);
        assert_eq!(request.body.unwrap(), br#"{"a":1}"#);
    }
}
