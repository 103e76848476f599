//! What a run recorded, by what was asked: the whole world as the adversary knows it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use bytes::Bytes;

use super::TortureError;
use crate::http::archive::{Archive, Bodies, Entry, RecordedExchange};
use crate::http::transport::Outgoing;
use crate::run::recording::SessionNote;
use crate::run::replay::Script;

/// Answers are kept in memory, since each is played hundreds of times.
const MAX_BYTES: u64 = 256 << 20;

/// A request, as far as its answer hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) url: String,
    /// Some APIs page by it.
    range: Option<String>,
    /// BLAKE3 of the body, in hex.
    body: Option<String>,
}

impl Asked {
    pub(super) fn of(outgoing: &Outgoing) -> Self {
        let range = outgoing.headers.get("range").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = outgoing.body.as_ref().filter(|body| !body.is_empty());
        Self {
            method: outgoing.method.to_string(),
            url: outgoing.url.to_string(),
            range,
            body: body.map(|body| blake3::hash(body).to_hex().to_string()),
        }
    }

    fn recorded(exchange: &RecordedExchange) -> Self {
        let request = &exchange.request;
        let range = request.headers.iter().find(|(name, _)| name == "range").map(|(_, value)| value.clone());
        let body = request.body.as_ref().map(|body| body.blake3.clone());
        Self { method: request.method.clone(), url: request.url.clone(), range, body }
    }

    /// The URL without its query.
    pub(super) fn path(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// Whether the host may send it again after the server may have acted on it (RFC 9110, section 9.2.2).
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
    }
}

impl fmt::Display for Asked {
    /// The method and the URL behind its host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.url.splitn(4, '/').nth(3).unwrap_or_default();
        write!(f, "{} /{path}", self.method)
    }
}

/// An answer, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    /// Makes an answer of a type and nothing else in its headers.
    pub(super) fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type".to_owned(), kind.to_owned())], body: body.into() }
    }
}

/// The answers of a run, and how the connector was called.
pub(super) struct Recording {
    pub(super) session: SessionNote,
    /// Each request's answers, in order; a request that is made more often gets the last one again.
    answers: HashMap<Asked, Vec<Answer>>,
    /// Requests that calls for several streams or partitions made, as where the records of one stream are another's partitions.
    shared: HashSet<Asked>,
}

impl Recording {
    /// Reads the archive in a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, TortureError> {
        Self::read_within(folder, MAX_BYTES)
    }

    fn read_within(folder: &Path, max_bytes: u64) -> Result<Self, TortureError> {
        // It knows which archives say enough, and in which words to refuse the others.
        let script = Script::read(folder)?;
        let session = script.sessions.into_iter().next().ok_or_else(|| TortureError::Empty(folder.to_owned()))?.note;
        let mut reader = Archive::read(folder)?;
        let bodies = reader.bodies();
        let mut recording = Self { session, answers: HashMap::new(), shared: HashSet::new() };
        // The newest attempt of each request: those before it were sent again.
        let mut newest: HashMap<(String, Asked), (u32, usize)> = HashMap::new();
        let mut bytes = 0_u64;
        while let Some(entry) = reader.next().transpose()? {
            let Entry::Exchange(exchange) = entry else { continue };
            let asked = Asked::recorded(&exchange);
            let Some(answer) = recording.answer(&exchange, &bodies)? else { continue };
            bytes = bytes.saturating_add(answer.body.len() as u64);
            if bytes > max_bytes {
                return Err(TortureError::TooLarge(max_bytes >> 20));
            }
            let all = recording.answers.entry(asked.clone()).or_default();
            let key = (exchange.read.clone(), asked);
            match newest.get(&key).copied() {
                Some((attempt, at)) if exchange.attempt > attempt => {
                    if let Some(superseded) = all.get_mut(at) {
                        *superseded = answer;
                    }
                    newest.insert(key, (exchange.attempt, at));
                }
                _ => {
                    newest.insert(key, (exchange.attempt, all.len()));
                    all.push(answer);
                }
            }
        }
        let mut once = HashSet::new();
        recording.shared.extend(newest.into_keys().map(|(_, asked)| asked).filter(|asked| !once.insert(asked.clone())));
        if recording.answers.is_empty() {
            return Err(TortureError::Empty(folder.to_owned()));
        }
        Ok(recording)
    }

    fn answer(&self, exchange: &RecordedExchange, bodies: &Bodies) -> Result<Option<Answer>, TortureError> {
        // What failed is no part of the world that is to be told of; whoever asks for it learns that it was not recorded.
        let (None, Some(status)) = (&exchange.error, exchange.status) else { return Ok(None) };
        let body = match &exchange.body {
            Some(body) => bodies.load_decoded(body, self.session.max_body_bytes)?,
            None => Bytes::new(),
        };
        let about_form = |name: &str| matches!(name, "content-encoding" | "content-length" | "transfer-encoding");
        let headers = exchange.headers.iter().filter(|(name, _)| !about_form(name)).cloned().collect();
        Ok(Some(Answer { status, headers, body }))
    }

    /// Whether a request was made for several streams or partitions.
    pub(super) fn is_shared(&self, asked: &Asked) -> bool {
        self.shared.contains(asked)
    }

    /// The answer to a request that was made so many times before.
    pub(super) fn get(&self, asked: &Asked, before: u64) -> Option<&Answer> {
        let all = self.answers.get(asked)?;
        all.get(usize::try_from(before).unwrap_or(usize::MAX)).or_else(|| all.last())
    }

    /// How many answers there are.
    pub(super) fn len(&self) -> u64 {
        self.answers.values().map(|all| all.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::archive::Exchange;

    fn exchange(url: &str, attempt: u32, status: u16, body: &'static str) -> Exchange {
        Exchange {
            read: "items".to_owned(),
            attempt,
            method: "GET".to_owned(),
            url: url.to_owned(),
            status: Some(status),
            headers: vec![("content-length".to_owned(), "9".to_owned()), ("link".to_owned(), "<x>".to_owned())],
            body: Bytes::from_static(body.as_bytes()),
            encoding: "identity".to_owned(),
            ..Exchange::default()
        }
    }

    async fn archive(exchanges: Vec<Exchange>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        let session = json!({"connector": {"name": "c", "version": "1", "digest": "d"}, "config": {}, "allow_hosts": [],
            "attempts": 6, "max_body_bytes": 1_000, "streams": [], "format": "parquet", "limit": null, "started_ms": 5});
        archive.note("", "session", session).await.unwrap();
        archive.note("items", "call", json!({"function": "read", "seed": 1})).await.unwrap();
        for exchange in exchanges {
            archive.append(exchange).await.unwrap();
        }
        archive.flush().await.unwrap();
        folder
    }

    fn get(url: &str) -> Asked {
        Asked { method: "GET".to_owned(), url: url.to_owned(), range: None, body: None }
    }

    #[tokio::test]
    async fn an_answer_is_that_of_the_last_attempt_and_the_last_is_given_again() {
        let job = "http://a/job";
        let folder = archive(vec![
            exchange("http://a/x", 1, 503, "busy"),
            Exchange { status: None, error: Some("cut".to_owned()), ..exchange("http://a/x", 2, 200, "") },
            exchange("http://a/x", 3, 200, "[1]"),
            exchange(job, 1, 200, "waiting"),
            exchange(job, 1, 200, "done"),
        ])
        .await;
        let recording = Recording::read(folder.path()).unwrap();
        assert_eq!((recording.len(), recording.session.started_ms), (3, 5));
        let body = |url: &str, before| recording.get(&get(url), before).map(|answer| answer.body.clone());
        assert_eq!(body("http://a/x", 0), Some(Bytes::from_static(b"[1]")));
        assert_eq!(recording.get(&get("http://a/x"), 0).unwrap().headers, [("link".to_owned(), "<x>".to_owned())]);
        let job: Vec<_> = (0..3).map(|before| body(job, before)).collect();
        assert_eq!(job, [&b"waiting"[..], b"done", b"done"].map(|text| Some(Bytes::from_static(text))));
        assert_eq!(body("http://a/y", 0), None);
    }

    #[tokio::test]
    async fn what_is_too_large_or_empty_is_refused() {
        let folder = archive(vec![exchange("http://a/x", 1, 200, "[1, 2, 3]")]).await;
        assert!(matches!(Recording::read_within(folder.path(), 8), Err(TortureError::TooLarge(0))));
        assert!(Recording::read_within(folder.path(), 9).is_ok());
        let empty = archive(Vec::new()).await;
        assert!(matches!(Recording::read(empty.path()), Err(TortureError::Empty(_))));
    }
}
