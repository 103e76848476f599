//! The archive as the network: recorded answers to the requests that were recorded, and to nothing else.
//!
//! A [`Tape`] belongs to one call of a connector. A request is answered by the oldest exchange not yet played that is the
//! same in method, URL, headers and body (with placeholders where secrets stood), redirect and attempt. Attempts follow
//! each other as they were recorded, without waiting. What was not recorded ends the call with [`NotRecorded`].

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::archive::{Bodies, Lines, RecordedExchange, RecordedRequest};
use super::receive::Answer;
use super::request::Template;
use super::retry::{Decision, Outcome, Try};
use super::transport::Failure;
use super::{Client, Error};

/// Recorded requests that are looked at to find the one that was meant.
const CANDIDATES: usize = 64;

/// The exchanges of one call, by what they answer. Holds places in the manifest, not the exchanges.
#[derive(Debug)]
pub struct Tape {
    label: String,
    lines: Lines,
    bodies: Bodies,
    left: Mutex<Left>,
}

#[derive(Debug, Default)]
struct Left {
    by_request: HashMap<u128, VecDeque<u64>>,
    /// Places of all that were not played, in order.
    places: BTreeSet<u64>,
    played: u64,
}

/// A request that was not recorded, beside the recorded one that comes next.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NotRecorded {
    /// The read: a stream, or `stream/partition`.
    pub read: String,
    /// Requests of the call that were answered before.
    pub played: u64,
    /// What the connector asks for, as method and URL.
    pub asked: String,
    /// What was recorded, as method and URL; none where nothing is left.
    pub recorded: Option<String>,
    /// The parts in which the two differ, in words.
    pub differs: Vec<String>,
}

impl std::error::Error for NotRecorded {}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, played, asked, recorded, differs } = self;
        write!(f, "{read}: request {} was not recorded\n  asked for  {asked}", played + 1)?;
        match recorded {
            Some(recorded) => write!(f, "\n  recorded   {recorded}")?,
            None => f.write_str("\n  recorded   nothing more")?,
        }
        differs.iter().try_for_each(|part| write!(f, "\n  differs    {part}"))
    }
}

impl Tape {
    /// Makes a tape of exchanges, given by their keys ([`key_of`]) and their places in the manifest.
    pub fn new(label: &str, exchanges: impl IntoIterator<Item = (u128, u64)>, lines: Lines, bodies: Bodies) -> Self {
        let mut left = Left::default();
        for (key, place) in exchanges {
            left.by_request.entry(key).or_default().push_back(place);
            left.places.insert(place);
        }
        Self { label: label.to_owned(), lines, bodies, left: Mutex::new(left) }
    }

    fn take(&self, key: u128) -> Option<u64> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let place = left.by_request.get_mut(&key)?.pop_front()?;
        left.places.remove(&place);
        left.played += 1;
        Some(place)
    }

    fn has(&self, key: u128) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.by_request.get(&key).is_some_and(|places| !places.is_empty())
    }

    fn not_recorded(&self, template: &Template) -> NotRecorded {
        let (places, played): (Vec<u64>, u64) = {
            let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            (left.places.iter().take(CANDIDATES).copied().collect(), left.played)
        };
        let recorded = places.into_iter().filter_map(|place| self.lines.exchange(place).ok());
        // The most alike of those that come next; the earliest of several.
        let nearest = recorded.map(|exchange| (self.differences(template, &exchange.request), exchange.request));
        let nearest = nearest.min_by_key(|(differs, _)| differs.iter().map(|(weight, _)| weight).sum::<u32>());
        let (differs, recorded) = nearest.map_or_else(Default::default, |(differs, request)| (differs, Some(request)));
        NotRecorded {
            read: self.label.clone(),
            played,
            asked: format!("{} {}", template.method, template.url),
            recorded: recorded.map(|request| format!("{} {}", request.method, request.url)),
            differs: match differs.is_empty() && played > 0 {
                true => vec!["nothing: it was recorded fewer times, or the recording ends here".to_owned()],
                false => differs.into_iter().map(|(_, text)| text).collect(),
            },
        }
    }

    fn differences(&self, asked: &Template, recorded: &RecordedRequest) -> Vec<(u32, String)> {
        let mut differs = Vec::new();
        if asked.method.as_str() != recorded.method {
            differs.push((8, format!("method: {} instead of {}", asked.method, recorded.method)));
        }
        let (asked_url, recorded_url) = (asked.url.as_str(), recorded.url.as_str());
        let (asked_path, asked_query) = asked_url.split_once('?').unwrap_or((asked_url, ""));
        let (recorded_path, recorded_query) = recorded_url.split_once('?').unwrap_or((recorded_url, ""));
        if asked_path != recorded_path {
            differs.push((8, format!("URL: {asked_path} instead of {recorded_path}")));
        }
        let pairs = |query: &str| -> Vec<(String, String)> {
            let pairs = query.split('&').filter(|pair| !pair.is_empty());
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (n.into(), v.into())).collect()
        };
        let query = named_differences("query", &pairs(asked_query), &pairs(recorded_query));
        if query.is_empty() && asked_query != recorded_query {
            differs.push((1, format!("query: the order, {asked_query} instead of {recorded_query}")));
        }
        differs.extend(query.into_iter().map(|text| (2, text)));
        let headers = named_differences("header", &asked.headers, &recorded.headers);
        if headers.is_empty() && asked.headers != recorded.headers {
            differs.push((1, "header: the order".to_owned()));
        }
        differs.extend(headers.into_iter().map(|text| (2, text)));
        let asked_body = asked.body.as_ref().filter(|body| !body.is_empty());
        let same_body = match (asked_body, &recorded.body) {
            (Some(asked), Some(recorded)) => blake3::hash(asked).to_hex().as_str() == recorded.blake3,
            (None, None) => true,
            _ => false,
        };
        if !same_body {
            let recorded = recorded.body.as_ref().and_then(|body| self.bodies.load(body).ok());
            differs.push((4, format!("body: {} instead of {}", shown(asked_body), shown(recorded.as_ref()))));
        }
        differs
    }
}

/// The start of a body, from a little before `other` parts from it.
fn shown(body: Option<&Bytes>) -> String {
    const CHARS: usize = 200;
    let Some(body) = body else { return "none".to_owned() };
    let text = String::from_utf8_lossy(body);
    let mut start: String = text.chars().take(CHARS).collect();
    if start.len() < text.len() {
        let _ = write!(start, "… ({} bytes)", body.len());
    }
    start
}

fn named_differences(what: &str, asked: &[(String, String)], recorded: &[(String, String)]) -> Vec<String> {
    let values = |pairs: &[(String, String)], name: &str| -> Vec<String> {
        pairs.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
    };
    let names: BTreeSet<&String> = asked.iter().chain(recorded).map(|(name, _)| name).collect();
    let differ = names.into_iter().map(|name| (name, values(asked, name), values(recorded, name)));
    let differ = differ.filter(|(_, asked, recorded)| asked != recorded);
    differ
        .map(|(name, asked, recorded)| match (asked.is_empty(), recorded.is_empty()) {
            (_, true) => format!("{what}: {name} ({}) was not there", asked.join(", ")),
            (true, _) => format!("{what}: {name} ({}) is missing", recorded.join(", ")),
            _ => format!("{what}: {name} is {} instead of {}", asked.join(", "), recorded.join(", ")),
        })
        .collect()
}

/// The key of a recorded exchange: equal for those that answer the same request at the same attempt.
pub fn key_of(exchange: &RecordedExchange) -> u128 {
    let RecordedRequest { method, url, headers, body } = &exchange.request;
    key(exchange.hop, exchange.attempt, method, url, headers, body.as_ref().map(|body| body.blake3.as_str()))
}

fn key_of_template(template: &Template, hop: u32, attempt: u32) -> u128 {
    let body = template.body.as_ref().filter(|body| !body.is_empty());
    let digest = body.map(|body| blake3::hash(body).to_hex());
    let digest = digest.as_ref().map(|digest| digest.as_str());
    key(hop, attempt, template.method.as_str(), template.url.as_str(), &template.headers, digest)
}

fn key(hop: u32, attempt: u32, method: &str, url: &str, headers: &[(String, String)], body: Option<&str>) -> u128 {
    let mut hasher = Xxh3::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(method);
    add(url);
    headers.iter().for_each(|(name, value)| {
        add(name);
        add(value);
    });
    add(body.unwrap_or_default());
    hasher.update(&hop.to_le_bytes());
    hasher.update(&attempt.to_le_bytes());
    hasher.digest128()
}

impl Client {
    /// Answers a request from the tape, through its recorded attempts.
    pub(super) fn play_until_final(
        &self,
        tape: &Tape,
        template: &Template,
        hop: u32,
        before: u32,
    ) -> Result<(Answer, u32), Error> {
        let config = &self.shared.config;
        config.policy.allows(&template.url).map_err(|denial| {
            Error::Denied(if hop > 0 { format!("after a redirect, {denial}") } else { denial.to_string() })
        })?;
        for attempt in before.saturating_add(1).. {
            let place = tape.take(key_of_template(template, hop, attempt));
            let place = place.ok_or_else(|| Error::Replay(tape.not_recorded(template)))?;
            let exchange = tape.lines.exchange(place)?;
            let now_ms = exchange.started_ms.saturating_add(exchange.elapsed_ms);
            let outcome = recorded_outcome(tape, exchange, config.max_body_bytes)?;
            let seen = match &outcome {
                Ok(answer) => Outcome::Answered { status: answer.status, headers: &answer.headers, body: &answer.body },
                Err(failure) => Outcome::Failed(failure),
            };
            let is_401 = matches!(&outcome, Ok(answer) if answer.status == 401);
            let given_up = attempt >= config.retry.attempts;
            // The number of the try only tells when to give up, and that the tape knows.
            let this = Try { number: before, repeat: template.repeat, now_ms, jitter: 0.0 };
            match config.retry.decide(this, seen) {
                // Another attempt after a final answer is that of an answer which the connector rejected, but for a 401: then the
                // token was renewed, or another key taken.
                Decision::Again { .. } | Decision::Throttled { .. }
                    if tape.has(key_of_template(template, hop, attempt + 1)) => {}
                Decision::Final if is_401 && tape.has(key_of_template(template, hop, attempt + 1)) => {}
                // The run was stopped, or would have had to wait too long, before it tried again.
                Decision::Again { .. } | Decision::Throttled { .. } if !given_up => {
                    return Err(Error::Replay(tape.not_recorded(template)));
                }
                _ => return self.settle(outcome, attempt),
            }
        }
        Err(Error::Unreachable("the request was sent too often".to_owned()))
    }
}

fn recorded_outcome(
    tape: &Tape,
    exchange: RecordedExchange,
    max_body_bytes: u64,
) -> Result<Result<Answer, Failure>, Error> {
    if let Some(text) = exchange.error {
        let kind = exchange.failure.unwrap_or(super::transport::FailureKind::Broken);
        return Ok(Err(Failure::new(kind, text)));
    }
    let received_bytes = exchange.body.as_ref().map_or(0, |body| body.size);
    let body = match &exchange.body {
        Some(body) => tape.bodies.load_decoded(body, max_body_bytes)?,
        None => Bytes::new(),
    };
    let (status, headers) = (exchange.status.unwrap_or(0), exchange.headers);
    Ok(Ok(Answer { status, headers, body, received_bytes, exchange: Some(exchange.seq), budget: String::new() }))
}
