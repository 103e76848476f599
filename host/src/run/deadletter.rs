//! Dead letters: records that cannot be stored, kept as they came, with the reason.
//!
//! They stand in `OUT/STREAM/_dead-RUN-NUMBER.ndjson`, one object a line:
//!
//! | field | what it is |
//! | --- | --- |
//! | `stream`, `partition` | the read that brought it |
//! | `page` | the page's number in its read, from 0, as in the page log |
//! | `method`, `url`, `exchange` | the answer that the page was selected from; `exchange` is its number in the run's archive |
//! | `record`, `offset` | the record's place in the page, from 0, and its first byte in the decoded body |
//! | `reason` | why it cannot be stored |
//! | `bytes`, `kept_bytes` | its length, and where it is cut, how much of it is here |
//! | `raw_as`, `raw` | the record: `json` as it is, where every reader of JSON reads it alike; else its `text`, or where that is no UTF-8, its bytes in `base64`; `withheld`, without a `raw`, where it is no JSON and the stream has personal data |
//!
//! Where a connector takes only some records of an answer, or the stream has personal data, places are those in what is left.
//!
//! A file is committed with the parts of its commit, by the same transaction, and belongs to the same batch: whatever dies
//! when, no letter is lost or doubled, and what replaces the batch replaces its letters. It is visible from its commit on,
//! also where the parts of its batch wait: it holds no data. Its name starts with `_` and ends unlike data, so that a
//! reader of the folder's records does not take it for some.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::commit::Folder;
use super::sinks;
use crate::auth::Secrets;
use crate::capability::output::Emitted;
use crate::event::printable;
use crate::json::text;
use crate::personal::Withheld;
use crate::record::{self, Appended, Bounds, Record, RecordError, RefusedRecord, Split, Survey, Walker};
use crate::sink::{Sealed, Sink, SinkError};
use crate::state::Part;

/// What the name of each file of dead letters starts with.
const PREFIX: &str = "_dead-";

/// Bytes of one record that are kept. Who mends a record looks at its start; all of it is in the archive.
const RAW_BYTES: usize = 1 << 20;

/// Deepest nesting of a record that is kept as JSON: few readers go deeper than 100.
const RAW_DEPTH: usize = 64;

/// Tells whether a file of a stream's folder is one of dead letters.
pub(crate) fn is_dead(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Names of the files of a run's dead letters, from a number on.
pub(crate) fn names(run: &str, from: usize) -> impl Iterator<Item = String> + Send + use<> {
    let prefix = format!("{PREFIX}{run}-");
    (from..).map(move |number| format!("{prefix}{number:05}.ndjson"))
}

/// The number of a run's next file of dead letters.
pub(crate) fn next_number(run: &str, known: &[Part]) -> usize {
    sinks::next_number(&format!("{PREFIX}{run}-"), known)
}

/// A page of which everything that can be stored was taken.
pub(crate) struct Taken {
    pub(crate) appended: Appended,
    pub(crate) refused: Vec<RefusedRecord>,
}

impl Taken {
    /// What its last record is known by, also where that could not be stored.
    pub(crate) fn edge(&self, survey: &Survey, emitted: &Emitted) -> Option<u64> {
        if self.refused.is_empty() {
            return self.appended.edge;
        }
        survey.all(&emitted.page, None).last().map(Record::edge)
    }
}

/// Why nothing of a page was taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// It is at fault as a whole.
    Page(RecordError),
    /// More of its records cannot be stored than may become dead letters.
    TooMany(RecordError),
    /// The sink is at fault.
    Sink(SinkError),
}

impl From<SinkError> for NotTaken {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Record(error) => Self::Page(error),
            error => Self::Sink(error),
        }
    }
}

impl From<NotTaken> for SinkError {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Page(error) | NotTaken::TooMany(error) => Self::Record(error),
            NotTaken::Sink(error) => error,
        }
    }
}

/// Appends a page, and where it is refused, those of its records that can be stored, if no more than `most` cannot be. A
/// page that is at fault as a whole is refused as a whole.
pub(crate) fn append(sink: &mut dyn Sink, emitted: &mut Emitted, most: u64) -> Result<Taken, NotTaken> {
    let appended = match emitted.ready.take() {
        Some(ready) => sink.append_ready(&emitted.page, ready),
        None => sink.append(&emitted.page),
    };
    match appended {
        Ok(appended) => Ok(Taken { appended, refused: Vec::new() }),
        Err(SinkError::Record(error)) => append_rest(sink, emitted, most, error),
        Err(error) => Err(error.into()),
    }
}

#[cold]
fn append_rest(sink: &mut dyn Sink, emitted: &Emitted, most: u64, error: RecordError) -> Result<Taken, NotTaken> {
    let limits = sink.limits();
    let bounds = Bounds { max_depth: limits.max_depth.min(crate::json::MAX_DEPTH), max_bytes: limits.max_record_bytes };
    let Some(Split { page, kept, refused }) = record::split(&emitted.page, bounds, &error) else {
        return Err(NotTaken::Page(error));
    };
    if refused.len() as u64 > most {
        return Err(NotTaken::TooMany(error));
    }
    let mut appended = match page {
        Some(page) => sink.append(&page).map_err(|error| match error {
            // What is the matter with them together is told by their places in the page as it came.
            SinkError::Record(error) => {
                let place = error.place().and_then(|place| kept.get(usize::try_from(place).ok()?).copied());
                SinkError::Record(place.into_iter().fold(error, RecordError::at))
            }
            error => error,
        })?,
        None => Appended::default(),
    };
    appended.bytes = emitted.page.range.len() as u64;
    appended.content_hash = record::content_hash(&emitted.page);
    Ok(Taken { appended, refused })
}

/// Where the files of dead letters go, one after the other.
pub(crate) type Paths = Box<dyn Iterator<Item = PathBuf> + Send>;

/// The dead letters of a stream: the file that is being written, and the names of those that its batch has.
pub(crate) struct DeadLetters {
    stream: String,
    secrets: Secrets,
    paths: Paths,
    open: Option<(PathBuf, BufWriter<File>, u64)>,
    files: Vec<String>,
}

#[derive(Serialize)]
struct Letter<'a> {
    stream: &'a str,
    partition: Option<&'a str>,
    page: u64,
    method: Option<&'a str>,
    url: Option<&'a str>,
    exchange: Option<u64>,
    record: u64,
    offset: usize,
    reason: &'a str,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_bytes: Option<usize>,
    #[serde(flatten)]
    raw: Raw,
}

#[derive(Serialize)]
#[serde(tag = "raw_as", content = "raw", rename_all = "lowercase")]
enum Raw {
    Json(Box<RawValue>),
    Text(String),
    Base64(String),
    Withheld,
}

impl DeadLetters {
    /// Makes the dead letters of a stream; `known` are the files that its batch has.
    pub(crate) fn new(stream: &str, secrets: Secrets, paths: Paths, known: Vec<String>) -> Self {
        Self { stream: stream.to_owned(), secrets, paths, open: None, files: known }
    }

    /// Writes the letters of a page, into a file that nobody sees before it is committed. `label` is the read's.
    pub(crate) fn write(
        &mut self,
        label: &str,
        page: u64,
        emitted: &Emitted,
        refused: &[RefusedRecord],
    ) -> Result<(), SinkError> {
        if refused.is_empty() {
            return Ok(());
        }
        let (path, mut file, mut count) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let origin = emitted.origin.as_ref();
        for one in refused {
            let reason = self.safe(&reason(emitted, one));
            let raw = emitted.page.body.get(one.span.clone()).unwrap_or_default();
            let (bytes, (raw, kept)) = match withheld(emitted, one) {
                Some(withheld) => (withheld.bytes, (Raw::Withheld, None)),
                None => (raw.len(), self.raw(raw)),
            };
            let letter = Letter {
                stream: &self.stream,
                partition: label.strip_prefix(self.stream.as_str()).and_then(|rest| rest.strip_prefix('/')),
                page,
                method: origin.map(|origin| origin.method.as_str()),
                url: origin.map(|origin| origin.url.as_str()),
                exchange: origin.and_then(|origin| origin.exchange),
                record: one.record,
                offset: one.span.start,
                reason: &reason,
                bytes,
                kept_bytes: kept,
                raw,
            };
            let written = serde_json::to_writer(&mut file, &letter).map_err(io::Error::from);
            let written = written.and_then(|()| file.write_all(b"\n"));
            written.map_err(|source| SinkError::Io { path: path.clone(), source })?;
            count += 1;
        }
        self.open = Some((path, file, count));
        Ok(())
    }

    fn begin(&mut self) -> Result<(PathBuf, BufWriter<File>, u64), SinkError> {
        let path = self.paths.next().unwrap_or_default();
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.map_err(|source| SinkError::Io { path: path.clone(), source })?;
        self.files.extend(Folder::name_of(&path).map(str::to_owned));
        Ok((path, BufWriter::new(file), 0))
    }

    fn safe(&self, text: &str) -> String {
        printable(&self.secrets.redact(text)).into_owned()
    }

    /// A record as it is kept, and how much of it that is where it is not all.
    fn raw(&self, record: &[u8]) -> (Raw, Option<usize>) {
        // Bodies come without secrets; what a connector made of them may have some again.
        let redacted = self.secrets.redact_body(record);
        let all = redacted.as_deref().unwrap_or(record);
        let kept = cut(all);
        let whole = kept.len() == all.len();
        let raw = match std::str::from_utf8(kept) {
            Err(_) => Raw::Base64(STANDARD.encode(kept)),
            Ok(text) => match json(text).filter(|_| whole) {
                Some(json) => Raw::Json(json),
                None => Raw::Text(text.to_owned()),
            },
        };
        (raw, (!whole).then_some(kept.len()))
    }

    /// Says what happened to the first records that a read could not store, for the log.
    pub(crate) fn tell(&self, label: &str, emitted: &Emitted, refused: &[RefusedRecord]) -> Option<String> {
        let first = refused.first()?;
        let from = emitted.origin.as_ref().map_or_else(
            || "a page that the connector made".to_owned(),
            |origin| format!("the answer of {}", origin.url),
        );
        Some(self.safe(&format!("{label}: in {from}, {}; it becomes a dead letter", reason(emitted, first))))
    }

    /// Says where the dead letters of the batch are: a file, and how many more.
    pub(crate) fn place(&self) -> String {
        place(&self.stream, self.files.iter().map(String::as_str))
    }

    /// Ends the file, on disk and synced.
    pub(crate) fn seal(&mut self) -> Result<Option<Sealed>, SinkError> {
        let Some((path, file, rows)) = self.open.take() else { return Ok(None) };
        let sealed = || {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            file.metadata().map(|metadata| metadata.len())
        };
        match sealed() {
            Ok(bytes) => Ok(Some(Sealed { path, rows, bytes })),
            Err(source) => Err(SinkError::Io { path, source }),
        }
    }
}

/// What is known of a record that is no JSON, where personal data in it could not be told from other.
fn withheld(emitted: &Emitted, refused: &RefusedRecord) -> Option<Withheld> {
    let raw = emitted.page.body.get(refused.span.clone()).filter(|_| emitted.treated)?;
    Withheld::parse(raw)
}

/// Why a record cannot be stored.
fn reason(emitted: &Emitted, refused: &RefusedRecord) -> String {
    match withheld(emitted, refused) {
        Some(Withheld { cause, .. }) => format!(
            "record {} is not valid JSON: {cause}; its text is withheld, for personal data in it could not be told from other",
            refused.record
        ),
        None => told(&refused.error),
    }
}

/// Why a page cannot be taken; a placeholder in it is no reason that a user could make something of.
pub(crate) fn told_of(emitted: &Emitted, error: &RecordError) -> String {
    match error {
        RecordError::Syntax { index, .. } if emitted.treated => format!(
            "record {index} is not valid JSON; no more is told, for personal data in it could not be told from other"
        ),
        error => told(error),
    }
}

/// An error with what to do about it.
pub(crate) fn told(error: &RecordError) -> String {
    let next = match error {
        RecordError::TooDeep { .. } => "; if you trust it with more, raise --max-json-depth",
        RecordError::TooLarge { .. } => "; if you trust it with more, raise --max-record",
        RecordError::TooManyFields { .. } => {
            "; have the connector put those that come and go into one object, which becomes JSON text in one column"
        }
        _ => "",
    };
    format!("{error}{next}")
}

/// Says where dead letters are: the first file, and how many more.
pub(crate) fn place<'a>(stream: &str, files: impl Iterator<Item = &'a str>) -> String {
    let mut files = files.filter(|name| is_dead(name));
    let first = files.next().unwrap_or("_dead-*.ndjson");
    match files.count() {
        0 => format!("{stream}/{first}"),
        1 => format!("{stream}/{first} and one more"),
        more => format!("{stream}/{first} and {more} more"),
    }
}

/// As much of a record as is kept; a text is not cut within a character.
fn cut(record: &[u8]) -> &[u8] {
    let Some(start) = record.get(..RAW_BYTES).filter(|_| record.len() > RAW_BYTES) else { return record };
    match std::str::from_utf8(start) {
        Err(error) if error.error_len().is_none() => start.get(..error.valid_up_to()).unwrap_or(start),
        _ => start,
    }
}

/// The record as JSON, where every reader sees the same in it: no name twice, no half of a surrogate pair, no great depth.
fn json(text: &str) -> Option<Box<RawValue>> {
    let bytes = text.as_bytes();
    let end = Walker::default().walk(bytes, 0, RAW_DEPTH).ok()?;
    let mut compact = Vec::new();
    text::compact(bytes.get(..end).filter(|_| end == bytes.len())?, &mut compact);
    RawValue::from_string(String::from_utf8(compact).ok()?).ok()
}

/// Counts the letters in a file, each of which has to be JSON.
pub(crate) fn count(path: &Path) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut line, mut count) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        count += 1;
        let letter: Result<&RawValue, _> = serde_json::from_slice(&line);
        letter.map_err(|error| io::Error::other(format!("line {count}: {error}")))?;
        line.clear();
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::Secret;
    use crate::capability::heard::Heard;
    use crate::capability::output::Origin;
    use crate::engine::bindings::ingest::connector::output::Seam;
    use crate::record::Page;
    use crate::schema::Schema;
    use crate::sink::{JsonLines, Limits};

    const BOUND: Limits =
        Limits { max_depth: 16, max_record_bytes: 3 << 20, row_group_rows: 5, row_group_bytes: 8 << 20 };

    fn emitted(body: &[u8]) -> Emitted {
        Emitted {
            page: Page::from_json(Bytes::copy_from_slice(body)),
            ready: None,
            checkpoint: None,
            total: None,
            seam: Seam::Anchored,
            treated: false,
            origin: Some(Origin {
                url: "https://api.example.com/items?page=2".to_owned(),
                status: 200,
                bytes: 1,
                method: crate::http::Method::GET,
                exchange: Some(7),
            }),
            storage: Vec::new(),
            heard: Heard::default(),
        }
    }

    /// The letters of a page, and the records that were stored.
    fn letters(body: &[u8], secrets: Secrets) -> (Vec<Value>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("part");
        let mut sink = JsonLines::new(Schema::default(), Vec::new(), BOUND, Box::new(move || part.clone()));
        let mut emitted = emitted(body);
        let taken = append(&mut sink, &mut emitted, u64::MAX).unwrap();
        assert_eq!(sink.rows(), taken.appended.records);
        let path = folder.path().join("._dead-r-00000.ndjson.tmp");
        let paths = std::iter::once(path.clone());
        let mut dead = DeadLetters::new("items", secrets, Box::new(paths), Vec::new());
        dead.write("items/a/b", 3, &emitted, &taken.refused).unwrap();
        assert_eq!(dead.place(), "items/_dead-r-00000.ndjson");
        let sealed = dead.seal().unwrap().unwrap();
        assert_eq!((sealed.rows, count(&path).unwrap()), (taken.refused.len() as u64, taken.refused.len() as u64));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(sealed.bytes, text.len() as u64);
        (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), taken.appended.records)
    }

    #[test]
    fn a_letter_has_all_that_is_needed_to_find_the_record() {
        let (letters, stored) =
            letters(b"[{\"a\":1}, {\"a\":1,\"a\":2}, [ 1, \"x y\" ], {\"a\":3}]", Secrets::default());
        assert_eq!(stored, 2);
        assert_eq!(
            letters,
            [
                json!({
                    "stream": "items", "partition": "a/b", "page": 3, "method": "GET",
                    "url": "https://api.example.com/items?page=2", "exchange": 7, "record": 1, "offset": 10,
                    "reason": "record 1 has a name twice: `/a`", "bytes": 13,
                    "raw_as": "text", "raw": "{\"a\":1,\"a\":2}",
                }),
                json!({
                    "stream": "items", "partition": "a/b", "page": 3, "method": "GET",
                    "url": "https://api.example.com/items?page=2", "exchange": 7, "record": 2, "offset": 25,
                    "reason": "record 2 is not an object: an array", "bytes": 12,
                    "raw_as": "json", "raw": [1, "x y"],
                }),
            ]
        );
    }

    #[test]
    fn what_readers_of_json_see_differently_is_kept_as_text_and_what_is_no_text_as_base64() {
        let (letters, _) = letters(b"[{\"a\":\"\\ud800\"},{\"a\":\"\xff\"},{\"a\":1}]", Secrets::default());
        assert_eq!(letters[0]["raw"], "{\"a\":\"\\ud800\"}");
        assert_eq!((&letters[1]["raw_as"], &letters[1]["raw"]), (&json!("base64"), &json!("eyJhIjoi/yJ9")));
    }

    #[test]
    fn a_long_record_is_cut_and_its_length_told() {
        let long = format!("{{\"a\":\"{}\"}}", "é".repeat(2 << 20));
        let (letters, _) = letters(format!("[{{}},{long}]").as_bytes(), Secrets::default());
        assert_eq!((&letters[0]["bytes"], &letters[0]["kept_bytes"]), (&json!(long.len()), &json!(RAW_BYTES)));
        let raw = letters[0]["raw"].as_str().unwrap();
        assert!(raw.len() == RAW_BYTES && long.starts_with(raw));
    }

    #[test]
    fn no_secret_gets_into_a_letter() {
        let secrets = Secrets::default();
        secrets.insert("token", Secret::new("s3cr3t-0123456789"));
        let body = "[{\"a\":1},{\"s3cr3t-0123456789\":1,\"s3cr3t-0123456789\":\"s3cr3t-0123456789\"}]";
        let (letters, _) = letters(body.as_bytes(), secrets);
        assert!(!format!("{letters:?}").contains("s3cr3t"), "{letters:?}");
        assert_eq!(letters[0]["reason"], "record 1 has a name twice: `/__secret.token__`");
    }

    #[test]
    fn no_more_letters_are_made_than_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("part");
        let mut sink = JsonLines::new(Schema::default(), Vec::new(), BOUND, Box::new(move || part.clone()));
        let body = b"[{\"a\":1},1,2]";
        assert!(matches!(append(&mut sink, &mut emitted(body), 1), Err(NotTaken::TooMany(_))));
        assert_eq!(sink.rows(), 0);
        assert_eq!(append(&mut sink, &mut emitted(body), 2).ok().map(|taken| taken.refused.len()), Some(2));
    }

    #[test]
    fn what_is_the_matter_with_the_rest_is_told_by_places_in_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("part");
        let mut sink = JsonLines::new(Schema::default(), Vec::new(), BOUND, Box::new(move || part.clone()));
        let fields: Vec<String> = (0..20_001).map(|field| format!("\"f{field}\":1")).collect();
        let refused = append(&mut sink, &mut emitted(format!("[1,{{{}}}]", fields.join(",")).as_bytes()), 9);
        let many = RecordError::TooManyFields { limit: 20_000 };
        assert!(matches!(refused, Err(NotTaken::Page(error)) if error == many));
        assert_eq!(sink.rows(), 0);
    }

    #[test]
    fn files_are_numbered_on() {
        let part = |name: &str| Part {
            stream: "s".to_owned(),
            name: name.to_owned(),
            batch: 1,
            run: "r".to_owned(),
            records: 0,
            bytes: 1,
            status: crate::state::PartStatus::Visible,
        };
        let known = [part("part-r-00007.parquet"), part("_dead-r-00003.ndjson"), part("_dead-q-00009.ndjson")];
        assert_eq!(next_number("r", &known), 4);
        assert_eq!(names("r", 4).next().as_deref(), Some("_dead-r-00004.ndjson"));
        let files = known.iter().map(|part| part.name.as_str());
        assert_eq!(place("s", files), "s/_dead-r-00003.ndjson and one more");
    }
}
