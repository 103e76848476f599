//! The truth: what the undisturbed recording comes to, and where in its answers each record stands.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::TortureError;
use super::play::CONNECTION;
use super::recording::{Answer, Asked};
use crate::run::{Report, Verdict, state_path};
use crate::state::{PartStatus, Sqlite, StateStore};

/// How deep a list of records is looked for in an answer.
const LIST_DEPTH: usize = 4;

/// How often each record is there, by what it says, and not by how it is written.
pub(super) type Counts = HashMap<u128, i64>;

/// Records by stream.
pub(super) type Records = BTreeMap<String, Counts>;

/// What the undisturbed recording comes to.
pub(super) struct Truth {
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<String>,
    pub(super) records: Records,
    /// Requests in the order in which they were first made.
    pub(super) asked: Vec<Asked>,
    /// Pages of each read, in order; only of reads whose pages are those of answers.
    pub(super) reads: Vec<Vec<PageOf>>,
}

/// A page, and the answer that it is of.
pub(super) struct PageOf {
    pub(super) stream: String,
    pub(super) asked: Asked,
    pub(super) total: Option<u64>,
    /// The records, as they were written.
    pub(super) records: Vec<Value>,
    /// Where in the answer's body the list of the records is.
    pub(super) list: Option<String>,
}

impl Truth {
    /// Looks at what the undisturbed run left in a folder.
    pub(super) fn read(
        out: &Path,
        report: &Report,
        asked: Vec<Asked>,
        answer: impl Fn(&Asked) -> Option<Answer>,
    ) -> Result<Self, TortureError> {
        let mut state = Sqlite::open(&state_path(out))?;
        let mut truth = Self {
            verdict: report.finding.verdict,
            reasons: report.finding.reasons.clone(),
            records: Records::new(),
            asked,
            reads: Vec::new(),
        };
        for stream in report.streams.iter().map(|stream| &stream.name) {
            let lines = lines(out, &mut state, stream)?;
            let mut counts = Counts::new();
            let mut records = Vec::with_capacity(lines.len());
            for line in &lines {
                let record: Value =
                    serde_json::from_str(line).map_err(|error| TortureError::Line(error.to_string()))?;
                *counts.entry(hash(&record)).or_insert(0) += 1;
                records.push(record);
            }
            truth.records.insert(stream.clone(), counts);
            truth.place(&mut state, stream, records, &answer)?;
        }
        Ok(truth)
    }

    /// Finds the answers that the pages of a stream are of.
    fn place(
        &mut self,
        state: &mut Sqlite,
        stream: &str,
        records: Vec<Value>,
        answer: impl Fn(&Asked) -> Option<Answer>,
    ) -> Result<(), TortureError> {
        let Some(batch) = state.newest_batch(stream)? else { return Ok(()) };
        let mut logs = Vec::new();
        for read in state.reads(batch.id)? {
            logs.push(state.pages(read.id)?);
        }
        let logged: u64 = logs.iter().flatten().map(|page| page.records).sum();
        if logged != records.len() as u64 {
            return Ok(());
        }
        let mut left = records.into_iter();
        // Requests of one URL with bodies of their own, as of GraphQL, are told apart by their order.
        let mut times: HashMap<String, usize> = HashMap::new();
        for log in logs {
            let mut pages = Vec::with_capacity(log.len());
            for page in log {
                let count = usize::try_from(page.records).unwrap_or(usize::MAX);
                let records: Vec<Value> = left.by_ref().take(count).collect();
                let Some(url) = page.url else { continue };
                let mut alike = self.asked.iter().filter(|asked| asked.url == url);
                let nth = times.entry(url.clone()).or_insert(0);
                let Some(asked) = alike.clone().nth(*nth).or_else(|| alike.next_back()) else { continue };
                *nth += 1;
                let list = answer(asked).and_then(|answer| list_of(&answer, &records));
                pages.push(PageOf {
                    stream: stream.to_owned(),
                    asked: asked.clone(),
                    total: page.total,
                    records,
                    list,
                });
            }
            if !pages.is_empty() {
                self.reads.push(pages);
            }
        }
        Ok(())
    }

    /// Records of all streams.
    pub(super) fn count(&self) -> u64 {
        self.records.values().flat_map(HashMap::values).map(|count| u64::try_from(*count).unwrap_or(0)).sum()
    }

    /// All pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = &PageOf> {
        self.reads.iter().flatten()
    }
}

/// The lines of the visible parts of a stream, in order.
fn lines(out: &Path, state: &mut Sqlite, stream: &str) -> Result<Vec<String>, TortureError> {
    let mut parts: Vec<String> = state
        .parts(stream)?
        .into_iter()
        .filter(|part| part.status == PartStatus::Visible)
        .map(|part| part.name)
        .collect();
    parts.sort();
    let mut lines = Vec::new();
    for part in parts {
        let path = out.join(stream).join(part);
        let text = std::fs::read_to_string(&path).map_err(|source| TortureError::Io { path, source })?;
        lines.extend(text.lines().map(str::to_owned));
    }
    Ok(lines)
}

/// The records that a run left visible in a folder, by stream. `known` keeps what lines say, since most come in each case.
pub(super) fn found(out: &Path, known: &mut HashMap<u128, u128>) -> Result<Records, TortureError> {
    let mut records = Records::new();
    if !state_path(out).exists() {
        return Ok(records);
    }
    let mut state = Sqlite::open(&state_path(out))?;
    for stream in state.streams(CONNECTION)? {
        let counts = records.entry(stream.clone()).or_default();
        for line in lines(out, &mut state, &stream)? {
            let key = xxh3_128(line.as_bytes());
            let says = match known.get(&key) {
                Some(says) => *says,
                None => {
                    let record: Value =
                        serde_json::from_str(&line).map_err(|error| TortureError::Line(error.to_string()))?;
                    let says = hash(&record);
                    known.insert(key, says);
                    says
                }
            };
            *counts.entry(says).or_insert(0) += 1;
        }
    }
    Ok(records)
}

/// A hash of what a value says: the order of an object's fields does not count.
pub(super) fn hash(value: &Value) -> u128 {
    let mut hasher = Xxh3::new();
    add(value, &mut hasher);
    hasher.digest128()
}

fn add(value: &Value, hasher: &mut Xxh3) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(value) => hasher.update(if *value { b"t" } else { b"f" }),
        Value::Number(number) => add_text(b'#', &number.to_string(), hasher),
        Value::String(text) => add_text(b'"', text, hasher),
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| add(item, hasher));
            hasher.update(b"]");
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            hasher.update(b"{");
            for (name, value) in fields {
                add_text(b':', name, hasher);
                add(value, hasher);
            }
            hasher.update(b"}");
        }
    }
}

fn add_text(kind: u8, text: &str, hasher: &mut Xxh3) {
    hasher.update(&[kind]);
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// The place of the list that records are of; none where they were made of something else.
fn list_of(answer: &Answer, records: &[Value]) -> Option<String> {
    if records.is_empty() {
        return None;
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    search(&body, records, String::new(), LIST_DEPTH)
}

fn search(value: &Value, records: &[Value], place: String, depth: usize) -> Option<String> {
    match value {
        Value::Array(items) if items.len() == records.len() => {
            let mut pairs = items.iter().zip(records);
            pairs.all(|(item, record)| is_within(item, record)).then_some(place)
        }
        Value::Object(fields) if depth > 0 => fields.iter().find_map(|(name, value)| {
            let step = name.replace('~', "~0").replace('/', "~1");
            search(value, records, format!("{place}/{step}"), depth - 1)
        }),
        _ => None,
    }
}

/// Whether a record says all that an item of an answer says; a connector may add to it.
fn is_within(item: &Value, record: &Value) -> bool {
    match (item, record) {
        (Value::Object(item), Value::Object(record)) => {
            !item.is_empty() && item.iter().all(|(name, value)| record.get(name) == Some(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_counts_is_what_a_record_says() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": [1, {"c": null}]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b":[1,{"c":null}],"a":1}"#).unwrap();
        assert_eq!(hash(&one), hash(&other));
        for different in
            [json!({"a": "1", "b": [1, {"c": null}]}), json!({"a": 1, "b": [{"c": null}, 1]}), json!({"a": 1})]
        {
            assert_ne!(hash(&one), hash(&different), "{different}");
        }
    }

    #[test]
    fn a_list_is_found_by_the_records_that_were_made_of_it() {
        let body = json!({"total": 2, "tags": ["x", "y"], "data": {"a/b": [{"id": 1}, {"id": 2}]}});
        let answer = Answer::new(200, "application/json", body.to_string());
        let records = [json!({"id": 1, "of": "x"}), json!({"id": 2, "of": "x"})];
        assert_eq!(list_of(&answer, &records), Some("/data/a~1b".to_owned()));
        assert_eq!(list_of(&answer, &records[..1]), None);
        assert_eq!(list_of(&answer, &[json!({"id": 2}), json!({"id": 1})]), None);
    }
}
