//! Ways in which an API lets a client in. The host does all of it; a connector only says what its API takes.

use crate::bindings::exports::ingest::connector::source as wit;

/// What the host does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthKind {
    /// A key in a header, a query parameter or a cookie.
    ApiKey,
    /// A user's name and password, RFC 7617.
    Basic,
    /// A token in `Authorization`, RFC 6750.
    Bearer,
    /// OAuth 2.0 for the client itself, RFC 6749, section 4.4.
    OAuth2ClientCredentials,
    /// OAuth 2.0 by a refresh token that the user has, RFC 6749, section 6.
    OAuth2RefreshToken,
    /// OAuth 2.0 for a user who signs in with a browser, RFC 6749, section 4.1, and RFC 7636.
    OAuth2AuthorizationCode,
    /// OAuth 2.0 for a user who signs in on another device, RFC 8628.
    OAuth2DeviceCode,
    /// OAuth 2.0 by a signed assertion, RFC 7523.
    OAuth2JwtBearer,
    /// An HMAC over parts of the request.
    Hmac,
    /// Signature Version 4 of Amazon Web Services.
    AwsSigV4,
}

/// One way in which an API lets a client in.
///
/// ```
/// # use connector_sdk::{Auth, AuthKind};
/// let scheme = Auth::new("app", AuthKind::OAuth2ClientCredentials)
///     .parameter("token_url", "https://login.example.com/oauth/token")
///     .parameter("scope", "read");
/// # let _ = scheme;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    name: String,
    kind: AuthKind,
    parameters: Vec<(String, String)>,
}

impl Auth {
    /// Starts a scheme: `name` is what the user's configuration picks it by.
    pub fn new(name: impl Into<String>, kind: AuthKind) -> Self {
        Self { name: name.into(), kind, parameters: Vec::new() }
    }

    /// Says what the user need not: the header's name, the token's URL, scopes. `{name}` in it stands for the
    /// configuration's value of that name.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }
}

impl From<Auth> for wit::AuthScheme {
    fn from(auth: Auth) -> Self {
        let kind = match auth.kind {
            AuthKind::ApiKey => wit::AuthKind::ApiKey,
            AuthKind::Basic => wit::AuthKind::Basic,
            AuthKind::Bearer => wit::AuthKind::Bearer,
            AuthKind::OAuth2ClientCredentials => wit::AuthKind::Oauth2ClientCredentials,
            AuthKind::OAuth2RefreshToken => wit::AuthKind::Oauth2RefreshToken,
            AuthKind::OAuth2AuthorizationCode => wit::AuthKind::Oauth2AuthorizationCode,
            AuthKind::OAuth2DeviceCode => wit::AuthKind::Oauth2DeviceCode,
            AuthKind::OAuth2JwtBearer => wit::AuthKind::Oauth2JwtBearer,
            AuthKind::Hmac => wit::AuthKind::Hmac,
            AuthKind::AwsSigV4 => wit::AuthKind::AwsSigv4,
        };
        Self { name: auth.name, kind, parameters: auth.parameters }
    }
}
