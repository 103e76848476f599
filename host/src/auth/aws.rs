//! Signature Version 4 of Amazon Web Services, in headers
//! (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).

use ring::digest::{SHA256, digest};
use ring::hmac;

use super::place::{header, put_header};
use super::{Refusal, Secret};
use crate::engine::cache::hex;
use crate::http::transport::Outgoing;
use crate::time::rfc3339;

/// Credentials for one service in one region.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
    pub(crate) region: String,
    pub(crate) service: String,
}

impl Aws {
    /// Signs a request as of `now_ms`.
    pub(crate) fn sign(&self, outgoing: &mut Outgoing, now_ms: u64) -> Result<(), Refusal> {
        let time = iso_basic(now_ms);
        let date = time.get(..8).unwrap_or_default().to_owned();
        put_header(outgoing, header("x-amz-date")?, &time)?;
        if let Some(token) = &self.session_token {
            put_header(outgoing, header("x-amz-security-token")?, token.expose())?;
        }
        let body = hex(digest(&SHA256, outgoing.body.as_deref().unwrap_or_default()).as_ref());
        if self.service == "s3" {
            put_header(outgoing, header("x-amz-content-sha256")?, &body)?;
        }
        let mut headers = vec![("host".to_owned(), host(outgoing))];
        for (name, value) in &outgoing.headers {
            // What proxies may touch is not signed; what AWS and content are is.
            if name.as_str().starts_with("x-amz-") || name == "content-type" {
                let value = String::from_utf8_lossy(value.as_bytes());
                headers.push((name.as_str().to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
        headers.sort();
        let signed = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!(
            "{}\n{}\n{}\n{lines}\n{signed}\n{body}",
            outgoing.method,
            self.path(outgoing.url.path()),
            query(outgoing.url.query().unwrap_or_default()),
        );
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(digest(&SHA256, request.as_bytes()).as_ref()));
        let mut key = format!("AWS4{}", self.secret_access_key.expose()).into_bytes();
        for part in [date.as_str(), &self.region, &self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let signature = hex(&mac(&key, text.as_bytes()));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.access_key_id
        );
        put_header(outgoing, ::http::header::AUTHORIZATION, &value)
    }

    /// The canonical path: encoded once more, but for S3, whose keys are taken as they are.
    fn path(&self, path: &str) -> String {
        if self.service == "s3" {
            return path.to_owned();
        }
        crate::auth::percent_encode(path, b"/")
    }
}

/// The canonical query: names and values encoded by RFC 3986, sorted.
fn query(query: &str) -> String {
    let encode = |text: &str| crate::auth::percent_encode(text, b"");
    // `+` is a space for form fields only; here it is what it is.
    let decode = |text: &str| text.replace('+', "%2B");
    let plain = decode(query);
    let mut pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(plain.as_bytes()).map(|(name, value)| (encode(&name), encode(&value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn host(outgoing: &Outgoing) -> String {
    crate::http::budget_name(&outgoing.url)
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

/// `20150830T123600Z`.
pub(super) fn iso_basic(now_ms: u64) -> String {
    rfc3339(now_ms).replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, Method};
    use bytes::Bytes;

    use super::*;

    /// 2015-08-30T12:36:00Z, the time of the vectors that AWS publishes (aws-sig-v4-test-suite).
    const NOW: u64 = 1_440_938_160_000;

    fn signed(service: &str, method: Method, url: &str, content_type: Option<&str>, body: &str) -> String {
        let aws = Aws {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            region: "us-east-1".to_owned(),
            service: service.to_owned(),
        };
        let mut headers = HeaderMap::new();
        if let Some(kind) = content_type {
            headers.insert("content-type", kind.parse().unwrap());
        }
        let body = (!body.is_empty()).then(|| Bytes::from(body.to_owned()));
        let mut outgoing = Outgoing { method, url: url.parse().unwrap(), headers, body };
        aws.sign(&mut outgoing, NOW).unwrap();
        let value = outgoing.headers.get("authorization").unwrap();
        assert!(value.is_sensitive());
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_vectors_that_aws_publishes() {
        let form = Some("application/x-www-form-urlencoded");
        let iam = Some("application/x-www-form-urlencoded; charset=utf-8");
        for (service, method, url, kind, body, signature) in [
            // get-vanilla
            (
                "service",
                Method::GET,
                "https://example.amazonaws.com/",
                None,
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            // get-vanilla-query-order-key-case
            (
                "service",
                Method::GET,
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                None,
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            // post-vanilla
            (
                "service",
                Method::POST,
                "https://example.amazonaws.com/",
                None,
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            // post-x-www-form-urlencoded
            (
                "service",
                Method::POST,
                "https://example.amazonaws.com/",
                form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            // The example of the IAM user guide.
            (
                "iam",
                Method::GET,
                "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
                iam,
                "",
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ] {
            let value = signed(service, method, url, kind, body);
            assert!(value.ends_with(&format!("Signature={signature}")), "{url}: {value}");
        }
    }
}
