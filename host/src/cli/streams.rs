//! `host streams`.

use clap::Args;
use host::engine::bindings::exports::ingest::connector::source::SyncMode;

use super::check::CheckArgs;
use super::print::Out;
use super::{CliError, Exit};

/// Arguments of `host streams`.
#[derive(Debug, Args)]
pub(crate) struct StreamsArgs {
    #[command(flatten)]
    check: CheckArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Lists the streams of a connector.
pub(crate) async fn streams(args: StreamsArgs, out: &mut Out) -> Result<Exit, CliError> {
    let streams = args.check.open().await?.streams().await;
    let streams = streams.map_err(|error| CliError::from(error).about(args.check.name()))?;
    let modes = |modes: &[SyncMode]| {
        let names = modes.iter().map(|mode| match mode {
            SyncMode::Full => "full",
            SyncMode::Incremental => "incremental",
        });
        names.collect::<Vec<_>>()
    };
    if args.json {
        let list: Vec<_> = streams
            .iter()
            .map(|stream| {
                serde_json::json!({
                    "name": stream.name,
                    "modes": modes(&stream.modes),
                    "primary_key": stream.primary_key,
                    "cursor_field": stream.cursor_field,
                    "schema": stream.schema.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()),
                })
            })
            .collect();
        out.line(serde_json::to_string_pretty(&list).unwrap_or_default())?;
        return Ok(Exit::Complete);
    }
    let rows: Vec<Vec<String>> = streams
        .iter()
        .map(|stream| {
            vec![
                stream.name.clone(),
                modes(&stream.modes).join(", "),
                stream.primary_key.join(", "),
                stream.cursor_field.clone().unwrap_or_default(),
                if stream.schema.is_some() { "declared" } else { "inferred" }.to_owned(),
            ]
        })
        .collect();
    out.table(&["stream", "modes", "primary key", "cursor field", "schema"], &rows)?;
    Ok(Exit::Complete)
}
