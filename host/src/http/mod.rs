//! The way out of the host: everything that happens to a request between a connector and a server, one file a step.
//!
//! [`Client::send`] checks the request's form (`request`), where it goes ([`policy`], [`address`]), waits for its budget
//! ([`budget`]), puts secrets in (`credentials`), sends it ([`transport`]), decodes the answer ([`encoding`]), learns from
//! its headers ([`learned`]), keeps it ([`archive`]), and decides whether to send it again ([`retry`]) or somewhere else
//! (`redirect`). Each attempt and each hop of a redirect goes the whole way.
//!
//! ```ignore
//! let policy = Arc::new(Policy::default().described("api.github.com".parse()?));
//! let network = Network::new(transport::Options::default(), Resolver::new(policy.clone(), Arc::new(SystemNames)))?;
//! let client = Client::new(Config::new(policy, Arc::new(network)));
//! let response = client.send("repos", Request::get("https://api.github.com/orgs/rust-lang/repos")).await?;
//! ```
//!
//! Invariant: no text that leaves this module (errors, events, the archive, headers and bodies of responses) holds a
//! secret's value; where an answer repeats one, its placeholder stands there instead.

pub mod address;
pub mod archive;
pub mod breaker;
pub mod budget;
mod credentials;
pub mod encoding;
pub mod learned;
pub mod policy;
pub mod proxy;
pub mod rate;
mod redirect;
mod request;
pub mod retry;
mod structured;
pub mod tape;
pub mod transport;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use url::Url;

pub use self::archive::Archive;
pub use self::breaker::BreakerRules;
pub use self::budget::shared::Pool;
pub use self::budget::{Budget, Budgets, budget_id};
pub use self::learned::HeaderNames;
pub use self::policy::{Denial, Granted, HostPattern, Policy};
pub use self::rate::{Rate, RateError, Rates};
pub use self::request::{Method, Request};
pub use self::tape::{NotRecorded, Tape};
pub use self::transport::{Network, Transport};

use self::archive::Exchange;
use self::encoding::{ACCEPT_ENCODING, Codings, DecodeError};
use self::request::Template;
use self::retry::{Decision, Outcome, Try};
use self::transport::{Failure, FailureKind, Incoming};
use crate::auth::{Key, Refusal, Secrets, Session, Stamp};
use crate::event::{Event, Observer, Silent};
use crate::personal::{self, Personal};
use crate::time::{SystemClock, Time};

/// Bytes of a body that an error quotes.
const EXCERPT_BYTES: usize = 1024;
/// Bytes that are searched for secrets before the excerpt is cut, so that none is cut in half.
const EXCERPT_SOURCE_BYTES: usize = 16 * 1024;
/// Encoded bodies beyond this size are decoded on a thread for blocking work: it takes a millisecond or more.
const INLINE_DECODE_BYTES: usize = 256 * 1024;

/// Why there is no response. All but the last three are told to the connector as they are.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The policy forbids the request; the text names the rule.
    #[error("request denied: {0}")]
    Denied(String),
    /// No response after every retry.
    #[error("no response: {0}")]
    Unreachable(String),
    /// A final status that the request does not accept.
    #[error("status {status} after {attempts} attempts: {excerpt}")]
    Status {
        /// The status.
        status: u16,
        /// Times the request was sent.
        attempts: u32,
        /// Start of the body, at most 1 KiB, with secrets redacted.
        excerpt: String,
    },
    /// The response is larger than the limit, in bytes.
    #[error("the response is larger than the limit in bytes: {0}")]
    TooLarge(u64),
    /// The request itself is malformed; the text names the rule.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// A response that the connector rejected, for good.
    #[error("status {status} after {attempts} attempts, rejected by the connector: {reason}")]
    Rejected {
        /// The status.
        status: u16,
        /// Times the request was sent.
        attempts: u32,
        /// Why, in the connector's words.
        reason: String,
    },
    /// The budget asks for a wait longer than the limit: the read has to end and go on later.
    #[error("the rate limit of {budget} asks to wait longer than --max-wait allows; come back at {}", http_date(*.until_ms))]
    Wait {
        /// The budget's name.
        budget: String,
        /// When to come back, in milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// There are no credentials for the request: nobody has signed in, or the API gives no token.
    #[error(transparent)]
    Auth(#[from] Refusal),
    /// The archive can't be written, so the run can't go on.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// In a replay: the request is none of those recorded.
    #[error(transparent)]
    Replay(#[from] NotRecorded),
}

/// A received response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Bytes,
    /// Where it came from in the end, with placeholders.
    pub url: Url,
    /// Times the request was sent.
    pub attempts: u32,
    /// Bytes of the body as received.
    pub received_bytes: u64,
}

impl Response {
    /// Returns the first value of a header, looked up case-insensitively.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What the host needs to know of a response that a connector rejects.
#[derive(Debug, Clone, Copy)]
pub struct Rejected<'a> {
    /// The status.
    pub status: u16,
    /// Times the request was sent.
    pub attempts: u32,
    /// The headers.
    pub headers: &'a [(String, String)],
}

/// Everything that a client needs.
#[derive(Clone)]
pub struct Config {
    /// Where requests may go.
    pub policy: Arc<Policy>,
    /// What carries them.
    pub transport: Arc<dyn Transport>,
    /// The values that placeholders stand for.
    pub secrets: Secrets,
    /// How the API is to let requests in.
    pub auth: Option<Arc<Session>>,
    /// What time it is.
    pub time: Arc<dyn Time>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Where exchanges are kept.
    pub archive: Archive,
    /// When requests are sent again.
    pub retry: retry::Rules,
    /// When a host is left alone.
    pub breaker: BreakerRules,
    /// The rates that the user sets.
    pub rates: Rates,
    /// Where an API with names of its own tells what is left.
    pub budget_headers: HeaderNames,
    /// Who else knows of the budgets. Nobody by default.
    pub pool: Pool,
    /// Longest wait for a budget or a retry. 1 hour by default.
    pub max_wait: Duration,
    /// Most requests under way. 16 by default.
    pub max_in_flight: usize,
    /// Most bytes of a body, as received and decoded, and of a request's body. 64 MiB by default.
    pub max_body_bytes: u64,
    /// What requests without a User-Agent of their own say.
    pub user_agent: String,
    /// Seed of the jitter.
    pub seed: u64,
    /// Answers instead of the transport, in a replay.
    pub tape: Option<Arc<Tape>>,
    /// What is done with personal data in excerpts of answers, and in the archive.
    pub personal: Option<Arc<Personal>>,
}

impl Config {
    /// Makes a configuration with defaults: no secrets, the system's clock, no archive.
    pub fn new(policy: Arc<Policy>, transport: Arc<dyn Transport>) -> Self {
        Self {
            policy,
            transport,
            secrets: Secrets::default(),
            auth: None,
            time: Arc::new(SystemClock::new()),
            observer: Arc::new(Silent),
            archive: Archive::disabled(),
            retry: retry::Rules::default(),
            breaker: BreakerRules::default(),
            rates: Rates::default(),
            budget_headers: HeaderNames::default(),
            pool: Pool::default(),
            max_wait: Duration::from_secs(3_600),
            max_in_flight: 16,
            max_body_bytes: 64 * 1024 * 1024,
            user_agent: concat!("ingest-host/", env!("CARGO_PKG_VERSION")).to_owned(),
            seed: fastrand::u64(..),
            tape: None,
            personal: None,
        }
    }
}

/// The client of one run. Cheap to clone; clones share connections, budgets and the archive. Dropping a future of
/// [`Client::send`] abandons the request and gives its place in the budget back.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    budgets: Budgets,
    breakers: breaker::Breakers,
    jitter: Mutex<fastrand::Rng>,
}

/// A whole answer, with secrets redacted.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    received_bytes: u64,
}

/// What came of sending a request once.
struct Attempt {
    outcome: Result<Answer, Failure>,
    decision: Decision,
    stamp: Option<Stamp>,
}

/// A request whose turn it is.
struct Admitted<'a> {
    permit: &'a mut budget::Permit,
    /// The key that it uses.
    key: Key,
    /// Who lets it in.
    session: Option<&'a Session>,
}

impl Client {
    /// Makes a client.
    pub fn new(config: Config) -> Self {
        let budgets = Budgets::within(
            config.pool.clone(),
            Arc::clone(&config.time),
            Arc::clone(&config.observer),
            config.rates.clone(),
            config.max_wait,
            config.max_in_flight,
        );
        let jitter = Mutex::new(fastrand::Rng::with_seed(config.seed));
        let breakers = breaker::Breakers::new(config.breaker);
        Self { shared: Arc::new(Shared { config, budgets, breakers, jitter }) }
    }

    /// Returns the budgets, for a connector that takes and observes them itself.
    pub fn budgets(&self) -> &Budgets {
        &self.shared.budgets
    }

    /// Sends a request for a read (a stream, or `stream/partition`) and receives its response.
    ///
    /// # Errors
    /// [`Error`], after every retry.
    pub async fn send(
        &self,
        read: &str,
        request: impl std::borrow::Borrow<Request> + Send + Sync,
    ) -> Result<Response, Error> {
        self.send_after(read, request.borrow(), 0).await
    }

    /// Takes a connector's word that a response is an error in truth: sends its request again where that may help, and
    /// returns what comes then.
    ///
    /// # Errors
    /// [`Error::Rejected`] where it is not `retryable` or was tried often enough; else as [`Client::send`].
    pub async fn reject(
        &self,
        read: &str,
        request: &Request,
        response: &Rejected<'_>,
        reason: &str,
        retryable: bool,
    ) -> Result<Response, Error> {
        let config = &self.shared.config;
        let Rejected { status, attempts, headers } = *response;
        let reason = config.secrets.redact(reason).into_owned();
        let decision = match retryable && attempts < config.retry.attempts {
            true => {
                let outcome = Outcome::Rejected { headers, reason: &reason };
                config.retry.decide(self.this_try(attempts, true), outcome)
            }
            false => Decision::Final,
        };
        let url = Template::of(request, config.max_body_bytes)?.url;
        let budget = self.shared.budgets.of_url(&url, None);
        let now_ms = config.time.now_ms();
        let (delay, reason) = match decision {
            Decision::Final => return Err(Error::Rejected { status, attempts, reason }),
            Decision::Again { delay, reason } => (delay, reason),
            Decision::Throttled { until_ms, reason } => {
                self.shared.budgets.pause(&budget, until_ms)?;
                (Duration::from_millis(until_ms.saturating_sub(now_ms)), reason)
            }
        };
        self.bounded(&budget, delay)?;
        config.observer.observe(Event::Retrying { read: read.to_owned(), reason, delay });
        if config.tape.is_none() {
            config.time.sleep(delay).await;
        }
        self.send_after(read, request, attempts).await
    }

    /// A wait longer than the limit ends the read.
    fn bounded(&self, budget: &str, delay: Duration) -> Result<(), Error> {
        let config = &self.shared.config;
        if delay <= config.max_wait {
            return Ok(());
        }
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Err(Error::Wait { budget: budget.to_owned(), until_ms: config.time.now_ms().saturating_add(delay_ms) })
    }

    fn this_try(&self, number: u32, repeatable: bool) -> Try {
        let jitter = self.shared.jitter.lock().unwrap_or_else(PoisonError::into_inner).f64();
        Try { number, repeatable, now_ms: self.shared.config.time.now_ms(), jitter }
    }

    /// Sends a request that was sent so many times before.
    async fn send_after(&self, read: &str, request: &Request, before: u32) -> Result<Response, Error> {
        let config = &self.shared.config;
        let mut template = Template::of(request, config.max_body_bytes)?;
        for (name, value) in
            [("accept", "*/*"), ("accept-encoding", ACCEPT_ENCODING), ("user-agent", config.user_agent.as_str())]
        {
            if template.header(name).is_none() {
                template.headers.push((name.to_owned(), value.to_owned()));
            }
        }
        template.check_placeholders(&config.secrets)?;
        let mut session = config.auth.as_deref().filter(|session| session.covers(&template.url));
        for hop in 0..=redirect::MAX_REDIRECTS {
            let (answer, attempts) = match &config.tape {
                Some(tape) => self.play_until_final(tape, &template, hop, before)?,
                None => self.send_until_final(read, &template, hop, before, session).await?,
            };
            let location = answer.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.as_str());
            let accepted = request.accept.contains(&answer.status);
            match location {
                Some(location) if redirect::is_redirect(answer.status) && !accepted => {
                    let next = redirect::follow(&template, answer.status, location, &config.secrets)?;
                    // Whoever is led elsewhere goes there, and back again, without what lets them in.
                    session = session.filter(|_| next.url.origin() == template.url.origin());
                    template = next;
                }
                _ if accepted || (200..300).contains(&answer.status) => {
                    let Answer { status, headers, body, received_bytes } = answer;
                    return Ok(Response { status, headers, body, url: template.url, attempts, received_bytes });
                }
                _ => {
                    let excerpt = self.excerpt(read, &answer.body);
                    return Err(Error::Status { status: answer.status, attempts, excerpt });
                }
            }
        }
        let text =
            format!("more than {} redirects in a row, the last one to {}", redirect::MAX_REDIRECTS, template.url);
        Err(Error::Unreachable(text))
    }

    /// Sends one request, again and again while that may help.
    async fn send_until_final(
        &self,
        read: &str,
        template: &Template,
        hop: u32,
        before: u32,
        session: Option<&Session>,
    ) -> Result<(Answer, u32), Error> {
        let config = &self.shared.config;
        let host = budget_name(&template.url);
        let mut renewed = false;
        let mut failures = before;
        let mut served = None;
        for attempt in before.saturating_add(1).. {
            let allowed = config.policy.allows(&template.url);
            allowed.and_then(|()| config.policy.allows_method(&template.method)).map_err(|denial| {
                Error::Denied(if hop > 0 { format!("after a redirect, {denial}") } else { denial.to_string() })
            })?;
            // Each of several keys has budgets of its own.
            let keys = session.map_or_else(|| Ok(vec![Key::default()]), |session| session.keys(&host))?;
            let budgets: Vec<_> =
                keys.iter().map(|key| self.shared.budgets.of_url(&template.url, key.name.as_deref())).collect();
            let (index, mut permit) = self.shared.budgets.admit_any(read, &budgets).await?;
            let key = keys.into_iter().nth(index).unwrap_or_default();
            let budget = permit.name().to_owned();
            if let Err(error) = self.whole_circuit(&host) {
                permit.cost_nothing();
                return Err(error);
            }
            let served_before = served.unwrap_or_else(|| permit.progress());
            let admitted = Admitted { permit: &mut permit, key, session };
            let Attempt { outcome, decision, stamp } =
                self.attempt(read, template, hop, attempt, failures + 1, admitted).await?;
            if let (Some(session), Some(stamp), Ok(Answer { status: 401, .. })) = (session, stamp, &outcome)
                && session.refused(&host, stamp, &mut renewed).await
            {
                continue;
            }
            let now_ms = config.time.now_ms();
            let (delay, reason, whole_budget) = match decision {
                Decision::Final => return self.settle(outcome, attempt),
                Decision::Again { delay, reason } => {
                    failures += 1;
                    (delay, reason, false)
                }
                Decision::Throttled { until_ms, reason } => {
                    permit.pause(until_ms);
                    // While others get through, this one has not failed; it waits for its turn.
                    let served_now = permit.progress();
                    if served_now == served_before {
                        failures += 1;
                    }
                    served = Some(served_now);
                    (Duration::from_millis(until_ms.saturating_sub(now_ms)), reason, true)
                }
            };
            drop(permit);
            if failures >= config.retry.attempts {
                return self.settle(outcome, attempt);
            }
            self.bounded(&budget, delay)?;
            let reason = config.secrets.redact(&reason).into_owned();
            config.observer.observe(Event::Retrying { read: read.to_owned(), reason, delay });
            if !whole_budget {
                // A pause of the whole budget is waited for in line, by the next admission.
                config.time.sleep(delay).await;
            }
        }
        Err(Error::Unreachable("the request was sent too often".to_owned()))
    }

    /// Takes what an answer says of the server's budgets, which may be another one than was thought.
    fn learn(&self, url: &Url, key: Option<&str>, headers: &[(String, String)], permit: &mut budget::Permit) {
        let config = &self.shared.config;
        let now_ms = config.time.now_ms();
        let windows = learned::windows(headers, &config.budget_headers, now_ms);
        if let Some(resource) = learned::bucket(headers, &config.budget_headers) {
            self.shared.budgets.routed(url, &resource);
            let name = self.shared.budgets.of_url(url, key);
            if name != permit.name() {
                self.shared.budgets.learn(&name, &windows, permit.sent_ms());
                return permit.cost_nothing();
            }
        }
        permit.answered(&windows, now_ms);
    }

    /// Refuses a request to a host that only fails.
    fn whole_circuit(&self, host: &str) -> Result<(), Error> {
        self.shared.breakers.check(host, self.shared.config.time.now_ms()).map_err(|(until_ms, failures)| {
            let until = http_date(until_ms);
            Error::Unreachable(format!(
                "{host} failed {failures} times in a row and is left alone until {until}; run again then (rule breaker)"
            ))
        })
    }

    /// Sends a request once and keeps the exchange.
    async fn attempt(
        &self,
        read: &str,
        template: &Template,
        hop: u32,
        attempt: u32,
        try_number: u32,
        Admitted { permit, key, session }: Admitted<'_>,
    ) -> Result<Attempt, Error> {
        let config = &self.shared.config;
        let mut outgoing = credentials::fill(template, &config.secrets)?;
        let stamp = match session {
            Some(session) => Some(session.put(&mut outgoing, key.index).await?),
            None => None,
        };
        let started_ms = config.time.now_ms();
        let start = config.time.monotonic();
        config.observer.observe(Event::Requesting { read: read.to_owned() });
        let probe = Probe { breakers: &self.shared.breakers, host: budget_name(&template.url), done: false };
        let result = config.transport.send(outgoing, config.max_body_bytes).await;
        let elapsed = config.time.monotonic().saturating_sub(start);

        let mut exchange = Exchange {
            read: read.to_owned(),
            attempt,
            hop,
            method: template.method.to_string(),
            url: template.url.to_string(),
            request_headers: template.headers.clone(),
            request_body: template.body.clone(),
            started_ms,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            ..Exchange::default()
        };
        let outcome = self.receive(result, &mut exchange).await;
        if let Some(personal) = config.personal.as_ref().filter(|personal| personal.redacts_archive()) {
            let decoded = outcome.as_ref().ok().map(|answer| answer.body.clone());
            exchange = redacted(personal, exchange, decoded).await?;
        }
        config.archive.append(exchange).await?;

        let now_ms = config.time.now_ms();
        let seen = match &outcome {
            Ok(answer) => {
                config.observer.observe(Event::Answered { read: read.to_owned(), bytes: answer.received_bytes });
                self.learn(&template.url, key.name.as_deref(), &answer.headers, permit);
                Outcome::Answered { status: answer.status, headers: &answer.headers, body: &answer.body }
            }
            Err(failure) => Outcome::Failed(failure),
        };
        let failed = match &outcome {
            Ok(answer) => matches!(answer.status, 500 | 502 | 504),
            Err(failure) => {
                matches!(failure.kind, FailureKind::Connect | FailureKind::Timeout | FailureKind::Broken)
            }
        };
        probe.outcome(failed, now_ms);
        let decision = config.retry.decide(self.this_try(try_number, template.repeatable), seen);
        if outcome.is_ok() && !matches!(decision, Decision::Throttled { .. }) {
            permit.served();
        }
        Ok(Attempt { outcome, decision, stamp })
    }

    /// Decodes and redacts an answer, and writes down what came of it.
    async fn receive(&self, result: Result<Incoming, Failure>, exchange: &mut Exchange) -> Result<Answer, Failure> {
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
            let value = secrets.redact(&value).into_owned();
            exchange.headers.push((name, value));
        }
        let of_encoding = exchange.headers.iter().filter(|(name, _)| name == "content-encoding");
        let encodings: Vec<&str> = of_encoding.map(|(_, value)| value.as_str()).collect();
        exchange.encoding = if encodings.is_empty() { "identity".to_owned() } else { encodings.join(", ") };
        let decoded = match decode(&exchange.encoding, &incoming.body, config.max_body_bytes).await {
            Ok(decoded) => Ok(decoded),
            Err(error) => Err(undecodable(&error, &exchange.url)),
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
                let Exchange { status, headers, .. } = &*exchange;
                return Ok(Answer { status: status.unwrap_or(0), headers: headers.clone(), body, received_bytes });
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

    /// Turns what came last into the end of the story.
    fn settle(&self, outcome: Result<Answer, Failure>, attempts: u32) -> Result<(Answer, u32), Error> {
        let failure = match outcome {
            Ok(answer) => return Ok((answer, attempts)),
            Err(failure) => failure,
        };
        Err(match failure.kind {
            FailureKind::Denied => Error::Denied(failure.text),
            FailureKind::TooLarge(limit) => Error::TooLarge(limit),
            FailureKind::Invalid => Error::Invalid(failure.text),
            _ if attempts > 1 => Error::Unreachable(format!("{}; tried {attempts} times", failure.text)),
            _ => Error::Unreachable(failure.text),
        })
    }

    fn excerpt(&self, read: &str, body: &Bytes) -> String {
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

/// A request that a breaker let through: should it be abandoned, another may find out how the host is.
struct Probe<'a> {
    breakers: &'a breaker::Breakers,
    host: String,
    done: bool,
}

impl Probe<'_> {
    fn outcome(mut self, failed: bool, now_ms: u64) {
        self.done = true;
        self.breakers.outcome(&self.host, failed, now_ms);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.breakers.abandoned(&self.host);
        }
    }
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

/// Takes personal data out of what the archive keeps of an exchange.
async fn redacted(personal: &Arc<Personal>, mut exchange: Exchange, decoded: Option<Bytes>) -> Result<Exchange, Error> {
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

fn undecodable(error: &DecodeError, url: &str) -> Failure {
    let kind = match error {
        DecodeError::TooLarge(limit) => FailureKind::TooLarge(*limit),
        DecodeError::Unknown(_) => FailureKind::Final,
        DecodeError::Corrupt(..) => FailureKind::Broken,
    };
    let url = url.split('?').next().unwrap_or_default();
    Failure::new(kind, format!("{error}, in the answer of {url}"))
}

/// The default budget of a URL: its host, with the port where it is not the scheme's own.
pub fn budget_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Writes a time as HTTP does: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(at_ms: u64) -> String {
    // The year 9999; the format has no place for more.
    let at_ms = at_ms.min(253_402_300_799_000);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_millis(at_ms))
}

#[cfg(test)]
mod hour_tests;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;
