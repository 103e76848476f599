//! `host torture`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use host::event::Silent;
use host::run::{Described, run_folder};
use host::time::SystemClock;
use host::torture::{CaseReport, KindReport, Outcome, Score, Torture};

use super::args::{CacheArgs, LimitArgs, OUT};
use super::print::{self, Out};
use super::scratch::Scratch;
use super::{CliError, Exit, block_on, connectors, runs, units};

/// What `host torture --help` says of it.
pub(crate) const ABOUT: &str = "\
Tries a connector against an API that fails, lies and dies, on the recorded responses of a run.

The recording is played undisturbed first: what it comes to is the truth. Each case then plays a whole run with one \
disturbance, which a seed chooses: failures that a run has to survive (429, 503, cuts, silence, death of the process), and lies \
that must never end as complete with records missing, doubled or changed (pages that come again or in a circle, lists that are \
cut, errors with status 200, fields of another type). Nothing is asked of the API, and no case waits.";

/// Cases between two words of how far it is.
const TELL_EVERY: u64 = 100;

/// Failures of a kind that are shown whole.
const WHOLE: usize = 1;

/// Arguments of `host torture`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all cases passed, 1 a case failed or none could be judged, 2 could not start.")]
pub(crate) struct TortureArgs {
    /// Path of a component, or the name of a connector that comes along (github, rest).
    connector: String,
    /// The recorded run, or the start of its id [default: the newest of this connector that has an archive].
    #[arg(long, value_name = "RUN")]
    from: Option<String>,
    /// Output folder of the recorded run.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// Seed of the first case; the others have those that follow.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Cases to play.
    #[arg(long, value_name = "N", default_value_t = 300)]
    cases: u64,
    /// Folder to play the cases in, each in an output folder of its own, and to leave them there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Show every case whole: what was done, and what came of it.
    #[arg(long, short)]
    verbose: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Tries a connector.
pub(crate) fn torture(args: &TortureArgs, out: &mut Out) -> Result<Exit, CliError> {
    if args.cases == 0 {
        return Err(CliError::usage("no cases are to be played").next("give --cases a number above 0"));
    }
    let path = connectors::find(&args.connector)?.path;
    let engine = args.cache.engine(&args.limits)?;
    let load = Described::load(engine, &path, Arc::new(Silent), Arc::new(SystemClock::new()));
    let described = block_on(load)??;
    let run = recorded(args, &described.description().name)?;
    let is_used = |folder: &PathBuf| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if let Some(folder) = args.keep.as_ref().filter(|folder| is_used(folder)) {
        return Err(CliError::usage(format!("{} is not empty", folder.display())).next("give --keep a new folder"));
    }
    let scratch = Scratch::beside(&std::env::temp_dir())?;
    let folder = args.keep.as_deref().unwrap_or(scratch.path());
    let about = |error: host::torture::TortureError| CliError::from(error).about(&args.connector);
    let torture = Torture::prepare(described, &args.out, &run, folder, args.keep.is_some()).map_err(about)?;
    let ended = AtomicU64::new(0);
    let shows = print::is_watched() && !args.json;
    let tell = |_: &CaseReport| {
        let ended = ended.fetch_add(1, Ordering::Relaxed) + 1;
        if shows && ended.is_multiple_of(TELL_EVERY) && ended < args.cases {
            print::stderr(&format!("{} of {} cases", units::count(ended), units::count(args.cases)));
        }
    };
    let score = torture.play(args.seed, args.cases, &tell).map_err(about)?;
    match args.json {
        true => out.line(serde_json::to_string_pretty(&score).unwrap_or_default())?,
        false => show(args, &score, out)?,
    }
    Ok(if score.percent == Some(100) { Exit::Complete } else { Exit::Incomplete })
}

/// Finds the recorded run.
fn recorded(args: &TortureArgs, name: &str) -> Result<String, CliError> {
    if args.from.is_some() {
        return Ok(runs::find(&args.out, args.from.as_deref())?.id);
    }
    let has_archive = |id: &str| run_folder(&args.out, id).join("archive").join("manifest.jsonl").exists();
    let of_connector = |connector: &str| connector.rsplit_once(' ').is_some_and(|(own, _)| own == name);
    let mut all = runs::load(&args.out)?.into_iter();
    let newest = all.find(|run| of_connector(&run.connector) && has_archive(&run.id));
    newest.map(|run| run.id).ok_or_else(|| {
        CliError::usage(format!("there is no recorded run of {name} in {}", args.out.display())).next(format!(
            "record one with `host run {} … --out {}`",
            args.connector,
            args.out.display()
        ))
    })
}

fn show(args: &TortureArgs, score: &Score, out: &mut Out) -> Result<(), CliError> {
    let true_run = &score.undisturbed;
    let because = match true_run.reasons.first() {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    out.line(format!(
        "undisturbed: {} of {} in {}, {}{because}",
        units::counted(true_run.records, "record"),
        true_run.streams.join(", "),
        units::counted(true_run.requests, "request"),
        true_run.verdict
    ))?;
    out.line(format!("of run {}", score.run))?;
    out.line("")?;
    let row = |kind: &KindReport| {
        let numbers = [kind.cases, kind.passed, kind.failed, kind.not_judged].map(units::count);
        [kind.kind.name().to_owned(), kind.summary.to_owned()].into_iter().chain(numbers).collect()
    };
    let rows: Vec<Vec<String>> = score.kinds.iter().filter(|kind| kind.cases > 0).map(row).collect();
    out.table(&["kind", "what is done", "cases", "passed", "failed", "not judged"], &rows)?;
    let left_out: Vec<(&str, &str)> =
        score.kinds.iter().filter_map(|kind| Some((kind.kind.name(), kind.left_out?))).collect();
    if !left_out.is_empty() {
        out.line("")?;
        left_out.iter().try_for_each(|(kind, reason)| out.line(format!("left out: {kind}, since {reason}")))?;
    }
    let every = args.verbose || args.cases == 1;
    for (title, outcome) in
        [("passed", Outcome::Passed), ("not judged", Outcome::NotJudged), ("failed", Outcome::Failed)]
    {
        let of: Vec<&CaseReport> = score.cases.iter().filter(|case| case.outcome == outcome).collect();
        if of.is_empty() || !(every || outcome == Outcome::Failed) {
            continue;
        }
        out.line("")?;
        out.line(format!("{title}:"))?;
        for kind in &score.kinds {
            let of: Vec<&CaseReport> = of.iter().filter(|case| case.kind == kind.kind).copied().collect();
            let whole = if every { of.len() } else { of.len().min(WHOLE) };
            for case in of.iter().take(whole) {
                out.line(format!("  seed {}, {}: {}", case.seed, case.kind.name(), case.how))?;
                out.line(format!("    {}", case.what))?;
                if outcome == Outcome::Failed && args.cases > 1 {
                    out.line(format!("    {}", alone(args, &score.run, case.seed)))?;
                }
            }
            let seeds: Vec<String> = of.iter().skip(whole).map(|case| case.seed.to_string()).collect();
            if !seeds.is_empty() {
                out.line(format!("    the same kind with seeds {}", seeds.join(", ")))?;
            }
        }
    }
    out.line("")?;
    let last = args.seed.saturating_add(args.cases - 1);
    let cases = match args.cases {
        1 => format!("the case of seed {last}"),
        count => format!("{} cases (seeds {} to {last})", units::count(count), args.seed),
    };
    out.line(match score.percent {
        Some(percent) => format!("score: {percent} % of {cases}"),
        None => format!("no score: of {cases} none could be judged"),
    })
}

/// The command that plays a case alone.
fn alone(args: &TortureArgs, run: &str, seed: u64) -> String {
    let quoted = |path: &Path| match path.to_string_lossy() {
        text if text.contains(|c: char| c.is_whitespace() || "'\"\\$&;|<>()*?[]`".contains(c)) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        text => text.into_owned(),
    };
    let connector = quoted(Path::new(&args.connector));
    format!("host torture {connector} --from {run} --out {} --seed {seed} --cases 1", quoted(&args.out))
}
