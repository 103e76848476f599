//! Plays one case, and judges what became of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::adversary::{Adversary, Script};
use super::case::Case;
use super::clock::CaseClock;
use super::kind::Rule;
use super::play::{CONNECTION, Ended, Stage, pass_time, refusal};
use super::truth::{Records, Truth, found};
use super::{Torture, TortureError};
use crate::run::{Report, Verdict, state_path};
use crate::state::{Sqlite, StateStore};

/// Runs that get the chance to make good what the one before could not.
const RECOVERIES: usize = 2;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What must hold holds.
    Passed,
    /// It does not.
    Failed,
    /// The connector asked for something that was not recorded, or did not look at what the case is about.
    NotJudged,
}

/// What came of a case, and how.
pub(super) type Judgement = (Outcome, String);

fn passed(how: impl Into<String>) -> Judgement {
    (Outcome::Passed, how.into())
}

fn failed(how: impl Into<String>) -> Judgement {
    (Outcome::Failed, how.into())
}

fn not_judged(how: impl Into<String>) -> Judgement {
    (Outcome::NotJudged, how.into())
}

/// A case under way.
struct Trial<'a> {
    truth: &'a Truth,
    case: &'a Case,
    stage: Stage<'a>,
    adversary: Arc<Adversary>,
    clock: CaseClock,
    known: &'a mut HashMap<u128, u128>,
}

/// Plays a case in a folder. `known` keeps what lines say, for the next case.
pub(super) fn judge(
    torture: &Torture,
    case: &Case,
    out: &Path,
    known: &mut HashMap<u128, u128>,
) -> Result<Judgement, TortureError> {
    let clock = CaseClock::starting_at(torture.recording.session.started_ms);
    let adversary = Arc::new(Adversary::new(torture.recording.clone(), clock.clone(), case.script.clone()));
    let in_step = matches!(case.script, Script::Deaths(_));
    let stage = Stage { part_rows: case.part_rows, in_step, ..torture.stage(out) };
    Trial { truth: &torture.truth, case, stage, adversary, clock, known }.judge()
}

impl Trial<'_> {
    fn judge(mut self) -> Result<Judgement, TortureError> {
        let mut deaths = 0_usize;
        let ended = loop {
            match self.stage.play(&self.adversary, &self.clock) {
                Ended::Died => {
                    deaths += 1;
                    self.adversary.revive();
                }
                ended => break ended,
            }
        };
        let rule = self.case.kind.rule();
        let report = match ended {
            Ended::Bad(how) => return Ok(failed(how)),
            Ended::Refused(error) => None.ok_or_else(|| refusal(&error)),
            Ended::Report(report) if report.finding.verdict == Verdict::Incomplete => Err(reasons(&report)),
            Ended::Report(report) => Ok(report),
            Ended::Died => return Ok(failed("it died too often")),
        };
        let unrecorded = self.adversary.unrecorded().map(|asked| format!("{asked} was not recorded"));
        let verdict = report.as_ref().map_or(Verdict::Incomplete, |report| report.finding.verdict);
        if let (Err(reason), Rule::Survive) = (&report, rule) {
            return Ok(unrecorded.map_or_else(|| failed(format!("it is incomplete: {reason}")), not_judged));
        }
        if let Err(reason) = report {
            return match unrecorded {
                Some(unrecorded) => Ok(not_judged(unrecorded)),
                None => self.recover(reason),
            };
        }
        let difference = self.difference(&self.case.records)?;
        Ok(match (rule, difference, unrecorded) {
            (Rule::Survive, None, _) if verdict <= self.truth.verdict => match deaths {
                0 => passed("every record is there once"),
                _ => passed(format!("every record is there once, after {}", times(deaths))),
            },
            (_, _, Some(unrecorded)) if verdict != Verdict::Complete => not_judged(unrecorded),
            (Rule::Survive, None, _) => failed(format!("it is {verdict} and not {}", self.truth.verdict)),
            (Rule::Survive, Some(difference), _) => failed(format!("it says {verdict}, and {difference}")),
            (_, _, _) if verdict == Verdict::Unproven => passed("it says unproven"),
            (Rule::TellAndRecover, _, _) if !self.has_seen_total()? => {
                not_judged("the connector does not tell the host this total")
            }
            (Rule::TellAndRecover, None, _) => failed("it says complete, and nothing of what the API did"),
            (_, None, _) => passed("every record is there once, as the API gave it"),
            (_, Some(difference), _) => failed(format!("it says complete, and {difference}")),
        })
    }

    /// The API is as recorded again: the next run makes everything good.
    fn recover(&mut self, told: String) -> Result<Judgement, TortureError> {
        self.adversary.heal();
        let mut last = told.clone();
        for _ in 0..RECOVERIES {
            pass_time(&self.clock);
            let report = match self.stage.play(&self.adversary, &self.clock) {
                Ended::Report(report) => report,
                Ended::Refused(error) => {
                    last = refusal(&error);
                    continue;
                }
                Ended::Bad(how) => return Ok(failed(format!("it told of it ({told}), but then: {how}"))),
                Ended::Died => return Ok(failed("it died without a reason")),
            };
            if self.adversary.unrecorded().is_some() {
                // As of an incremental read that follows upon one that is not in the recording.
                return Ok(passed(format!("it told of it: {told}")));
            }
            let verdict = report.finding.verdict;
            if verdict > self.truth.verdict {
                last = reasons(&report);
                continue;
            }
            let must_match = verdict == Verdict::Complete || self.case.kind.rule() == Rule::TellAndRecover;
            return Ok(match self.difference(&self.truth.records)?.filter(|_| must_match) {
                Some(difference) => {
                    failed(format!("it told of it ({told}), but the next run says {verdict}, and {difference}"))
                }
                None => passed(format!("it told of it, and the next run made it good: {told}")),
            });
        }
        Ok(failed(format!("it told of it ({told}), but {RECOVERIES} more runs do not make it good: {last}")))
    }

    /// How the records that are there differ from those that should be.
    fn difference(&mut self, wanted: &Records) -> Result<Option<String>, TortureError> {
        let found = found(self.stage.out, self.known)?;
        let (mut missing, mut twice, mut strange) = (0, 0, 0);
        let none = HashMap::new();
        for stream in wanted.keys().chain(found.keys().filter(|stream| !wanted.contains_key(*stream))) {
            let (wanted, found) = (wanted.get(stream).unwrap_or(&none), found.get(stream).unwrap_or(&none));
            for (record, count) in wanted {
                missing += (count - found.get(record).unwrap_or(&0)).max(0);
            }
            for (record, count) in found {
                match wanted.get(record) {
                    Some(wanted) => twice += (count - wanted).max(0),
                    None => strange += count,
                }
            }
        }
        let mut parts = Vec::new();
        for (count, what) in
            [(missing, "missing"), (twice, "there more than once"), (strange, "not as the API gave them")]
        {
            if count > 0 {
                let are = if count == 1 { "record is" } else { "records are" };
                parts.push(format!("{count} {are} {what}"));
            }
        }
        Ok((!parts.is_empty()).then(|| parts.join(", ")))
    }

    /// Whether the connector told the host the total that the case is about.
    fn has_seen_total(&self) -> Result<bool, TortureError> {
        let Some(total) = self.case.total else { return Ok(true) };
        let mut state = Sqlite::open(&state_path(self.stage.out))?;
        for stream in state.streams(CONNECTION)? {
            let Some(batch) = state.newest_batch(&stream)? else { continue };
            for read in state.reads(batch.id)? {
                if state.pages(read.id)?.iter().any(|page| page.total == Some(total)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn times(deaths: usize) -> String {
    if deaths == 1 { "one death".to_owned() } else { format!("{deaths} deaths") }
}

/// Why a run is no better than it is: the first reason, which is the one that led to the others.
pub(super) fn reasons(report: &Report) -> String {
    report.finding.reasons.first().cloned().unwrap_or_else(|| "it gives no reason".to_owned())
}
