//! The kinds of authentication that the host knows, and what each needs to be told.

use std::collections::BTreeMap;

use crate::engine::bindings::exports::ingest::connector::source as wit;

/// What the host does to a request so that the API lets it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key in a header, a query parameter or a cookie.
    ApiKey,
    /// A user's name and password, RFC 7617.
    Basic,
    /// A token in `Authorization`, RFC 6750.
    Bearer,
    /// OAuth 2.0 client credentials, RFC 6749, section 4.4.
    ClientCredentials,
    /// OAuth 2.0 by a refresh token, RFC 6749, section 6.
    RefreshToken,
    /// OAuth 2.0 authorization code with PKCE, RFC 6749, section 4.1, and RFC 7636.
    AuthorizationCode,
    /// OAuth 2.0 device authorization, RFC 8628.
    DeviceCode,
    /// OAuth 2.0 by a signed assertion, RFC 7523.
    JwtBearer,
    /// An HMAC over parts of the request.
    Hmac,
    /// Signature Version 4 of Amazon Web Services.
    AwsSigV4,
}

/// One thing that a kind has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Whether its value is a secret.
    pub secret: bool,
    /// Whether there may be several values, which take turns.
    pub many: bool,
    /// Whether it has to be there.
    pub required: bool,
    /// What it is where nobody says; empty for nothing.
    pub default: &'static str,
    /// The values that it can have; empty for any.
    pub choices: &'static [&'static str],
    /// What it means, in a line.
    pub meaning: &'static str,
}

const fn needed(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, secret: false, many: false, required: true, default: "", choices: &[], meaning }
}

const fn optional(name: &'static str, default: &'static str, meaning: &'static str) -> Parameter {
    Parameter { required: false, default, ..needed(name, meaning) }
}

const fn secret(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { secret: true, ..needed(name, meaning) }
}

const fn secret_option(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { required: false, ..secret(name, meaning) }
}

const fn keys(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { many: true, ..secret(name, meaning) }
}

const fn one_of(
    name: &'static str,
    choices: &'static [&'static str],
    default: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { choices, ..optional(name, default, meaning) }
}

const TOKEN_URL: Parameter = needed("token_url", "where tokens are given out");
const CLIENT_ID: Parameter = needed("client_id", "the client's name at the API");
const SCOPE: Parameter = optional("scope", "", "what is asked for, with spaces between");
const AUDIENCE: Parameter = optional("audience", "", "the API that the token is for, where the server wants to know");
const RESOURCE: Parameter = optional("resource", "", "the same as RFC 8707 has it");
const MARGIN: Parameter = optional(
    "refresh_margin",
    "",
    "renew so many seconds before the end [the smaller of 300 and a tenth of the lifetime]",
);
const SECRET: Parameter = secret_option("client_secret", "the client's secret");
const CLIENT_AUTH: Parameter = one_of(
    "client_auth",
    &["basic", "post", "private_key_jwt", "client_secret_jwt", "none"],
    "",
    "how the client proves itself [basic with a secret, private_key_jwt with a key, else none]",
);
const PRIVATE_KEY: Parameter = secret_option("private_key", "a private key in PEM");
const KEY_ID: Parameter = optional("key_id", "", "the key's name (kid)");
const ALGORITHM: Parameter =
    one_of("algorithm", &["RS256", "ES256", "HS256"], "RS256", "how assertions are signed; HS256 takes client_secret");
const ASSERTION_AUDIENCE: Parameter =
    optional("assertion_audience", "", "whom assertions are made out to [the token's URL]");

const CLIENT: [Parameter; 8] =
    [TOKEN_URL, SECRET, CLIENT_AUTH, PRIVATE_KEY, KEY_ID, ALGORITHM, ASSERTION_AUDIENCE, MARGIN];

impl Kind {
    /// What it has to be told.
    pub fn parameters(self) -> Vec<Parameter> {
        let client = |own: &[Parameter]| own.iter().chain(&CLIENT).copied().collect();
        match self {
            Self::ApiKey => vec![
                one_of("in", &["header", "query", "cookie"], "header", "where the key stands"),
                needed("name", "name of the header, query parameter or cookie"),
                keys("value", "the key; a list of keys takes turns"),
            ],
            Self::Basic => vec![needed("username", "the user"), secret("password", "the user's password")],
            Self::Bearer => vec![
                keys("token", "the token; a list of tokens takes turns"),
                optional("prefix", "Bearer", "what stands before it"),
            ],
            Self::ClientCredentials => client(&[CLIENT_ID, SCOPE, AUDIENCE, RESOURCE]),
            Self::RefreshToken => {
                client(&[CLIENT_ID, SCOPE, secret("refresh_token", "the first refresh token; later ones are stored")])
            }
            Self::AuthorizationCode => client(&[
                needed("authorize_url", "where the user signs in"),
                CLIENT_ID,
                SCOPE,
                AUDIENCE,
                RESOURCE,
                optional("redirect_port", "", "port of 127.0.0.1 that the API sends the browser to [any free one]"),
            ]),
            Self::DeviceCode => {
                client(&[needed("device_url", "where codes for the user are given out"), CLIENT_ID, SCOPE, AUDIENCE])
            }
            Self::JwtBearer => {
                let mut all: Vec<Parameter> = client(&[
                    needed("issuer", "who makes the assertion (iss)"),
                    optional("subject", "", "for whom it is made (sub) [the issuer]"),
                    optional("client_id", "", "the client's name, where the server wants it"),
                    SCOPE,
                    AUDIENCE,
                ]);
                // The signature is the proof; few servers want another.
                all.retain(|parameter| parameter.name != "audience");
                all
            }
            Self::Hmac => vec![
                secret("secret", "the key of the HMAC"),
                one_of("secret_encoding", &["plain", "base64", "hex"], "plain", "how the secret is written"),
                optional("key_id", "", "the key's name, {key_id} in templates"),
                one_of("algorithm", &["sha256", "sha512", "sha1"], "sha256", "the hash"),
                optional(
                    "template",
                    "{method}\\n{path_and_query}\\n{timestamp}\\n{body}",
                    "what is signed; of {method} {host} {path} {query} {path_and_query} {url} {timestamp} {body} \
                     {body_sha256} {body_sha256_base64} {key_id}",
                ),
                one_of("encoding", &["hex", "base64", "base64url"], "hex", "how the signature is written"),
                optional("header", "X-Signature", "the header that carries the signature"),
                optional("header_template", "{signature}", "its value; also {timestamp} and {key_id}"),
                optional("timestamp_header", "X-Timestamp", "the header that carries the time; empty for none"),
                one_of("timestamp", &["seconds", "milliseconds", "iso8601", "http_date"], "seconds", "its form"),
            ],
            Self::AwsSigV4 => vec![
                needed("access_key_id", "the key's name"),
                secret("secret_access_key", "the key"),
                secret_option("session_token", "the token of temporary credentials"),
                needed("region", "as us-east-1"),
                needed("service", "as execute-api or s3"),
            ],
        }
    }

    /// The parameter that a text alone stands for, as in `bearer: TOKEN`.
    pub(crate) fn short(self) -> Option<&'static str> {
        match self {
            Self::Bearer => Some("token"),
            Self::ApiKey => Some("value"),
            _ => None,
        }
    }

    /// Whether a user has to sign in before the first run.
    pub fn signs_in(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::DeviceCode)
    }
}

/// A way in which the API lets a client in, as the connector's description has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// What the configuration picks it by.
    pub name: String,
    /// What the host does.
    pub kind: Kind,
    /// What the connector knows already.
    pub fixed: BTreeMap<String, String>,
}

impl Scheme {
    /// Reads the schemes of a description.
    ///
    /// # Errors
    /// What is wrong with it, for the connector's author.
    pub fn read(described: &[wit::AuthScheme]) -> Result<Vec<Self>, String> {
        let mut schemes: Vec<Self> = Vec::new();
        for scheme in described {
            let name = &scheme.name;
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if name.is_empty() || name.len() > 100 || !name.bytes().all(letter) {
                return Err(format!("the name of an auth scheme is made of letters, digits, - and _: {name:?}"));
            }
            if schemes.iter().any(|other| other.name == *name) {
                return Err(format!("two auth schemes have the name {name}"));
            }
            let kind = Kind::from(scheme.kind);
            let known = kind.parameters();
            let mut fixed = BTreeMap::new();
            for (key, value) in &scheme.parameters {
                match known.iter().find(|parameter| parameter.name == key) {
                    None => return Err(format!("the auth scheme {name} has no parameter {key:?}")),
                    Some(parameter) if parameter.secret => {
                        return Err(format!("the auth scheme {name} gives {key}, which only a user can give"));
                    }
                    Some(_) => fixed.insert(key.clone(), value.clone()),
                };
            }
            schemes.push(Self { name: name.clone(), kind, fixed });
        }
        Ok(schemes)
    }
}

impl From<wit::AuthKind> for Kind {
    fn from(kind: wit::AuthKind) -> Self {
        match kind {
            wit::AuthKind::ApiKey => Self::ApiKey,
            wit::AuthKind::Basic => Self::Basic,
            wit::AuthKind::Bearer => Self::Bearer,
            wit::AuthKind::Oauth2ClientCredentials => Self::ClientCredentials,
            wit::AuthKind::Oauth2RefreshToken => Self::RefreshToken,
            wit::AuthKind::Oauth2AuthorizationCode => Self::AuthorizationCode,
            wit::AuthKind::Oauth2DeviceCode => Self::DeviceCode,
            wit::AuthKind::Oauth2JwtBearer => Self::JwtBearer,
            wit::AuthKind::Hmac => Self::Hmac,
            wit::AuthKind::AwsSigv4 => Self::AwsSigV4,
        }
    }
}
