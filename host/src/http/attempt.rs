//! One attempt: credentials, transport, what the answer says of the budget, the archive, and what follows.

use url::Url;

use super::archive::Exchange;
use super::receive::Answer;
use super::request::Template;
use super::retry::{Decision, Outcome};
use super::transport::{Failure, FailureKind};
use super::{Client, Error, breaker, budget, credentials, http_date, learned, receive};
use crate::auth::{Key, Session, Stamp};
use crate::event::Event;

/// What came of sending a request once.
pub(super) struct Attempt {
    pub(super) outcome: Result<Answer, Failure>,
    pub(super) decision: Decision,
    pub(super) stamp: Option<Stamp>,
}

/// A request whose turn it is.
pub(super) struct Admitted<'a> {
    pub(super) permit: &'a mut budget::Permit,
    /// The name of the host's own budget.
    pub(super) host: &'a str,
    /// The key that it uses.
    pub(super) key: Key,
    /// Who lets it in.
    pub(super) session: Option<&'a Session>,
}

impl Client {
    /// Sends a request once and keeps the exchange.
    pub(super) async fn attempt(
        &self,
        read: &str,
        template: &Template,
        hop: u32,
        attempt: u32,
        try_number: u32,
        Admitted { permit, host, key, session }: Admitted<'_>,
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
        let probe = Probe { breakers: &self.shared.breakers, host, done: false };
        let result = config.transport.send(outgoing, config.max_body_bytes).await;
        let elapsed = config.time.monotonic().saturating_sub(start);

        let mut exchange = Exchange {
            read: read.to_owned(),
            attempt,
            hop,
            started_ms,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            ..Exchange::default()
        };
        if config.archive.is_kept() {
            exchange.method = template.method.to_string();
            exchange.url = template.url.to_string();
            exchange.request_headers.clone_from(&template.headers);
            exchange.request_body.clone_from(&template.body);
        }
        let mut outcome = self.receive(result, &template.url, &mut exchange).await;
        if let Some(personal) = config.personal.as_ref().filter(|personal| personal.redacts_archive()) {
            let decoded = outcome.as_ref().ok().map(|answer| answer.body.clone());
            exchange = receive::redacted(personal, exchange, decoded).await?;
        }
        let number = config.archive.append(exchange).await?;
        if let Ok(answer) = &mut outcome {
            answer.exchange = number;
            permit.name().clone_into(&mut answer.budget);
        }

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
        let decision = config.retry.decide(self.this_try(try_number, template.repeat), seen);
        if outcome.is_ok() && !matches!(decision, Decision::Throttled { .. }) {
            permit.served();
        }
        Ok(Attempt { outcome, decision, stamp })
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
    pub(super) fn whole_circuit(&self, host: &str) -> Result<(), Error> {
        self.shared.breakers.check(host, self.shared.config.time.now_ms()).map_err(|(until_ms, failures)| {
            let until = http_date(until_ms);
            Error::Unreachable(format!(
                "{host} failed {failures} times in a row and is left alone until {until}; run again then (rule breaker)"
            ))
        })
    }
}

/// A request that a breaker let through: should it be abandoned, another may find out how the host is.
struct Probe<'a> {
    breakers: &'a breaker::Breakers,
    host: &'a str,
    done: bool,
}

impl Probe<'_> {
    fn outcome(mut self, failed: bool, now_ms: u64) {
        self.done = true;
        self.breakers.outcome(self.host, failed, now_ms);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.breakers.abandoned(self.host);
        }
    }
}
