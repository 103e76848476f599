//! The adversary: stands where the network would, and answers as recorded, but for what a case's script says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

use super::clock::CaseClock;
use super::recording::{Answer, Asked, Recording};
use crate::http::transport::{Failure, FailureKind, Incoming, Outgoing, Sending, Transport};
use crate::time::Time;

/// Most failures of one request that a storm makes: fewer in a row than the host tries, and far fewer than its breaker
/// takes for a dead host.
const STORM_FAILURES: u64 = 3;

/// What happens to one request, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is answered by something else.
    Answer(Answer),
    /// There is no connection.
    Refused,
    /// The answer breaks off after so many thousandths of its body.
    Cut(u64),
    /// No answer comes until the host gives up.
    Silence,
    /// The answer takes so many milliseconds.
    Slow(u64),
}

/// What the adversary does, apart from answering as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Script {
    /// Nothing.
    Honest,
    /// A request meets these, one each time.
    Faults(Asked, Vec<Fault>),
    /// Every request meets some of these first, by a seed.
    Storm(u64, Vec<Fault>),
    /// From a request on, all meet this.
    Outage(Asked, Fault),
    /// Requests are answered by something else, for so many times each.
    Lies(HashMap<Asked, Answer>, u64),
    /// The process dies when it makes one of these requests for the first time.
    Deaths(Vec<Asked>),
}

/// Why a run is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The script has it die.
    Death,
    /// It asks without end: so many requests.
    Endless(u64),
}

pub(super) struct Adversary {
    recording: Arc<Recording>,
    clock: CaseClock,
    seen: Mutex<Seen>,
    stop: watch::Sender<Option<Stop>>,
}

struct Seen {
    script: Script,
    /// How often each request was made, with those that failed.
    asked: HashMap<Asked, u64>,
    /// How often each was answered as recorded.
    answered: HashMap<Asked, u64>,
    /// Requests in the order in which they were first made.
    order: Vec<Asked>,
    total: u64,
    out: bool,
    unrecorded: Option<String>,
}

impl Adversary {
    pub(super) fn new(recording: Arc<Recording>, clock: CaseClock, script: Script) -> Self {
        let seen = Seen {
            script,
            asked: HashMap::new(),
            answered: HashMap::new(),
            order: Vec::new(),
            total: 0,
            out: false,
            unrecorded: None,
        };
        Self { recording, clock, seen: Mutex::new(seen), stop: watch::Sender::new(None) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, everything is as recorded.
    pub(super) fn heal(&self) {
        let mut seen = self.seen();
        seen.script = Script::Honest;
        seen.total = 0;
    }

    /// Lets another process begin after a death.
    pub(super) fn revive(&self) {
        self.stop.send_replace(None);
    }

    /// Completes when a run is not to be waited for any longer.
    pub(super) async fn stopped(&self) -> Stop {
        let mut stop = self.stop.subscribe();
        loop {
            if let Some(stop) = *stop.borrow_and_update() {
                return stop;
            }
            if stop.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Requests in the order in which they were first made.
    pub(super) fn order(&self) -> Vec<Asked> {
        self.seen().order.clone()
    }

    /// The first request to which no answer was recorded.
    pub(super) fn unrecorded(&self) -> Option<String> {
        self.seen().unrecorded.clone()
    }

    /// What becomes of a request.
    fn decide(&self, asked: &Asked) -> Decision {
        let mut seen = self.seen();
        let seen = &mut *seen;
        seen.total += 1;
        // A connector has no reason to ask for all that there is ten times; one that goes in a circle has.
        if seen.total > self.recording.len().saturating_mul(10) + 200 {
            return Decision::Stop(Stop::Endless(seen.total));
        }
        let before = seen.asked.entry(asked.clone()).or_insert(0);
        let nth = *before;
        *before += 1;
        if nth == 0 {
            seen.order.push(asked.clone());
        }
        let at = usize::try_from(nth).unwrap_or(usize::MAX);
        let fault = match &seen.script {
            Script::Honest => None,
            Script::Faults(target, faults) => faults.get(at).filter(|_| target == asked).cloned(),
            Script::Storm(seed, faults) => storm(*seed, asked, nth, faults),
            Script::Outage(from, fault) => {
                seen.out |= from == asked;
                Some(fault.clone()).filter(|_| seen.out)
            }
            Script::Lies(lies, times) => lies.get(asked).filter(|_| nth < *times).cloned().map(Fault::Answer),
            Script::Deaths(requests) if nth == 0 && requests.contains(asked) => return Decision::Stop(Stop::Death),
            Script::Deaths(_) => None,
        };
        let recorded = |seen: &mut Seen| {
            let answered = seen.answered.entry(asked.clone()).or_insert(0);
            let answer = self.recording.get(asked, *answered).cloned();
            *answered += 1;
            if answer.is_none() {
                seen.unrecorded.get_or_insert_with(|| asked.to_string());
            }
            answer
        };
        match fault {
            Some(Fault::Answer(answer)) => Decision::Answer(answer, 0),
            Some(Fault::Refused) => Decision::Fail(FailureKind::Connect, "there is no connection", None, 1),
            Some(Fault::Silence) => {
                Decision::Fail(FailureKind::Timeout, "the server sent nothing for 30 s", None, 30_000)
            }
            Some(Fault::Cut(thousandths)) => {
                // It was not received, so it comes again.
                let partial = self.recording.get(asked, seen.answered.get(asked).copied().unwrap_or(0)).map(|answer| {
                    let bytes = (answer.body.len() as u64).saturating_mul(thousandths) / 1_000;
                    let bytes = usize::try_from(bytes).unwrap_or(0).min(answer.body.len());
                    Answer { body: answer.body.slice(..bytes), ..answer.clone() }
                });
                Decision::Fail(FailureKind::Broken, "the answer broke off", partial, 20)
            }
            Some(Fault::Slow(ms)) => match recorded(seen) {
                Some(answer) => Decision::Answer(answer, ms),
                None => Decision::Unknown,
            },
            None => match recorded(seen) {
                Some(answer) => Decision::Answer(answer, 20),
                None => Decision::Unknown,
            },
        }
    }
}

enum Decision {
    /// An answer, after so many milliseconds.
    Answer(Answer, u64),
    Fail(FailureKind, &'static str, Option<Answer>, u64),
    Unknown,
    Stop(Stop),
}

/// The fault that a storm has for the `nth` time that a request is made. Hangs on the request alone, so that it is the same
/// in whatever order requests come.
fn storm(seed: u64, asked: &Asked, nth: u64, faults: &[Fault]) -> Option<Fault> {
    let own = xxh3_64(format!("{asked:?}").as_bytes());
    let mut random = fastrand::Rng::with_seed(seed ^ own);
    let failures = random.u64(0..=STORM_FAILURES);
    let repeatable = |fault: &&Fault| asked.is_repeatable() || harmless(fault);
    let fit: Vec<&Fault> = faults.iter().filter(repeatable).collect();
    let chosen: Vec<_> = (0..failures).map(|_| random.choice(fit.iter()).map(|fault| (*fault).clone())).collect();
    chosen.into_iter().nth(usize::try_from(nth).ok()?)?
}

/// Whether the server has certainly not acted on the request.
pub(super) fn harmless(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused | Fault::Slow(_) | Fault::Answer(Answer { status: 429, .. }))
}

impl Transport for Adversary {
    fn send(&self, request: Outgoing, _max_body_bytes: u64) -> Sending<'_> {
        let asked = Asked::of(&request);
        Box::pin(async move {
            let incoming =
                |answer: Answer| Incoming { status: answer.status, headers: answer.headers, body: answer.body };
            match self.decide(&asked) {
                Decision::Answer(answer, ms) => {
                    self.clock.sleep(Duration::from_millis(ms)).await;
                    Ok(incoming(answer))
                }
                Decision::Fail(kind, text, partial, ms) => {
                    self.clock.sleep(Duration::from_millis(ms)).await;
                    Err(Failure {
                        partial: partial.map(|answer| Box::new(incoming(answer))),
                        ..Failure::new(kind, text)
                    })
                }
                Decision::Unknown => {
                    Err(Failure::new(FailureKind::Final, format!("no answer to {asked} was recorded")))
                }
                Decision::Stop(stop) => {
                    self.stop.send_replace(Some(stop));
                    std::future::pending().await
                }
            }
        })
    }
}
