//! `host verify`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use host::event::Observer;
use host::run::verify;

use super::args::{CacheArgs, LimitArgs, OUT, keys};
use super::print::Out;
use super::progress::{Progress, Style};
use super::scratch::Scratch;
use super::{CliError, Exit, runs};

/// Arguments of `host verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Output folder.
    #[arg(default_value = OUT)]
    out: PathBuf,
    /// Do not run connectors on their archives; files, page log and bodies are still checked.
    #[arg(long)]
    no_replay: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Checks an output folder.
pub(crate) async fn verify(args: VerifyArgs, out: &mut Out) -> Result<Exit, CliError> {
    runs::load(&args.out)?;
    let observer: Arc<dyn Observer> = Arc::new(Progress::new(Style::Quiet));
    let engine = if args.no_replay { None } else { Some(args.cache.engine(&args.limits)?) };
    let scratch = Scratch::new(&args.out)?;
    let found = verify::verify(&args.out, engine, scratch.path(), observer, keys(&args.out)).await?;
    if args.json {
        out.line(serde_json::to_string_pretty(&found).unwrap_or_default())?;
    } else {
        let row = |check: &verify::Check| {
            let result = match (&check.skipped, check.damage.len()) {
                (Some(reason), 0) => format!("not checked: {reason}"),
                (_, 0) => "sound".to_owned(),
                (_, count) => format!("damaged in {count}"),
            };
            vec![check.check.to_owned(), check.of.clone(), check.looked_at.clone(), result]
        };
        let rows: Vec<Vec<String>> = found.checks.iter().map(row).collect();
        out.table(&["check", "of", "looked at", "result"], &rows)?;
        out.line("")?;
        for check in &found.checks {
            check.damage.iter().try_for_each(|damage| out.line(format!("  {}: {damage}", check.of)))?;
        }
        out.line(match found.sound {
            true => "sound".to_owned(),
            false => format!(
                "damaged\nnext: read what is damaged again with `host run … --full --out {}`; an archive cannot be mended",
                args.out.display()
            ),
        })?;
    }
    Ok(if found.sound { Exit::Complete } else { Exit::Incomplete })
}
