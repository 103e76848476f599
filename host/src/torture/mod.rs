//! A test for connectors by whoever writes them: a recorded run, played again and again against an adversary that fails,
//! lies and kills, each time in another way, by a seed.
//!
//! First the recording is played undisturbed: what it comes to is the truth. Then each case plays a whole run, through the
//! same budgets, retries, commits and verdict as any other, with the adversary in the place of the network. Time stands
//! still but for waits, so that no case waits. Where the script says so the process dies: everything but the disk is
//! dropped, and another run goes on.
//!
//! ```ignore
//! let torture = Torture::prepare(described, out, run, folder, false)?;
//! let score = torture.play(1, 300, &|case| eprintln!("{}: {:?}", case.seed, case.outcome));
//! assert_eq!(score.percent, Some(100));
//! ```
//!
//! Invariant: the same seed of the same recording and connector is the same case, whatever other cases are played.

mod adversary;
mod case;
mod clock;
mod judge;
mod kind;
mod lies;
mod play;
mod recording;
mod truth;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

pub use self::judge::Outcome;
pub use self::kind::{Kind, Rule};

use self::adversary::{Adversary, Script};
use self::case::Cases;
use self::clock::CaseClock;
use self::play::{Ended, Stage};
use self::recording::Recording;
use self::truth::Truth;
use crate::http::archive;
use crate::run::replay::ReplayError;
use crate::run::{Described, RunError, Verdict, run_folder};
use crate::state::StateError;

/// Threads a processor: most of a case's time goes by while the disk syncs a commit.
const THREADS: usize = 4;

/// Why a connector cannot be tried on a recording.
#[derive(Debug, thiserror::Error)]
pub enum TortureError {
    /// The archive cannot be played.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// There is no answer in it.
    #[error("the archive holds no answer: {}", .0.display())]
    Empty(PathBuf),
    /// It holds too much, in MiB.
    #[error("the archive holds more than {0} MiB of answers")]
    TooLarge(u64),
    /// A run does not start.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The connector asks for something else.
    #[error("undisturbed, the connector asks for what was not recorded: {0}")]
    NotRecorded(String),
    /// The recording is of something else than a good run.
    #[error("undisturbed, the recording is incomplete: {0}")]
    Incomplete(String),
    /// The connector crashes or hangs.
    #[error("undisturbed, the connector fails: {0}")]
    Fails(String),
    /// The state of a case cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file of a case cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The host wrote a line that is no JSON.
    #[error("a record that was written cannot be read: {0}")]
    Line(String),
}

/// A connector on a recording.
pub struct Torture {
    described: Described,
    recording: Arc<Recording>,
    truth: Truth,
    run: String,
    folder: PathBuf,
    keep: bool,
}

/// What the recording comes to undisturbed.
#[derive(Debug, Clone, Serialize)]
pub struct Undisturbed {
    /// Its verdict.
    pub verdict: Verdict,
    /// Why it is no better.
    pub reasons: Vec<String>,
    /// Records of all streams.
    pub records: u64,
    /// Different requests.
    pub requests: u64,
    /// Streams.
    pub streams: Vec<String>,
}

/// One case that was played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Its seed.
    pub seed: u64,
    /// Its kind.
    pub kind: Kind,
    /// What was done, in words.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How, in words.
    pub how: String,
}

/// The cases of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindReport {
    /// The kind.
    pub kind: Kind,
    /// What it is, in words.
    pub summary: &'static str,
    /// What must hold.
    pub rule: Rule,
    /// Cases that were played.
    pub cases: u64,
    /// Those in which it held.
    pub passed: u64,
    /// Those in which it did not.
    pub failed: u64,
    /// Those of which nothing can be said.
    pub not_judged: u64,
    /// Why there are none of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<&'static str>,
}

/// What a connector came to.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// The connector's name.
    pub connector: String,
    /// Its version.
    pub version: String,
    /// The recorded run.
    pub run: String,
    /// What the recording comes to undisturbed.
    pub undisturbed: Undisturbed,
    /// Passed cases of those that were judged, in per cent, rounded down; none where none was judged.
    pub percent: Option<u64>,
    /// Each kind.
    pub kinds: Vec<KindReport>,
    /// Each case, by seed.
    pub cases: Vec<CaseReport>,
}

impl Torture {
    /// Reads the archive of a run, and plays it undisturbed. Cases are played in folders below `folder`, and left there if
    /// `keep` says so. Takes the time of a run, and must not be called from within an asynchronous runtime.
    ///
    /// # Errors
    ///
    /// When the recording does not lead to a good end by itself.
    pub fn prepare(
        described: Described,
        out: &Path,
        run: &str,
        folder: &Path,
        keep: bool,
    ) -> Result<Self, TortureError> {
        let recording = Arc::new(Recording::read(&run_folder(out, run).join("archive"))?);
        let clock = CaseClock::starting_at(recording.session.started_ms);
        let adversary = Arc::new(Adversary::new(recording.clone(), clock.clone(), Script::Honest));
        let own = folder.join("undisturbed");
        let stage = stage(&described, &recording, run, &own);
        let ended = stage.play(&adversary, &clock);
        if let Some(asked) = adversary.unrecorded() {
            return Err(TortureError::NotRecorded(asked));
        }
        let report = match ended {
            Ended::Report(report) if report.finding.verdict == Verdict::Incomplete => {
                return Err(TortureError::Incomplete(judge::reasons(&report)));
            }
            Ended::Report(report) => report,
            Ended::Refused(error) => return Err(error.into()),
            Ended::Bad(how) => return Err(TortureError::Fails(how)),
            Ended::Died => return Err(TortureError::Fails("it died".to_owned())),
        };
        let truth = Truth::read(&own, &report, adversary.order(), |asked| recording.get(asked, 0).cloned())?;
        Ok(Self { described, recording, truth, run: run.to_owned(), folder: folder.to_owned(), keep })
    }

    fn stage<'a>(&'a self, out: &'a Path) -> Stage<'a> {
        stage(&self.described, &self.recording, &self.run, out)
    }

    /// What the recording comes to undisturbed.
    pub fn undisturbed(&self) -> Undisturbed {
        let truth = &self.truth;
        Undisturbed {
            verdict: truth.verdict,
            reasons: truth.reasons.clone(),
            records: truth.count(),
            requests: truth.asked.len() as u64,
            streams: truth.records.keys().cloned().collect(),
        }
    }

    /// Plays `count` cases from a seed on, on all processors, and tells each to `tell` as it ends. Must not be called from
    /// within an asynchronous runtime.
    ///
    /// # Errors
    ///
    /// When the folder of a case cannot be used.
    pub fn play(&self, seed: u64, count: u64, tell: &(dyn Fn(&CaseReport) + Sync)) -> Result<Score, TortureError> {
        let cases = Cases::new(&self.truth, &self.recording);
        let next = AtomicU64::new(0);
        let played: Mutex<Vec<CaseReport>> = Mutex::default();
        let work = || -> Result<(), TortureError> {
            let mut known = HashMap::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return Ok(());
                }
                if let Some(report) = self.play_one(&cases, seed.wrapping_add(at), &mut known)? {
                    tell(&report);
                    played.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) * THREADS;
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut result = work();
            for other in others {
                let other = other.join().unwrap_or_else(|_| Err(TortureError::Fails("the host crashed".to_owned())));
                result = result.and(other);
            }
            result
        })?;
        let mut played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
        played.sort_by_key(|case| case.seed);
        Ok(self.score(&cases, played))
    }

    fn play_one(
        &self,
        cases: &Cases<'_>,
        seed: u64,
        known: &mut HashMap<u128, u128>,
    ) -> Result<Option<CaseReport>, TortureError> {
        let Some(case) = cases.of(seed) else { return Ok(None) };
        let out = self.folder.join(format!("case-{seed}"));
        let judged = judge::judge(self, &case, &out, known);
        if !self.keep {
            // What is left over goes with the folder above it.
            let _ = std::fs::remove_dir_all(&out);
        }
        let (outcome, how) = judged?;
        Ok(Some(CaseReport { seed, kind: case.kind, what: case.what, outcome, how }))
    }

    fn score(&self, cases: &Cases<'_>, played: Vec<CaseReport>) -> Score {
        let count = |kind: Option<Kind>, outcome: Option<Outcome>| {
            let of_kind = played.iter().filter(|case| kind.is_none_or(|kind| case.kind == kind));
            of_kind.filter(|case| outcome.is_none_or(|outcome| case.outcome == outcome)).count() as u64
        };
        let kinds = Kind::ALL.into_iter().map(|kind| KindReport {
            kind,
            summary: kind.summary(),
            rule: kind.rule(),
            cases: count(Some(kind), None),
            passed: count(Some(kind), Some(Outcome::Passed)),
            failed: count(Some(kind), Some(Outcome::Failed)),
            not_judged: count(Some(kind), Some(Outcome::NotJudged)),
            left_out: cases.left_out.iter().find(|(left_out, _)| *left_out == kind).map(|(_, reason)| *reason),
        });
        let (passed, failed) = (count(None, Some(Outcome::Passed)), count(None, Some(Outcome::Failed)));
        Score {
            connector: self.described.description.name.clone(),
            version: self.described.description.version.clone(),
            run: self.run.clone(),
            undisturbed: self.undisturbed(),
            percent: (passed * 100).checked_div(passed + failed),
            kinds: kinds.collect(),
            cases: played,
        }
    }
}

fn stage<'a>(described: &'a Described, recording: &'a Recording, run: &'a str, out: &'a Path) -> Stage<'a> {
    Stage { described, session: &recording.session, run, out, part_rows: u64::MAX, in_step: false }
}
