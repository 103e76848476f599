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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;
    use crate::auth::{Kind, Scheme, Secrets};

    /// An RSA key of 2048 bits that opens nothing.
    const RSA: &str = include_str!("../../../tests/src/servers/rsa.pem");
    const NOW_MS: u64 = 1_700_000_000_123;

    fn choice(more: &Value) -> Choice {
        let scheme = Scheme { name: "jwt".to_owned(), kind: Kind::JwtBearer, fixed: BTreeMap::default() };
        let mut auth = json!({"token_url": "https://a/t", "issuer": "me", "client_secret": "a shared secret"});
        auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Choice::read(&[scheme], &json!({ "jwt": auth }), &Secrets::default()).unwrap().unwrap()
    }

    /// Signs, and looks at it as a server does that knows `key`.
    fn signed(more: &Value, algorithm: Algorithm, key: &DecodingKey) -> (Header, Value) {
        let signer = Signer::new(&choice(more), false).unwrap();
        let assertion = signer.sign("me", "somebody", "https://a/t", Some("read"), NOW_MS).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_audience(&["https://a/t"]);
        let token = jsonwebtoken::decode(assertion.expose(), key, &validation).unwrap();
        (token.header, token.claims)
    }

    #[test]
    fn assertions_are_signed_by_each_algorithm_as_rfc_7523_has_them() {
        let (header, claims) =
            signed(&json!({"algorithm": "HS256"}), Algorithm::HS256, &DecodingKey::from_secret(b"a shared secret"));
        assert_eq!((header.alg, header.kid), (Algorithm::HS256, None));
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["scope"]),
            (&json!("me"), &json!("somebody"), &json!("read"))
        );
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_700_000_000), &json!(1_700_000_060)));

        let der = pem_body(RSA);
        let pair = ring::signature::RsaKeyPair::from_pkcs8(&der).unwrap();
        let key = DecodingKey::from_rsa_der(ring::signature::KeyPair::public_key(&pair).as_ref());
        let (header, other) =
            signed(&json!({"algorithm": "RS256", "private_key": RSA, "key_id": "k1"}), Algorithm::RS256, &key);
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::RS256, Some("k1")));
        assert_ne!(other["jti"], claims["jti"], "each is for one use");

        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = DecodingKey::from_ec_der(pair.public_key_raw());
        let more = json!({"algorithm": "ES256", "private_key": pair.serialize_pem()});
        assert_eq!(signed(&more, Algorithm::ES256, &key).0.alg, Algorithm::ES256);
    }

    fn pem_body(pem: &str) -> Vec<u8> {
        use base64::Engine as _;
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    #[test]
    fn a_key_of_another_kind_is_refused_before_anything_is_sent() {
        let refused = |more: Value| Signer::new(&choice(&more), false).unwrap_err().message;
        assert_eq!(
            refused(json!({"algorithm": "ES256", "private_key": RSA})),
            "the private key cannot be used for ES256"
        );
        assert_eq!(refused(json!({"private_key": "no key"})), "the private key cannot be used for RS256");
        assert_eq!(refused(json!({})), "assertions need a private_key");
    }
}
