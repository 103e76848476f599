//! A key in a header, a query parameter or a cookie.

use ::http::header::{COOKIE, HeaderName};

use super::Refusal;
use super::place::{header, put_header};
use crate::http::transport::Outgoing;

/// Where a key stands.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// The whole value of a header.
    Header(HeaderName),
    /// A query parameter; one of that name which is there already gives way.
    Query(String),
    /// A cookie besides those that are there.
    Cookie(String),
}

impl Place {
    /// Reads `in` and `name`.
    pub(crate) fn new(kind: &str, name: &str) -> Result<Self, Refusal> {
        Ok(match kind {
            "query" => Self::Query(name.to_owned()),
            // The characters of RFC 6265, section 4.1.1, are those of a header's name.
            "cookie" => {
                header(name)?;
                Self::Cookie(name.to_owned())
            }
            _ => Self::Header(header(name)?),
        })
    }

    /// Puts a key in.
    pub(crate) fn put(&self, outgoing: &mut Outgoing, value: &str) -> Result<(), Refusal> {
        match self {
            Self::Header(name) => put_header(outgoing, name.clone(), value),
            Self::Query(name) => {
                let own = |pair: &&str| {
                    let key = pair.split('=').next().unwrap_or_default();
                    !url::form_urlencoded::parse(key.as_bytes()).any(|(key, _)| key == name.as_str())
                };
                let mut pairs: Vec<String> = outgoing
                    .url
                    .query()
                    .unwrap_or_default()
                    .split('&')
                    .filter(|pair| !pair.is_empty())
                    .filter(own)
                    .map(str::to_owned)
                    .collect();
                let encode = |text: &str| crate::auth::percent_encode(text, b"");
                pairs.push(format!("{}={}", encode(name), encode(value)));
                outgoing.url.set_query(Some(&pairs.join("&")));
                Ok(())
            }
            Self::Cookie(name) => {
                let cookie = match outgoing.headers.get(COOKIE).and_then(|value| value.to_str().ok()) {
                    Some(others) => format!("{others}; {name}={value}"),
                    None => format!("{name}={value}"),
                };
                put_header(outgoing, COOKIE, &cookie)
            }
        }
    }
}
