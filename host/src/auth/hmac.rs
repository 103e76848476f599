//! An HMAC (RFC 2104) over parts of the request, put together by a template.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};

use super::choice::Choice;
use super::place::{header, put_header};
use super::{Refusal, Secret};
use crate::engine::cache::hex;
use crate::http::transport::Outgoing;
use crate::time::rfc3339;

/// How requests are signed.
#[derive(Debug, Clone)]
pub(crate) struct Hmac {
    secret: Secret,
    secret_encoding: String,
    key_id: String,
    algorithm: String,
    template: String,
    encoding: String,
    header: String,
    header_template: String,
    timestamp_header: String,
    timestamp: String,
}

impl Hmac {
    /// Reads the values of a choice, and checks the templates.
    pub(crate) fn new(choice: &Choice) -> Result<Self, Refusal> {
        let text = |name: &str| choice.value(name).to_owned();
        let signer = Self {
            secret: choice
                .secret("secret")
                .cloned()
                .ok_or_else(|| Refusal::new("the HMAC has no secret", "give one"))?,
            secret_encoding: text("secret_encoding"),
            key_id: text("key_id"),
            algorithm: text("algorithm"),
            // In YAML and TOML without quotes, `\n` is two characters.
            template: text("template").replace("\\n", "\n"),
            encoding: text("encoding"),
            header: text("header"),
            header_template: text("header_template"),
            timestamp_header: text("timestamp_header"),
            timestamp: text("timestamp"),
        };
        signer.key()?;
        header(&signer.header)?;
        if !signer.timestamp_header.is_empty() {
            header(&signer.timestamp_header)?;
        }
        Ok(signer)
    }

    /// Signs a request as of `now_ms`.
    pub(crate) fn sign(&self, outgoing: &mut Outgoing, now_ms: u64) -> Result<(), Refusal> {
        let body = outgoing.body.clone().unwrap_or_default();
        let timestamp = self.time(now_ms);
        let path_and_query = match outgoing.url.query() {
            Some(query) => format!("{}?{query}", outgoing.url.path()),
            None => outgoing.url.path().to_owned(),
        };
        let hash = digest(&SHA256, &body);
        let parts: Vec<(&str, Vec<u8>)> = vec![
            ("method", outgoing.method.as_str().into()),
            ("host", crate::http::budget_name(&outgoing.url).into()),
            ("path", outgoing.url.path().into()),
            ("query", outgoing.url.query().unwrap_or_default().into()),
            ("path_and_query", path_and_query.into()),
            ("url", outgoing.url.as_str().into()),
            ("timestamp", timestamp.clone().into()),
            ("body", body.to_vec()),
            ("body_sha256", hex(hash.as_ref()).into()),
            ("body_sha256_base64", STANDARD.encode(hash).into()),
            ("key_id", self.key_id.clone().into()),
        ];
        let tag = ring::hmac::sign(&self.key()?, &filled(&self.template, &parts)?);
        let signature = match self.encoding.as_str() {
            "base64" => STANDARD.encode(tag),
            "base64url" => URL_SAFE_NO_PAD.encode(tag),
            _ => hex(tag.as_ref()),
        };
        let parts: Vec<(&str, Vec<u8>)> = vec![
            ("signature", signature.into()),
            ("timestamp", timestamp.clone().into()),
            ("key_id", self.key_id.clone().into()),
        ];
        let value = String::from_utf8_lossy(&filled(&self.header_template, &parts)?).into_owned();
        put_header(outgoing, header(&self.header)?, &value)?;
        if !self.timestamp_header.is_empty() {
            put_header(outgoing, header(&self.timestamp_header)?, &timestamp)?;
        }
        Ok(())
    }

    fn key(&self) -> Result<ring::hmac::Key, Refusal> {
        let wrong =
            || Refusal::new(format!("the secret of the HMAC is not {}", self.secret_encoding), "mend secret_encoding");
        let text = self.secret.expose();
        let bytes = match self.secret_encoding.as_str() {
            "base64" => STANDARD.decode(text).map_err(|_| wrong())?,
            "hex" => unhex(text).ok_or_else(wrong)?,
            _ => text.as_bytes().to_vec(),
        };
        let algorithm = match self.algorithm.as_str() {
            "sha512" => ring::hmac::HMAC_SHA512,
            "sha1" => ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            _ => ring::hmac::HMAC_SHA256,
        };
        Ok(ring::hmac::Key::new(algorithm, &bytes))
    }

    fn time(&self, now_ms: u64) -> String {
        match self.timestamp.as_str() {
            "milliseconds" => now_ms.to_string(),
            "iso8601" => rfc3339(now_ms),
            "http_date" => {
                // The year 9999; the format has no place for more.
                let at = std::time::Duration::from_millis(now_ms.min(253_402_300_799_000));
                httpdate::fmt_http_date(std::time::UNIX_EPOCH + at)
            }
            _ => (now_ms / 1000).to_string(),
        }
    }
}

/// Fills a template in. A name that it does not know is an error: a wrong signature would only be refused.
fn filled(template: &str, parts: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, Refusal> {
    let mut filled = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        filled.extend_from_slice(before.as_bytes());
        match parts.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => filled.extend_from_slice(value),
            None => {
                let known: Vec<&str> = parts.iter().map(|(known, _)| *known).collect();
                return Err(Refusal::new(
                    format!("the template of the HMAC has no {{{name}}}"),
                    format!("write one of: {}", known.join(", ")),
                ));
            }
        }
        rest = behind;
    }
    filled.extend_from_slice(rest.as_bytes());
    Ok(filled)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect())
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, Method};
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::auth::{Kind, Scheme, Secrets};

    fn sign(values: serde_json::Value) -> Result<HeaderMap, String> {
        let schemes = [Scheme { name: "hmac".to_owned(), kind: Kind::Hmac, fixed: Default::default() }];
        let choice = Choice::read(&schemes, &json!({"hmac": values}), &Secrets::default()).unwrap().unwrap();
        let signer = Hmac::new(&choice).map_err(|refusal| refusal.to_string())?;
        let mut outgoing = Outgoing {
            method: Method::POST,
            url: "https://api.example/v1/x?b=2&a=1".parse().unwrap(),
            headers: HeaderMap::new(),
            body: Some(Bytes::from_static(b"{}")),
        };
        signer.sign(&mut outgoing, 1_440_938_160_000).map_err(|refusal| refusal.to_string())?;
        Ok(outgoing.headers)
    }

    #[test]
    fn a_signature_is_that_of_openssl() {
        // printf 'POST\n/v1/x?b=2&a=1\n1440938160\n{}' | openssl dgst -sha256 -hmac 'key'
        let headers = sign(json!({"secret": "key"})).unwrap();
        assert_eq!(headers["x-signature"], "eac7afa7d208529fbafac31ec591ca5271f0a0c1860bd84b4d40a77bc41d0f53");
        assert_eq!(headers["x-timestamp"], "1440938160");
        // printf 'POST api.example /v1/x b=2&a=1 2015-08-30T12:36:00Z id' | openssl dgst -sha512 -hmac 'key' -binary | base64
        let headers = sign(json!({
            "secret": "a2V5", "secret_encoding": "base64", "key_id": "id", "algorithm": "sha512", "encoding": "base64",
            "template": "{method} {host} {path} {query} {timestamp} {key_id}", "timestamp": "iso8601",
            "header": "Authorization", "header_template": "HMAC {key_id}:{signature}", "timestamp_header": "Date"
        }))
        .unwrap();
        assert_eq!(
            headers["authorization"],
            "HMAC id:hi0OKglEOu07YQelvDILMmptPvKHsPdQXDbXvLATYbLbqwZOhxdZ9uHSiMCLE6SsHgYlBDbR/CacKcgQF+3b6A=="
        );
        assert_eq!(headers["date"], "2015-08-30T12:36:00Z");
    }

    #[test]
    fn mistakes_are_found_before_anything_is_sent_where_they_can_be() {
        assert_eq!(
            sign(json!({"secret": "k", "template": "{methd}"})).unwrap_err().split(';').next(),
            Some("the template of the HMAC has no {methd}")
        );
        assert_eq!(
            sign(json!({"secret": "xyz", "secret_encoding": "hex"})).unwrap_err(),
            "the secret of the HMAC is not hex; mend secret_encoding"
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(4_107_542_399_000), "2100-02-28T23:59:59Z");
    }
}
