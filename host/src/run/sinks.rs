//! The sinks of streams, as runs, replays and reprocessing make them alike.

use std::path::PathBuf;

use super::Format;
use crate::engine::Engine;
use crate::schema::{DeclaredError, DescriptionError, Schema};
use crate::sink::{self, Sink};
use crate::state::Part;

/// The schema that a sink goes on with: the one that its parts have so far, else the one that the connector declares.
pub(crate) fn schema_of<E: From<DeclaredError> + From<DescriptionError>>(
    known: Option<&str>,
    declared: Option<&str>,
) -> Result<Schema, E> {
    Ok(match (known, declared) {
        (Some(known), _) => Schema::parse(known)?,
        (None, Some(declared)) => Schema::from_json_schema(declared)?,
        (None, None) => Schema::default(),
    })
}

/// The number behind those of the files whose names start so.
pub(crate) fn next_number(prefix: &str, known: &[Part]) -> usize {
    let number = |part: &Part| part.name.strip_prefix(prefix)?.get(..5)?.parse::<usize>().ok();
    known.iter().filter_map(number).max().map_or(0, |last| last + 1)
}

/// What records are held to.
pub(crate) fn limits(engine: &Engine) -> sink::Limits {
    let limits = engine.limits();
    sink::Limits { max_depth: limits.json_depth, max_record_bytes: limits.record_bytes, ..sink::Limits::default() }
}

/// Makes a sink that writes its parts to `names`, which are without end.
pub(crate) fn open(
    limits: sink::Limits,
    schema: Schema,
    key: Vec<String>,
    format: Format,
    mut names: impl Iterator<Item = PathBuf> + Send + 'static,
) -> Box<dyn Sink> {
    let next: sink::NextPath = Box::new(move || names.next().unwrap_or_default());
    match format {
        Format::Parquet => Box::new(sink::Parquet::new(schema, key, limits, next)),
        Format::JsonLines => Box::new(sink::JsonLines::new(schema, key, limits, next)),
    }
}
