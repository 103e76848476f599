//! Signed assertions, RFC 7523: `private_key_jwt` and `client_secret_jwt` for clients, and the JWT bearer grant.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::choice::Choice;
use super::{Refusal, Secret};

/// How long an assertion is good for: long enough for clocks that differ, short enough to be worthless when it is found.
const LIFETIME_S: u64 = 60;

/// What signs assertions.
#[derive(Clone)]
pub(crate) struct Signer {
    key: EncodingKey,
    header: Header,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({:?})", self.header.alg)
    }
}

impl Signer {
    /// Reads the key of a choice; `shared` makes it the client's secret.
    pub(crate) fn new(choice: &Choice, shared: bool) -> Result<Self, Refusal> {
        let algorithm = match (shared, choice.value("algorithm")) {
            (true, _) | (_, "HS256") => Algorithm::HS256,
            (_, "ES256") => Algorithm::ES256,
            _ => Algorithm::RS256,
        };
        let missing = |name: &str| Refusal::new(format!("assertions need a {name}"), format!("set {name}"));
        let key = match algorithm {
            Algorithm::HS256 => {
                let secret = choice.secret("client_secret").ok_or_else(|| missing("client_secret"))?;
                Ok(EncodingKey::from_secret(secret.expose().as_bytes()))
            }
            algorithm => {
                let pem: &Secret = choice.secret("private_key").ok_or_else(|| missing("private_key"))?;
                let pem = pem.expose().as_bytes();
                if algorithm == Algorithm::ES256 {
                    EncodingKey::from_ec_pem(pem)
                } else {
                    EncodingKey::from_rsa_pem(pem)
                }
            }
        };
        let wrong = |_| {
            Refusal::new(
                format!("the private key cannot be used for {algorithm:?}"),
                "give a key in PEM: RSA of 2048 bits or more for RS256, PKCS#8 of the curve P-256 for ES256",
            )
        };
        let mut header = Header::new(algorithm);
        header.kid = choice.option("key_id").map(str::to_owned);
        let signer = Self { key: key.map_err(wrong)?, header };
        // A key of the wrong kind shows itself only when it signs.
        signer.sign("", "", "", None, 0).map_err(|_| {
            Refusal::new(
                format!("the private key cannot be used for {algorithm:?}"),
                "give a key in PEM: RSA of 2048 bits or more for RS256, PKCS#8 of the curve P-256 for ES256",
            )
        })?;
        Ok(signer)
    }

    /// Makes an assertion as of `now_ms`.
    pub(crate) fn sign(
        &self,
        issuer: &str,
        subject: &str,
        audience: &str,
        scope: Option<&str>,
        now_ms: u64,
    ) -> Result<Secret, Refusal> {
        let now = now_ms / 1000;
        let mut claims = json!({
            "iss": issuer, "sub": subject, "aud": audience, "iat": now, "exp": now.saturating_add(LIFETIME_S),
            "jti": uuid::Uuid::now_v7().to_string(),
        });
        // Where servers of the JWT bearer grant look for it.
        if let (Some(scope), Some(claims)) = (scope, claims.as_object_mut()) {
            claims.insert("scope".to_owned(), scope.into());
        }
        jsonwebtoken::encode(&self.header, &claims, &self.key)
            .map(Secret::new)
            .map_err(|error| Refusal::new(format!("the assertion cannot be signed: {error}"), "give another key"))
    }
}
