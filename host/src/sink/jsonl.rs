//! Newline-delimited JSON: each record as it came, on a line of its own.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::{Limits, NextPath, Sealed, Sink, SinkError, create, failed, remove, sync};
use crate::json::text;
use crate::record::{self, Appended, Bounds, Guard, Page, Walker};
use crate::schema::Schema;

/// Bytes that wait in memory before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// A sink that writes newline-delimited JSON.
pub struct JsonLines {
    schema: Schema,
    primary_key: Vec<String>,
    limits: Limits,
    walker: Walker,
    next: NextPath,
    open: Option<Open>,
    buffer: Vec<u8>,
    rows: u64,
    guard: Option<Guard>,
}

/// The file being written.
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl JsonLines {
    /// Makes a sink that goes on with a schema. No file is made before there are rows for it.
    pub fn new(schema: Schema, primary_key: Vec<String>, limits: Limits, next: NextPath) -> Self {
        let walker = Walker::default();
        Self { schema, primary_key, limits, walker, next, open: None, buffer: Vec::new(), rows: 0, guard: None }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let path = (self.next)();
                let file = create(&path)?;
                self.open.insert(Open { path, file, bytes: 0 })
            }
        };
        open.file.write_all(&self.buffer).map_err(|source| failed(&open.path, source))?;
        open.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Sink for JsonLines {
    fn append(&mut self, page: &Page) -> Result<Appended, SinkError> {
        let bounds = Bounds {
            max_depth: self.limits.max_depth.min(crate::json::MAX_DEPTH),
            max_bytes: self.limits.max_record_bytes,
        };
        let mut schema = self.schema.clone();
        let mut appended = Appended::default();
        let before = self.buffer.len();
        let (buffer, primary_key) = (&mut self.buffer, &self.primary_key);
        let mut scratch = Vec::new();
        let mut last = None;
        let taken = record::absorb(page, &mut schema, &mut self.walker, bounds, |bytes, start, end| {
            last = Some(start..end);
            let line = buffer.len();
            text::compact(bytes.get(start..end).unwrap_or_default(), buffer);
            if page.extra.is_empty() && primary_key.is_empty() {
                buffer.push(b'\n');
                return Ok(());
            }
            let names = record::members(bytes, start);
            if !page.extra.is_empty() {
                buffer.pop();
            }
            for (name, json) in &page.extra {
                if names.iter().any(|(other, _)| other == name.as_bytes()) {
                    return Err(record::clash(start, name));
                }
                if buffer.len() > line + 1 {
                    buffer.push(b',');
                }
                text::quote(name.as_bytes(), buffer);
                buffer.push(b':');
                text::compact(json.as_bytes(), buffer);
            }
            if !page.extra.is_empty() {
                buffer.push(b'}');
            }
            buffer.push(b'\n');
            let found = |part: &String| {
                let own = names
                    .iter()
                    .find(|(name, _)| name == part.as_bytes())
                    .and_then(|(_, span)| bytes.get(span.0..span.1));
                own.or_else(|| {
                    page.extra.iter().find(|extra| extra.0 == *part).map(|extra| extra.1.trim_ascii().as_bytes())
                })
            };
            if !primary_key.is_empty() {
                match record::key_hash(primary_key.iter().map(found), &mut scratch) {
                    Some(hash) => appended.key_hashes.push(hash),
                    None => appended.missing_keys += 1,
                }
            }
            Ok(())
        });
        let guarded = |records: u64| match &self.guard {
            Some(guard) if guard.differs(&schema).is_some() => guard.find(page, &self.schema).map_or(Ok(records), Err),
            _ => Ok(records),
        };
        match taken.and_then(guarded) {
            Ok(records) => appended.records = records,
            Err(error) => {
                self.buffer.truncate(before);
                return Err(error.into());
            }
        }
        self.schema = schema;
        self.rows += appended.records;
        appended.edge = last.and_then(|last| page.body.get(last)).map(|last| appended.edge_of(last));
        appended.bytes = page.range.len() as u64;
        appended.content_hash = record::content_hash(page);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(appended)
    }

    fn guard(&mut self, guard: Guard) {
        self.guard = Some(guard);
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.bytes) + self.buffer.len() as u64
    }

    fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn seal(&mut self) -> Result<Vec<Sealed>, SinkError> {
        self.flush()?;
        let rows = std::mem::take(&mut self.rows);
        let Some(open) = self.open.take() else { return Ok(Vec::new()) };
        Ok(vec![sync(&open.path, &open.file, rows)?])
    }

    fn seal_empty(&mut self) -> Result<Option<Sealed>, SinkError> {
        let path = (self.next)();
        let file = create(&path)?;
        sync(&path, &file, 0).map(Some)
    }

    fn discard(&mut self) -> Result<(), SinkError> {
        self.buffer.clear();
        self.rows = 0;
        self.open.take().map_or(Ok(()), |open| remove(&open.path))
    }
}
