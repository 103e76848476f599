//! `host schema`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use host::run::state_path;
use host::schema::{Change, Field, Fields, Kinds, Schema, Type};
use host::state::{SchemaVersion, Sqlite, StateStore};

use super::args::OUT;
use super::colour::Style;
use super::print::Out;
use super::{CliError, Exit, units};

/// Arguments of `host schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The stream; without it, all streams are listed.
    stream: Option<String>,
    /// Output folder.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// The schema as it was in this version [default: the newest].
    #[arg(long, value_name = "N")]
    at: Option<u64>,
    /// Form of what is shown.
    #[arg(long, value_enum, default_value_t = FormatArg::Tree, conflicts_with = "json")]
    format: FormatArg,
    /// The same as --format json.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// The fields as a tree, and below it what changed when.
    Tree,
    /// JSON Schema, draft 2020-12, of the records.
    JsonSchema,
    /// Everything, as JSON.
    Json,
}

/// Shows a stream's schema and its history.
pub(crate) fn schema(args: &SchemaArgs, out: &mut Out) -> Result<Exit, CliError> {
    let mut state = open(&args.out)?;
    let format = if args.json { FormatArg::Json } else { args.format };
    let Some(stream) = &args.stream else { return list(&mut state, &args.out, format, out) };
    let versions = versions(&mut state, stream, &args.out)?;
    let newest = versions.last().map_or(0, |version| version.version);
    let wanted = args.at.unwrap_or(newest);
    let version = versions.iter().find(|version| version.version == wanted).ok_or_else(|| {
        CliError::usage(format!("the schema of {stream} has no version {wanted}"))
            .next(format!("give --at a number from 1 to {newest}"))
    })?;
    let schema = read(version)?;
    match format {
        FormatArg::JsonSchema => {
            out.line(serde_json::to_string_pretty(&schema.to_json_schema(stream)).unwrap_or_default())?;
        }
        FormatArg::Json => out.line(json(stream, version, &schema, &versions)?)?,
        FormatArg::Tree => {
            let since = format!(", since {}, by run {}", units::moment(version.at_ms), version.run);
            out.pieces(&[
                (Style::Strong, stream.clone()),
                (Style::Plain, format!(", version {wanted} of {newest}")),
                (Style::Faint, since),
            ])?;
            tree(&schema, out)?;
            history(&versions, out)?;
        }
    }
    Ok(Exit::Complete)
}

fn open(folder: &Path) -> Result<Sqlite, CliError> {
    let path = state_path(folder);
    if !path.exists() {
        return Err(CliError::usage(format!("nothing was read into {}", folder.display()))
            .next("give the --out of a run, or make one with `host run`"));
    }
    Ok(Sqlite::open(&path)?)
}

/// All streams of an output folder.
fn streams(state: &mut Sqlite) -> Result<Vec<String>, CliError> {
    let mut connections: Vec<String> = state.runs()?.into_iter().map(|run| run.connection).collect();
    connections.sort();
    connections.dedup();
    let mut streams = Vec::new();
    for connection in connections {
        streams.extend(state.streams(&connection)?);
    }
    streams.sort();
    Ok(streams)
}

fn versions(state: &mut Sqlite, stream: &str, folder: &Path) -> Result<Vec<SchemaVersion>, CliError> {
    let known = streams(state)?;
    if !known.iter().any(|one| one == stream) {
        let next = match host::config::nearest(stream, &known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("give one of: {}", known.join(", ")),
        };
        return Err(CliError::usage(format!("there is no stream {stream} in {}", folder.display())).next(next));
    }
    let versions = state.schema_versions(stream)?;
    if versions.is_empty() {
        return Err(CliError::usage(format!("no record of {stream} has been committed in {}", folder.display()))
            .next("read the stream with `host run` first"));
    }
    Ok(versions)
}

fn read(version: &SchemaVersion) -> Result<Schema, CliError> {
    Schema::parse(&version.schema).map_err(|error| {
        CliError::internal(format!("version {} of the schema cannot be read: {error}", version.version))
            .next("the state may be damaged: check the folder with `host verify`")
    })
}

fn changes(version: &SchemaVersion) -> Result<Vec<Change>, CliError> {
    serde_json::from_str(&version.changes).map_err(|error| {
        CliError::internal(format!("the changes of version {} cannot be read: {error}", version.version))
            .next("the state may be damaged: check the folder with `host verify`")
    })
}

fn json(stream: &str, version: &SchemaVersion, schema: &Schema, all: &[SchemaVersion]) -> Result<String, CliError> {
    let mut history = Vec::new();
    for version in all {
        let changes = changes(version)?;
        history.push(serde_json::json!({"version": version.version, "run": version.run, "at_ms": version.at_ms,
                                        "changes": changes}));
    }
    let all = serde_json::json!({"stream": stream, "version": version.version, "schema": schema.to_description(),
                                 "history": history});
    Ok(serde_json::to_string_pretty(&all).unwrap_or_default())
}

fn list(state: &mut Sqlite, folder: &Path, format: FormatArg, out: &mut Out) -> Result<Exit, CliError> {
    if format == FormatArg::JsonSchema {
        return Err(CliError::usage("JSON Schema is of one stream").next("name the stream: `host schema STREAM`"));
    }
    let mut rows = Vec::new();
    let mut list = Vec::new();
    for stream in streams(state)? {
        let versions = state.schema_versions(&stream)?;
        let Some(newest) = versions.last() else { continue };
        let fields = read(newest)?.fields.names();
        list.push(serde_json::json!({"stream": stream, "version": newest.version, "fields": fields, "run": newest.run,
                                     "at_ms": newest.at_ms}));
        let counts = [units::count(fields as u64), newest.version.to_string(), units::moment(newest.at_ms)];
        rows.push(std::iter::once(stream).chain(counts).chain([newest.run.clone()]).collect());
    }
    if rows.is_empty() {
        return Err(CliError::usage(format!("no record has been committed in {}", folder.display()))
            .next("read the streams with `host run` first"));
    }
    if format == FormatArg::Json {
        out.line(serde_json::to_string_pretty(&list).unwrap_or_default())?;
    } else {
        out.table(&["stream", "fields", "version", "since (UTC)", "by run"], &rows)?;
    }
    Ok(Exit::Complete)
}

/// One line of the tree.
struct Line {
    /// Where it hangs.
    branch: String,
    name: String,
    kind: String,
    notes: Vec<(Style, String)>,
}

fn tree(schema: &Schema, out: &mut Out) -> Result<(), CliError> {
    let mut lines = Vec::new();
    object(&schema.fields, "", &mut lines);
    let width = |line: &Line| line.branch.chars().count() + line.name.chars().count();
    let widest = lines.iter().map(width).max().unwrap_or(0);
    for line in lines {
        let pad = " ".repeat(widest.saturating_sub(width(&line)) + 2);
        let mut pieces =
            vec![(Style::Faint, line.branch), (Style::Plain, line.name), (Style::Plain, pad), (Style::Kind, line.kind)];
        for (style, note) in line.notes {
            pieces.push((Style::Plain, ", ".to_owned()));
            pieces.push((style, note));
        }
        out.pieces(&pieces)?;
    }
    Ok(())
}

fn object(fields: &Fields, indent: &str, lines: &mut Vec<Line>) {
    let own: Vec<&Field> = fields.iter().filter(|field| field.is_own()).collect();
    for (place, field) in own.iter().enumerate() {
        let last = place + 1 == own.len();
        let branch = format!("{indent}{}", if last { "└─ " } else { "├─ " });
        let name = if field.name.is_empty() { "\"\"".to_owned() } else { field.name.clone() };
        lines.push(Line { branch, name, kind: held(fields, field), notes: notes(fields, field) });
        below(&field.kind, &format!("{indent}{}", if last { "   " } else { "│  " }), lines);
    }
}

/// The fields of an object, or of an array's items.
fn below(kind: &Type, indent: &str, lines: &mut Vec<Line>) {
    match kind {
        Type::Struct(fields) => object(fields, indent, lines),
        Type::List(item) => below(item, indent, lines),
        _ => {}
    }
}

/// What a field holds, in words.
fn held(fields: &Fields, field: &Field) -> String {
    let others = fields.kinds(field).without(field.kind.kinds());
    let own = described(&field.kind);
    if others.is_empty() { own } else { format!("{own}; or {others}") }
}

fn described(kind: &Type) -> String {
    match kind {
        Type::Timestamp => "timestamp".to_owned(),
        Type::List(item) if item.kind == Type::Unknown => "array".to_owned(),
        Type::List(item) if item.is_nullable() => format!("array of {} or null", described(item)),
        Type::List(item) => format!("array of {}", described(item)),
        kind => kind.kinds().to_string(),
    }
}

fn notes(fields: &Fields, field: &Field) -> Vec<(Style, String)> {
    let mut notes = Vec::new();
    if field.is_gone() {
        notes.push((Style::Bad, "gone".to_owned()));
    } else if !field.is_seen() {
        notes.push((Style::Faint, "declared, in no record so far".to_owned()));
    } else if !field.is_always() && !field.kind.kinds().is_empty() {
        notes.push((Style::Odd, "may be absent or null".to_owned()));
    }
    if field.column() != field.name {
        notes.push((Style::Faint, format!("in the column {}", field.column())));
    }
    let in_text = |kinds: Kinds| !kinds.without(Kinds::TEXT).is_empty();
    match &field.kind {
        Type::Text(kinds) if in_text(*kinds) => notes.push((Style::Faint, "as text".to_owned())),
        Type::Json(_) => notes.push((Style::Faint, "as JSON text".to_owned())),
        _ => {}
    }
    for beside in field.beside().places().filter_map(|place| fields.at(place)) {
        let form = if matches!(beside.kind, Type::Json(_)) { " as JSON text" } else { "" };
        notes.push((Style::Faint, format!("{} in {}{form}", beside.kind.kinds(), beside.column())));
    }
    notes
}

fn history(versions: &[SchemaVersion], out: &mut Out) -> Result<(), CliError> {
    out.line("")?;
    for version in versions {
        out.pieces(&[
            (Style::Strong, format!("version {}", version.version)),
            (Style::Plain, format!(", {}", units::moment(version.at_ms))),
            (Style::Faint, format!(", run {}", version.run)),
        ])?;
        let changes = changes(version)?;
        if version.version == 1 {
            out.line("  what the first reading found")?;
        }
        for change in changes {
            let (style, sign) = match change {
                Change::New { .. } => (Style::Good, "+"),
                Change::Removed { .. } => (Style::Bad, "-"),
                _ => (Style::Odd, "~"),
            };
            out.pieces(&[(Style::Plain, "  ".to_owned()), (style, format!("{sign} {change}"))])?;
        }
    }
    Ok(())
}
