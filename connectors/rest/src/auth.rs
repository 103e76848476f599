//! The ways in which APIs let clients in: all that the host can do, since which one an API wants, its configuration says.

use connector_sdk::{Auth, AuthKind};

/// Lists the schemes by the names that a configuration picks them by.
pub(crate) fn schemes() -> Vec<Auth> {
    vec![
        Auth::new("bearer", AuthKind::Bearer),
        Auth::new("header", AuthKind::ApiKey).parameter("in", "header"),
        Auth::new("query", AuthKind::ApiKey).parameter("in", "query"),
        Auth::new("cookie", AuthKind::ApiKey).parameter("in", "cookie"),
        Auth::new("basic", AuthKind::Basic),
        Auth::new("client_credentials", AuthKind::OAuth2ClientCredentials),
        Auth::new("refresh_token", AuthKind::OAuth2RefreshToken),
        Auth::new("authorization_code", AuthKind::OAuth2AuthorizationCode),
        Auth::new("device_code", AuthKind::OAuth2DeviceCode),
        Auth::new("jwt_bearer", AuthKind::OAuth2JwtBearer),
        Auth::new("hmac", AuthKind::Hmac),
        Auth::new("aws", AuthKind::AwsSigV4),
    ]
}
