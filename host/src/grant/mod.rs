//! What a connector asks for, and what its user has granted: shown once, written down, and compared with what a new version
//! asks for.
//!
//! ```ignore
//! let wants = described.wants()?;
//! match Lock::read(path)?.decide(&wants) {
//!     Decision::Granted(grant) => run(described, Options { network: Network { grant: Some(grant), .. }, .. }),
//!     Decision::New | Decision::More(_) => ask(&wants),
//! }
//! ```
//!
//! What is asked for depends on the component alone, not on a configuration: a host that the configuration fills in stands
//! here as `{name}`, with the default that the connector's schema gives it, so that a new version with another default asks
//! for more. Hosts that the user's own configuration names are the user's own word.

mod limits;
mod lock;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use self::limits::{parse as parse_limits, rates};
pub use self::lock::{Decision, Lock, LockError};
use crate::config::{ConfigError, SchemaFacts};
use crate::engine::bindings::exports::ingest::connector::source::Description;
use crate::engine::bindings::ingest::connector::http::Method;

/// What a connector asks for, or was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The connector's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Hosts as patterns: `api.example.com`, `{base_url}`, or `{base_url=https://api.example.com}` with a default.
    pub hosts: Vec<String>,
    /// Where the host asks for tokens and sends the user to sign in, as far as the connector says it: the client's secret
    /// goes there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// Methods of requests.
    pub methods: Vec<String>,
    /// Places of secrets in the configuration, as `auth.token` or `keys[].value`.
    pub secrets: Vec<String>,
    /// Limits that the connector keeps to, as `10/s:burst=5` or `4 at once`. Fewer of them is more.
    pub limits: Vec<String>,
}

impl Grant {
    /// Tells what a connector asks for.
    ///
    /// # Errors
    /// When its configuration schema is none.
    pub fn of(description: &Description, digest: &str) -> Result<Self, ConfigError> {
        let facts = SchemaFacts::of(&description.config_schema)?;
        let asked = description.methods.iter().map(|method| method_name(*method));
        let methods: BTreeSet<&str> = ["GET", "HEAD"].into_iter().chain(asked).collect();
        let sorted = |texts: Vec<String>| texts.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        Ok(Self {
            name: description.name.clone(),
            version: description.version.clone(),
            digest: digest.to_owned(),
            hosts: sorted(description.hosts.iter().map(|host| with_defaults(host, &facts)).collect()),
            tokens: sorted(token_urls(description).map(|url| with_defaults(url, &facts)).collect()),
            methods: methods.into_iter().map(str::to_owned).collect(),
            secrets: sorted(facts.secrets()),
            limits: limits::of(&description.budget),
        })
    }

    /// Lists what these wants have beyond a grant.
    pub fn beyond(&self, grant: &Self) -> Difference {
        let more = |wanted: &[String], granted: &[String]| -> Vec<String> {
            wanted.iter().filter(|text| !granted.contains(text)).cloned().collect()
        };
        Difference {
            hosts: more(&self.hosts, &grant.hosts),
            tokens: more(&self.tokens, &grant.tokens),
            methods: more(&self.methods, &grant.methods),
            secrets: more(&self.secrets, &grant.secrets),
            limits: grant.limits.iter().filter(|text| !limits::kept(text, &self.limits)).cloned().collect(),
        }
    }

    /// Lists it for a person, hosts as `fill` shows them.
    pub fn lines(&self, fill: impl Fn(&str) -> String) -> Vec<String> {
        let list = |texts: &[String], none: &str| match texts.is_empty() {
            true => none.to_owned(),
            false => texts.join(", "),
        };
        let hosts: Vec<String> = self.hosts.iter().map(|host| fill(host)).collect();
        let mut lines = vec![
            format!("hosts    {}", list(&hosts, "none")),
            format!("methods  {}", list(&self.methods, "none")),
            format!("secrets  {}", list(&self.secrets, "none")),
            format!("limits   {}", list(&self.limits, "none of its own")),
        ];
        if !self.tokens.is_empty() {
            lines.insert(1, format!("tokens   {}", self.tokens.join(", ")));
        }
        lines
    }
}

/// What a connector asks for beyond what was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    hosts: Vec<String>,
    tokens: Vec<String>,
    methods: Vec<String>,
    secrets: Vec<String>,
    /// Limits that it does not keep to any more.
    limits: Vec<String>,
}

impl Difference {
    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
            && self.tokens.is_empty()
            && self.methods.is_empty()
            && self.secrets.is_empty()
            && self.limits.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("+ host   ", &self.hosts),
            ("+ tokens ", &self.tokens),
            ("+ method ", &self.methods),
            ("+ secret ", &self.secrets),
            ("- limit  ", &self.limits),
        ];
        let lines: Vec<String> = lines
            .into_iter()
            .flat_map(|(sign, texts)| texts.iter().map(move |text| format!("  {sign} {text}")))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The addresses in a connector's schemes to which the host itself goes, or sends the user.
fn token_urls(description: &Description) -> impl Iterator<Item = &str> {
    let parameters = description.auth.iter().flat_map(|scheme| &scheme.parameters);
    parameters.filter(|(name, _)| is_token_url(name)).map(|(_, url)| url.as_str())
}

pub(crate) fn is_token_url(name: &str) -> bool {
    matches!(name, "token_url" | "device_url" | "authorize_url")
}

pub(crate) fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    }
}

/// Writes the schema's default into each `{name}` of a host.
fn with_defaults(host: &str, facts: &SchemaFacts) -> String {
    let mut whole = String::new();
    let mut rest = host;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        whole.push_str(before);
        match facts.default_text(name) {
            Some(default) => whole.push_str(&format!("{{{name}={default}}}")),
            None => whole.push_str(&format!("{{{name}}}")),
        }
        rest = behind;
    }
    whole.push_str(rest);
    whole
}

/// Splits a host of a grant back into what the description says.
pub(crate) fn without_defaults(host: &str) -> String {
    let mut plain = String::new();
    let mut rest = host;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        plain.push_str(before);
        plain.push_str(&format!("{{{}}}", name.split('=').next().unwrap_or_default()));
        rest = behind;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::bindings::exports::ingest::connector::source::{
        AuthKind, AuthScheme, Budget, BudgetHeaders, Rate,
    };

    fn description() -> Description {
        Description {
            name: "items".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            docs_url: None,
            config_schema: r##"{
                "type": "object",
                "properties": {
                    "base_url": {"type": "string", "default": "https://api.example.com/v1"},
                    "auth": {"oneOf": [{"$ref": "#/$defs/token"}, {"properties": {"keys": {"items": {"$ref": "#/$defs/token"}}}}]}
                },
                "$defs": {"token": {"properties": {"token": {"writeOnly": true}, "next": {"$ref": "#/$defs/token"}}}}
            }"##
            .to_owned(),
            auth: vec![AuthScheme {
                name: "app".to_owned(),
                kind: AuthKind::Oauth2ClientCredentials,
                parameters: vec![
                    ("token_url".to_owned(), "https://login.example.com/token".to_owned()),
                    ("scope".to_owned(), "read".to_owned()),
                ],
            }],
            hosts: vec!["{base_url}".to_owned(), "{site}.example.net".to_owned(), "cdn.example.com".to_owned()],
            methods: vec![Method::Post],
            budget: Budget {
                rates: vec![Rate { requests: 10, per_ms: 1_000, burst: 5 }, Rate { requests: 1, per_ms: 90_000, burst: 1 }],
                concurrency: Some(4),
                headers: BudgetHeaders { limit: None, remaining: None, reset: None, bucket: None },
            },
        }
    }

    fn grant() -> Grant {
        Grant::of(&description(), "00ff").unwrap()
    }

    #[test]
    fn what_a_connector_asks_for_depends_on_the_component_alone() {
        assert_eq!(
            grant().lines(str::to_owned).join("\n"),
            "hosts    cdn.example.com, {base_url=https://api.example.com/v1}, {site}.example.net\n\
             tokens   https://login.example.com/token\n\
             methods  GET, HEAD, POST\n\
             secrets  auth.keys[].token, auth.token\n\
             limits   1/90s, 10/s:burst=5, 4 at once"
        );
        assert_eq!(without_defaults("{base_url=https://api.example.com/v1}"), "{base_url}");
        assert_eq!(without_defaults("{site}.example.net"), "{site}.example.net");
    }

    #[test]
    fn more_is_told_line_by_line_and_less_is_nothing() {
        let old = grant();
        let mut other = description();
        other.config_schema = other.config_schema.replace("api.example.com/v1", "evil.example/v1");
        other.config_schema = other.config_schema.replace(r#""token": {"writeOnly""#, r#""word": {"writeOnly""#);
        other.methods.push(Method::Delete);
        for (_, url) in other.auth.iter_mut().flat_map(|scheme| &mut scheme.parameters) {
            *url = url.replace("login.example.com", "evil.example");
        }
        other.budget.rates = vec![Rate { requests: 10, per_ms: 1_000, burst: 6 }];
        let new = Grant::of(&other, "11").unwrap();
        assert_eq!(
            new.beyond(&old).to_string(),
            "  + host    {base_url=https://evil.example/v1}\n\
             \x20 + tokens  https://evil.example/token\n\
             \x20 + method  DELETE\n\
             \x20 + secret  auth.keys[].word\n\
             \x20 + secret  auth.word\n\
             \x20 - limit   1/90s\n\
             \x20 - limit   10/s:burst=5"
        );
        let mut less = description();
        less.hosts.truncate(1);
        less.methods.clear();
        less.budget.concurrency = Some(2);
        assert!(Grant::of(&less, "22").unwrap().beyond(&old).is_empty());
        less.budget.concurrency = None;
        assert_eq!(Grant::of(&less, "22").unwrap().beyond(&old).to_string(), "  - limit   4 at once");
    }
}
