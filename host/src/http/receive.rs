//! An answer as it came becomes one that can be shown: decoded, and with every secret redacted.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use super::archive::Exchange;
use super::encoding::{Codings, DecodeError};
use super::transport::{Failure, FailureKind, Incoming};
use super::{Client, Error};
use crate::personal::{self, Personal};

/// Bytes of a body that an error quotes.
const EXCERPT_BYTES: usize = 1024;
/// Bytes that are searched for secrets before the excerpt is cut, so that none is cut in half.
const EXCERPT_SOURCE_BYTES: usize = 16 * 1024;
/// Encoded bodies beyond this size are decoded on a thread for blocking work: it takes a millisecond or more.
const INLINE_DECODE_BYTES: usize = 256 * 1024;

/// A whole answer, with secrets redacted.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) received_bytes: u64,
    pub(super) exchange: Option<u64>,
    /// The budget that paid for it; empty for one that was recorded.
    pub(super) budget: String,
}

impl Client {
    /// Decodes and redacts an answer, and writes down what came of it.
    pub(super) async fn receive(
        &self,
        result: Result<Incoming, Failure>,
        url: &Url,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        let config = &self.shared.config;
        let secrets = &config.secrets;
        let (incoming, failure) = match result {
            Ok(incoming) => (incoming, None),
            Err(mut failure) => match failure.partial.take() {
                Some(partial) => (*partial, Some(failure)),
                None => {
                    failure.text = secrets.redact(&failure.text).into_owned();
                    exchange.error = Some(failure.text.clone());
                    exchange.failure = Some(failure.kind);
                    return Err(failure);
                }
            },
        };
        let received_bytes = incoming.body.len() as u64;
        exchange.status = Some(incoming.status).filter(|status| *status != 0);
        for (name, value) in incoming.headers {
            let value = match secrets.redact(&value) {
                Cow::Owned(redacted) => redacted,
                Cow::Borrowed(_) => value,
            };
            exchange.headers.push((name, value));
        }
        let of_encoding = exchange.headers.iter().filter(|(name, _)| name == "content-encoding");
        let encodings: Vec<&str> = of_encoding.map(|(_, value)| value.as_str()).collect();
        exchange.encoding = if encodings.is_empty() { "identity".to_owned() } else { encodings.join(", ") };
        let decoded = match decode(&exchange.encoding, &incoming.body, config.max_body_bytes).await {
            Ok(decoded) => Ok(decoded),
            Err(error) => Err(undecodable(&error, url.as_str())),
        };
        exchange.body = incoming.body;
        let decoded = decoded.map(|decoded| match secrets.redact_body(&decoded) {
            None => decoded,
            Some(redacted) => {
                // The connector gets what the archive holds, or a replay would not be the same.
                let redacted = Bytes::from(redacted);
                exchange.body = redacted.clone();
                exchange.encoding = "identity".to_owned();
                exchange.redacted = true;
                redacted
            }
        });
        let failure = match (decoded, failure) {
            (Ok(body), None) => {
                let status = exchange.status.unwrap_or(0);
                let headers = match config.archive.is_kept() {
                    true => exchange.headers.clone(),
                    false => std::mem::take(&mut exchange.headers),
                };
                return Ok(Answer { status, headers, body, received_bytes, exchange: None, budget: String::new() });
            }
            (Ok(_), Some(failure)) => failure,
            (Err(undecodable), failure) => {
                if secrets.any() {
                    // Nobody can tell whether it repeats a secret, so it is not kept.
                    exchange.body = Bytes::new();
                    exchange.redacted = true;
                }
                failure.unwrap_or(undecodable)
            }
        };
        let text = secrets.redact(&failure.text).into_owned();
        exchange.error = Some(text.clone());
        exchange.failure = Some(failure.kind);
        Err(Failure { text, ..failure })
    }

    pub(super) fn excerpt(&self, read: &str, body: &Bytes) -> String {
        let personal = self.shared.config.personal.as_ref().and_then(|personal| personal.of(read));
        let body = &match personal.as_ref().map(|treatment| treatment.body(body)) {
            None | Some(Ok(None)) => body.clone(),
            Some(Ok(Some(treated))) => Bytes::from(treated),
            Some(Err(_)) => return personal::withheld(body),
        };
        let start = body.get(..EXCERPT_SOURCE_BYTES.min(body.len())).unwrap_or_default();
        let text = String::from_utf8_lossy(start);
        let text = self.shared.config.secrets.redact(&text);
        let end = (0..=EXCERPT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.get(..end).unwrap_or_default().to_owned()
    }
}

/// Takes personal data out of what the archive keeps of an exchange.
pub(super) async fn redacted(
    personal: &Arc<Personal>,
    mut exchange: Exchange,
    decoded: Option<Bytes>,
) -> Result<Exchange, Error> {
    if decoded.as_ref().is_none_or(|body| body.len() <= INLINE_DECODE_BYTES) {
        personal.redact(&mut exchange, decoded.as_ref());
        return Ok(exchange);
    }
    let personal = Arc::clone(personal);
    let work = move || {
        personal.redact(&mut exchange, decoded.as_ref());
        exchange
    };
    let crashed = |_| Error::Unreachable("the host crashed while it took personal data out of an answer".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(crashed)
}

async fn decode(encoding: &str, body: &Bytes, max_bytes: u64) -> Result<Bytes, DecodeError> {
    let codings = Codings::parse(std::iter::once(encoding))?;
    if codings.is_identity() {
        return Ok(body.clone());
    }
    if body.len() <= INLINE_DECODE_BYTES {
        return codings.decode(body, max_bytes);
    }
    let body = body.clone();
    let decoded = tokio::task::spawn_blocking(move || codings.decode(&body, max_bytes)).await;
    decoded.unwrap_or_else(|error| Err(DecodeError::Corrupt("body", std::io::Error::other(error))))
}

fn undecodable(error: &DecodeError, url: &str) -> Failure {
    let kind = match error {
        DecodeError::TooLarge(limit) => FailureKind::TooLarge(*limit),
        DecodeError::Unknown(_) => FailureKind::Final,
        DecodeError::Corrupt(..) => FailureKind::Broken,
    };
    let url = url.split('?').next().unwrap_or_default();
    Failure::new(kind, format!("{error}, in the answer of {url}"))
}
