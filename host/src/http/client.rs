//! The way of a request, step by step: each attempt and each hop of a redirect goes the whole way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::attempt::{Admitted, Attempt};
use super::encoding::ACCEPT_ENCODING;
use super::receive::Answer;
use super::request::{Bases, Template};
use super::retry::{Decision, Outcome, Repeat, Try};
use super::transport::{Failure, FailureKind};
use super::{Budgets, Config, Error, Rejected, Request, Response, breaker, budget_name, credentials, redirect};
use crate::auth::{Key, Session};
use crate::event::Event;

/// The client of one run. Cheap to clone; clones share connections, budgets and the archive. Dropping a future of
/// [`Client::send`] abandons the request and gives its place in the budget back.
#[derive(Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) budgets: Budgets,
    pub(super) breakers: breaker::Breakers,
    jitter: Mutex<fastrand::Rng>,
    bases: Bases,
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
        if let Some(session) = &config.auth {
            budgets.know_keys(session.payers());
        }
        Self { shared: Arc::new(Shared { config, budgets, breakers, jitter, bases: Bases::default() }) }
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
        let Rejected { status, attempts, headers, budget: paid } = *response;
        let reason = config.secrets.redact(reason).into_owned();
        let decision = match retryable && attempts < config.retry.attempts {
            true => {
                let outcome = Outcome::Rejected { headers, reason: &reason };
                config.retry.decide(self.this_try(attempts, Repeat::Always), outcome)
            }
            false => Decision::Final,
        };
        let url = Template::of(request, config.max_body_bytes, &self.shared.bases)?.url;
        let budget = self.shared.budgets.of_url(&url, None);
        let now_ms = config.time.now_ms();
        let (delay, reason) = match decision {
            Decision::Final => return Err(Error::Rejected { status, attempts, reason }),
            Decision::Again { delay, reason } => (delay, reason),
            Decision::Throttled { until_ms, reason } => {
                self.shared.budgets.pause(paid, until_ms)?;
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

    /// Sends a request that was sent so many times before.
    async fn send_after(&self, read: &str, request: &Request, before: u32) -> Result<Response, Error> {
        let config = &self.shared.config;
        let mut template = Template::of(request, config.max_body_bytes, &self.shared.bases)?;
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
            let location = super::header(&answer.headers, "location");
            let accepted = request.accept.contains(&answer.status);
            match location {
                Some(location) if redirect::is_redirect(answer.status) && !accepted => {
                    let next = redirect::follow(&template, answer.status, location, &config.secrets)?;
                    // Whoever is led elsewhere goes there, and back again, without what lets them in.
                    session = session.filter(|_| next.url.origin() == template.url.origin());
                    template = next;
                }
                _ if accepted || (200..300).contains(&answer.status) => {
                    let Answer { status, headers, body, received_bytes, exchange, budget } = answer;
                    let Template { url, method, .. } = template;
                    return Ok(Response {
                        status,
                        headers,
                        body,
                        url,
                        attempts,
                        received_bytes,
                        method,
                        exchange,
                        budget,
                    });
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
        // How many had got through when the server turned this one away, by budget: each key has one.
        let mut served: HashMap<String, u64> = HashMap::new();
        for attempt in before.saturating_add(1).. {
            let allowed = config.policy.allows(&template.url);
            allowed.and_then(|()| config.policy.allows_method(&template.method)).map_err(|denial| {
                Error::Denied(if hop > 0 { format!("after a redirect, {denial}") } else { denial.to_string() })
            })?;
            // Each of several keys has budgets of its own.
            let keys = match session {
                Some(session) => session.keys(&host)?,
                None => vec![Key { index: 0, name: credentials::payer(template, &config.secrets) }],
            };
            let budgets: Vec<_> =
                keys.iter().map(|key| self.shared.budgets.of_url(&template.url, key.name.as_deref())).collect();
            let (index, mut permit) = self.shared.budgets.admit_any(read, &budgets).await?;
            let key = keys.into_iter().nth(index).unwrap_or_default();
            let budget = permit.shown().to_owned();
            if let Err(error) = self.whole_circuit(&host) {
                permit.cost_nothing();
                return Err(error);
            }
            let served_before = served.get(permit.name()).copied().unwrap_or_else(|| permit.progress());
            let admitted = Admitted { permit: &mut permit, host: &host, key, session };
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
                    served.insert(permit.name().to_owned(), served_now);
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

    /// Turns what came last into the end of the story.
    pub(super) fn settle(&self, outcome: Result<Answer, Failure>, attempts: u32) -> Result<(Answer, u32), Error> {
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

    /// A wait longer than the limit ends the read.
    fn bounded(&self, budget: &str, delay: Duration) -> Result<(), Error> {
        let config = &self.shared.config;
        if delay <= config.max_wait {
            return Ok(());
        }
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Err(Error::Wait { budget: budget.to_owned(), until_ms: config.time.now_ms().saturating_add(delay_ms) })
    }

    pub(super) fn this_try(&self, number: u32, repeat: Repeat) -> Try {
        let jitter = self.shared.jitter.lock().unwrap_or_else(PoisonError::into_inner).f64();
        Try { number, repeat, now_ms: self.shared.config.time.now_ms(), jitter }
    }
}
