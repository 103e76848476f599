//! Where a connector may send requests: the hosts of its description, and those that the user names.
//!
//! ```ignore
//! let policy = Policy::default().described("api.github.com".parse()?).named("http://127.0.0.1:8080".parse()?);
//! policy.allows(&Url::parse("https://api.github.com/orgs/rust-lang/repos")?)?;
//! ```

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ::http::Method;
use url::{Host, Url};

use super::address::special;

/// Longer URLs are refused. Servers commonly stop at 8 KiB; twice that leaves room for those that don't.
pub const MAX_URL_BYTES: usize = 16 * 1024;

/// Why a request is not allowed. The text names the rule and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} (rule {rule})")]
pub struct Denial {
    /// The rule's name.
    pub rule: &'static str,
    /// What is refused, and how to allow it where it can be allowed.
    pub text: String,
}

impl Denial {
    /// Makes a refusal by a rule.
    pub fn new(rule: &'static str, text: impl Into<String>) -> Self {
        Self { rule, text: text.into() }
    }
}

/// Hosts that a pattern stands for: `host`, `host:port`, `*.host`, each with `http://` or `https://` before it or without.
///
/// Without a scheme (or with `https`) only `https` URLs match. With `http`, `http` URLs match, and `https` ones as well,
/// since they are the safer of the two. Without a port only the scheme's own port matches. `*.host` stands for every name
/// below `host`, at any depth, and not for `host` itself. A path after the host is ignored, so a whole base URL will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    plain: bool,
    below: bool,
    host: Host,
    port: Option<u16>,
}

/// A text that is no host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host ({reason}); write host, host:port, *.host or http://host: {text:?}")]
pub struct PatternError {
    text: String,
    reason: &'static str,
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |reason| PatternError { text: text.to_owned(), reason };
        let (plain, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (true, rest),
            Some(_) => return Err(error("the scheme is neither http nor https")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (below, authority) = match authority.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, authority),
        };
        if authority.is_empty() {
            return Err(error("it is empty"));
        }
        if authority.contains('*') {
            return Err(error("* can only stand for the first labels of a name"));
        }
        if authority.contains('@') {
            return Err(error("it holds credentials"));
        }
        // An address of IPv6 is often written without its brackets.
        let bare_v6 = authority.parse::<std::net::Ipv6Addr>().is_ok();
        let authority = if bare_v6 { format!("[{authority}]") } else { authority.to_owned() };
        // A scheme without a default port keeps the port as it was written.
        let scheme = if plain { "http" } else { "https" };
        let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|_| error("the name or port is malformed"))?;
        let host = url.host().ok_or_else(|| error("it is empty"))?.to_owned();
        if below && !matches!(host, Host::Domain(_)) {
            return Err(error("nothing is below an address"));
        }
        let written = authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
        Ok(Self { plain, below, host, port: if written { url.port_or_known_default() } else { None } })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "http://" } else { "" };
        let below = if self.below { "*." } else { "" };
        write!(f, "{scheme}{below}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl HostPattern {
    /// Tells whether the URL's host is one that this pattern stands for, whatever scheme and port.
    fn is_host_of(&self, host: &Host<&str>) -> bool {
        match (&self.host, host) {
            (Host::Domain(own), Host::Domain(other)) => {
                let other = other.strip_suffix('.').unwrap_or(other);
                if self.below {
                    other.strip_suffix(own.as_str()).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
                } else {
                    other == own
                }
            }
            (Host::Ipv4(own), Host::Ipv4(other)) => own == other,
            (Host::Ipv6(own), Host::Ipv6(other)) => own == other,
            _ => false,
        }
    }

    fn is_port_of(&self, url: &Url) -> bool {
        match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        }
    }
}

/// A pattern, and who granted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The hosts.
    pub pattern: HostPattern,
    /// Whether these hosts may have private addresses: only where the user named them.
    pub private: bool,
}

/// The hosts and methods of one run. Empty: no host is allowed, and GET and HEAD alone.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    granted: Vec<Granted>,
    methods: Vec<Method>,
}

impl Policy {
    /// Makes a policy of grants.
    pub fn new(granted: Vec<Granted>) -> Self {
        Self { granted, methods: Vec::new() }
    }

    /// Adds hosts that the connector's description asks for.
    #[must_use]
    pub fn described(mut self, pattern: HostPattern) -> Self {
        self.granted.push(Granted { pattern, private: false });
        self
    }

    /// Adds hosts that the user named, in a flag or as a URL of the configuration.
    #[must_use]
    pub fn named(mut self, pattern: HostPattern) -> Self {
        self.granted.push(Granted { pattern, private: true });
        self
    }

    /// Adds a method besides GET and HEAD.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// Decides whether a request may be of a method.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn allows_method(&self, method: &Method) -> Result<(), Denial> {
        if matches!(*method, Method::GET | Method::HEAD) || self.methods.contains(method) {
            return Ok(());
        }
        let text = format!(
            "method {method} is not granted; a connector has to name it in its description, and connectors.lock too"
        );
        Err(Denial::new("method", text))
    }

    /// Lists the grants.
    pub fn granted(&self) -> &[Granted] {
        &self.granted
    }

    /// Decides whether a request may go to a URL. An address in the URL is checked here, a name's addresses when it is
    /// resolved.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn allows(&self, url: &Url) -> Result<(), Denial> {
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(Denial::new("url-length", format!("the URL is longer than {MAX_URL_BYTES} bytes")));
        }
        if !matches!(url.scheme(), "http" | "https") {
            let text = format!("the scheme {} is neither http nor https", url.scheme());
            return Err(Denial::new("url-scheme", text));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let text = "the URL holds credentials; put them in a header, as a placeholder";
            return Err(Denial::new("url-credentials", text));
        }
        let Some(host) = url.host() else {
            return Err(Denial::new("url-host", "the URL has no host"));
        };
        let mut of_host = self.granted.iter().filter(|grant| grant.pattern.is_host_of(&host)).peekable();
        if of_host.peek().is_none() {
            let text = format!(
                "host {host} is not in the connector's description; to allow it, add --allow-host {}",
                suggestion(url)
            );
            return Err(Denial::new("host", text));
        }
        let of_scheme: Vec<_> = of_host.filter(|grant| url.scheme() == "https" || grant.pattern.plain).collect();
        if of_scheme.is_empty() {
            let text = format!(
                "host {host} is allowed by https only; to allow plain http, add --allow-host {}",
                suggestion(url)
            );
            return Err(Denial::new("plain-http", text));
        }
        let matching: Vec<_> = of_scheme.into_iter().filter(|grant| grant.pattern.is_port_of(url)).collect();
        if matching.is_empty() {
            let port = url.port_or_known_default().unwrap_or_default();
            let text =
                format!("port {port} of host {host} is not allowed; to allow it, add --allow-host {}", suggestion(url));
            return Err(Denial::new("port", text));
        }
        let address = match host {
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        match special(address) {
            Some(kind) if !matching.iter().any(|grant| grant.private) => {
                let text =
                    format!("address {address} is {kind}; to allow it, name it: --allow-host {}", suggestion(url));
                Err(Denial::new("private-address", text))
            }
            _ => Ok(()),
        }
    }

    /// Tells whether the user named a host, so that it may have private addresses.
    pub fn private_granted(&self, name: &str) -> bool {
        let Ok(host) = Host::parse(name) else { return false };
        let host = match &host {
            Host::Domain(name) => Host::Domain(name.as_str()),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        };
        self.granted.iter().any(|grant| grant.private && grant.pattern.is_host_of(&host))
    }
}

/// The shortest pattern that grants a URL.
fn suggestion(url: &Url) -> String {
    let scheme = if url.scheme() == "http" { "http://" } else { "" };
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    url.port().map_or_else(|| format!("{scheme}{host}"), |port| format!("{scheme}{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::default()
            .described("api.example".parse().unwrap())
            .described("*.wide.example".parse().unwrap())
            .described("ported.example:8443".parse().unwrap())
            .described("10.0.0.9".parse().unwrap())
            .named("http://127.0.0.1:8080/prefix".parse().unwrap())
            .named("http://plain.example".parse().unwrap())
            .named("[::1]:9000".parse().unwrap())
    }

    #[test]
    fn cases() {
        let long = format!("https://api.example/{}", "a".repeat(MAX_URL_BYTES));
        for (url, rule) in [
            ("https://api.example/a?b", None),
            ("https://API.example./a", None),
            ("https://api.example:443/", None),
            ("https://api.example:444/", Some("port")),
            ("http://api.example/", Some("plain-http")),
            ("https://sub.api.example/", Some("host")),
            ("https://evilapi.example/", Some("host")),
            ("https://api.example.evil/", Some("host")),
            ("https://api.example@evil.example/", Some("url-credentials")),
            ("https://user:word@api.example/", Some("url-credentials")),
            ("https://evil.example/", Some("host")),
            ("https://wide.example/", Some("host")),
            ("https://a.wide.example/", None),
            ("https://a.b.wide.example/", None),
            ("https://xwide.example/", Some("host")),
            ("https://ported.example:8443/", None),
            ("https://ported.example/", Some("port")),
            ("https://10.0.0.9/", Some("private-address")),
            ("https://10.0.0.8/", Some("host")),
            ("http://127.0.0.1:8080/x", None),
            ("https://127.0.0.1:8080/x", None),
            ("http://127.0.0.1:8081/x", Some("port")),
            ("http://0x7f.1:8080/x", None),
            ("http://[::ffff:127.0.0.1]:8080/x", Some("host")),
            ("http://plain.example/", None),
            ("https://plain.example/", None),
            ("http://plain.example:443/", Some("port")),
            ("https://[::1]:9000/", None),
            ("http://[::1]:9000/", Some("plain-http")),
            ("ftp://api.example/", Some("url-scheme")),
            ("file:///etc/passwd", Some("url-scheme")),
            (long.as_str(), Some("url-length")),
        ] {
            let verdict = policy().allows(&Url::parse(url).unwrap());
            assert_eq!(verdict.as_ref().err().map(|denial| denial.rule), rule, "{url}");
        }
    }

    #[test]
    fn methods_that_change_something_have_to_be_granted() {
        let allowed = |policy: &Policy, method| policy.allows_method(&method).is_ok();
        let policy = policy().method(Method::POST);
        assert!(allowed(&policy, Method::GET) && allowed(&policy, Method::HEAD) && allowed(&policy, Method::POST));
        assert!(
            !allowed(&policy, Method::DELETE) && !allowed(&policy, Method::PUT) && !allowed(&policy, Method::PATCH)
        );
        assert_eq!(policy.allows_method(&Method::DELETE).unwrap_err().rule, "method");
    }

    #[test]
    fn a_refused_host_names_the_flag_to_add() {
        let text = |url: &str| policy().allows(&Url::parse(url).unwrap()).unwrap_err().to_string();
        assert_eq!(
            text("https://evil.example/x"),
            "host evil.example is not in the connector's description; to allow it, add --allow-host evil.example \
             (rule host)"
        );
        assert!(text("http://evil.example:81/x").contains("--allow-host http://evil.example:81 "));
        assert!(text("https://api.example:444").contains("--allow-host api.example:444 "));
    }

    #[test]
    fn what_a_denial_suggests_is_enough() {
        for url in [
            "https://evil.example/x",
            "http://evil.example:81/x",
            "https://api.example:444",
            "http://api.example/",
            "https://10.0.0.9/",
            "http://[fe80::1]:80/",
            "https://[::ffff:1.2.3.4]:77/",
        ] {
            let url = Url::parse(url).unwrap();
            let policy = policy();
            assert!(policy.allows(&url).is_err(), "{url}");
            assert_eq!(policy.named(suggestion(&url).parse().unwrap()).allows(&url), Ok(()), "{url}");
        }
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        assert!(Policy::default().allows(&Url::parse("https://api.example/").unwrap()).is_err());
    }

    #[test]
    fn patterns_are_checked_and_shown_as_they_are_written() {
        for text in
            ["api.example", "api.example:8080", "*.api.example", "http://api.example", "http://1.2.3.4:80", "[::1]:9"]
        {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
        assert_eq!("https://Api.Example/v1?x".parse::<HostPattern>().unwrap().to_string(), "api.example");
        assert_eq!("https://a.example:443".parse::<HostPattern>().unwrap().to_string(), "a.example:443");
        assert_eq!("::1".parse::<HostPattern>().unwrap().to_string(), "[::1]");
        for text in ["", "*", "*.", "a.*.example", "*.1.2.3.4", "ftp://x", "u:p@host", "host:99999", "a b", "https://"]
        {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn private_addresses_are_for_names_of_the_user_only() {
        assert!(policy().private_granted("plain.example"));
        assert!(policy().private_granted("127.0.0.1"));
        assert!(!policy().private_granted("api.example"));
    }
}
