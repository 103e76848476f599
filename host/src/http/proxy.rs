//! Proxies: which there may be, and who resolves a name then.
//!
//! With `socks5` the host resolves the name, and the proxy is told the address that the policy has checked, as without a
//! proxy. An HTTP proxy is told the name and looks it up itself. So the host looks it up as well, and refuses what the policy
//! refuses; where the host finds no address (as behind many a firewall), the proxy alone decides where the name leads.
//! Whoever configures an HTTP proxy therefore trusts it with that. `socks5h` and `socks4`, which would leave names to the
//! proxy without need, are not offered.

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// Requests of which scheme go through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// `http`.
    Http,
    /// `https`.
    Https,
    /// Both.
    All,
}

/// One proxy. `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    of: Of,
    url: Url,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("of", &self.of).field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// A text that names no proxy. It is not repeated: it may hold credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a proxy; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before HOST if it asks for them"
)]
pub struct ProxyError;

impl Proxy {
    /// Reads the URL of a proxy; one without a scheme is an HTTP proxy.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(of: Of, text: &str) -> Result<Self, ProxyError> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|_| ProxyError)?;
        let known =
            matches!(url.scheme(), "http" | "https" | "socks5") && url.host_str().is_some_and(|host| !host.is_empty());
        if known { Ok(Self { of, url }) } else { Err(ProxyError) }
    }

    /// The proxy's own host: the user named it, so it may have a private address.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether it looks names up itself.
    pub(super) fn resolves(&self) -> bool {
        self.url.scheme() != "socks5"
    }

    /// Whether the way to it is encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Its host and port, without credentials.
    pub(super) fn name(&self) -> String {
        match self.url.port_or_known_default() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }

    pub(super) fn build(&self, except: Option<&str>) -> reqwest::Result<reqwest::Proxy> {
        let url = self.url.as_str();
        let proxy = match self.of {
            Of::Http => reqwest::Proxy::http(url),
            Of::Https => reqwest::Proxy::https(url),
            Of::All => reqwest::Proxy::all(url),
        }?;
        Ok(proxy.no_proxy(except.and_then(reqwest::NoProxy::from_string)))
    }
}

/// A proxy, and which requests it carries: by the code that reqwest itself asks.
pub(super) struct Way {
    pub(super) proxy: Proxy,
    matcher: Matcher,
}

impl Way {
    pub(super) fn new(proxy: &Proxy, except: Option<&str>) -> Self {
        let (builder, url) = (Matcher::builder(), proxy.url.as_str());
        let builder = match proxy.of {
            Of::Http => builder.http(url),
            Of::Https => builder.https(url),
            Of::All => builder.all(url),
        };
        Self { proxy: proxy.clone(), matcher: builder.no(except.unwrap_or_default()).build() }
    }

    pub(super) fn carries(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.matcher.intercept(&uri).is_some())
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.proxy.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_carries_what_is_of_its_scheme_and_not_left_out() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (of, except, target, carries) in [
            (Of::All, None, "http://a.example/x", true),
            (Of::All, None, "https://a.example/x?y=1", true),
            (Of::Http, None, "https://a.example/", false),
            (Of::Https, None, "https://a.example/", true),
            (Of::All, Some("a.example"), "https://a.example/", false),
            (Of::All, Some("example"), "https://a.example/", false),
            (Of::All, Some("b.example, 10.0.0.0/8"), "https://a.example/", true),
            (Of::All, Some("b.example, 10.0.0.0/8"), "http://10.1.2.3:8080/", false),
            (Of::All, Some("*"), "http://a.example/", false),
        ] {
            for scheme in ["http", "https", "socks5"] {
                let proxy = Proxy::new(of, &format!("{scheme}://user:secret@proxy.example:8080")).unwrap();
                let way = Way::new(&proxy, except);
                assert_eq!(way.carries(&url(target)), carries, "{of:?} {scheme} {except:?} {target}");
                assert_eq!(way.proxy.name(), "proxy.example:8080");
                assert!(!format!("{way:?}").contains("secret"));
            }
        }
    }

    #[test]
    fn proxies_are_urls_and_their_credentials_are_not_shown() {
        for (text, resolves) in [
            ("proxy.example:3128", true),
            ("http://user:secret@proxy.example:3128", true),
            ("https://proxy.example", true),
            ("socks5://127.0.0.1:1080", false),
        ] {
            let proxy = Proxy::new(Of::All, text).unwrap();
            assert_eq!(proxy.resolves(), resolves, "{text}");
            assert!(proxy.build(Some("localhost,10.0.0.0/8")).is_ok(), "{text}");
            assert!(!format!("{proxy:?}").contains("secret"));
        }
        for text in ["", "socks5h://proxy.example", "socks4://proxy.example", "ftp://proxy.example", "http://"] {
            assert_eq!(Proxy::new(Of::All, text), Err(ProxyError), "{text}");
        }
    }
}
