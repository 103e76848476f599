//! From the bytes of a page to columns, once over the bytes.
//!
//! Decoding never changes the schema. A value that has no place in it stops the decoder; the page's rows are dropped, the
//! page is gone over again to find the types that hold all of it, the columns are widened, and the page is decoded anew.
//! That happens on the first page and rarely after it, so the common way through has no schema to build and nothing but
//! row counts to undo.
//!
//! Records of one API look alike: after each field the decoder compares the next bytes with the name that followed it the
//! last time, and looks a name up only where they differ.

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use super::ahead::{Ready, Shapes};
use super::column::{Column, Data, Group, Texts};
use super::guard::Guard;
use super::number::{self, Number, is_exact};
use super::records::{self, Bounds, Fault};
use super::walk::Walker;
use super::{Appended, Page, RecordError, absent, infer, instant, presence};
use crate::json::scan::{self, Cause, Stop, byte, space};
use crate::json::text;
use crate::schema::Schema;

/// What the rows of one page may take as columns. A field that most records lack costs no byte of the page and eight of
/// its column, so that a page of megabytes could take gigabytes. Real pages take about as much as their text; this is
/// eight times the greatest response.
const MAX_PAGE_BYTES: usize = 512 << 20;

/// Rows under construction.
#[derive(Debug)]
pub struct Table {
    schema: Schema,
    root: Group,
    rows: usize,
    /// What the columns held when rows were last taken in.
    bytes: usize,
    primary_key: Vec<String>,
    bounds: Bounds,
    reader: Reader,
    /// Where reads learn what the rows look like.
    shapes: Option<Arc<Shapes>>,
    guard: Option<Guard>,
    /// Bytes up to which the rows are going to grow; zero once there is room for them.
    expected: usize,
}

/// What the decoder needs beside the columns.
#[derive(Debug, Default)]
struct Reader {
    walker: Walker,
    scratch: Vec<u8>,
    /// Spans of the primary key's values in the record; empty where a part was not seen.
    keys: Vec<(usize, usize)>,
    /// What is left of [`MAX_PAGE_BYTES`].
    room: usize,
    /// Whether an array or object of the record at hand went beside its column.
    aside: bool,
    /// Starts of the records of which one did.
    asides: Vec<usize>,
}

/// A constant field of the page at hand.
struct Extra<'a> {
    name: &'a str,
    /// None where the schema does not have it yet.
    place: Option<usize>,
    json: &'a [u8],
    /// Which part of the primary key it is, plus one; zero for none.
    key: usize,
}

/// Why a page was not taken over.
#[derive(Debug)]
pub enum Refused {
    /// The schema has to become this one first.
    Widen(Schema),
    /// A column of the rows there are would pass 2 GiB.
    Full,
    /// The page itself is at fault.
    Error(RecordError),
}

impl Table {
    /// Makes a table without rows.
    pub fn new(schema: Schema, primary_key: Vec<String>, max_depth: usize, max_record_bytes: usize) -> Self {
        let bounds = Bounds { max_depth: max_depth.min(crate::json::MAX_DEPTH), max_bytes: max_record_bytes };
        let mut table = Self {
            schema,
            root: Group::default(),
            rows: 0,
            bytes: 0,
            primary_key,
            bounds,
            reader: Reader::default(),
            shapes: None,
            guard: None,
            expected: 0,
        };
        table.widen(table.schema.clone());
        table
    }

    /// Returns what reads need to decode pages for this table.
    pub fn share(&mut self) -> Arc<Shapes> {
        let shapes = self.shapes.get_or_insert_default().clone();
        self.tell_shape();
        shapes
    }

    fn tell_shape(&self) {
        if let Some(shapes) = &self.shapes {
            shapes.set(self.like(false));
        }
    }

    /// Makes a table of the same columns without rows, for reading ahead; with `room`, for as many rows as this one has
    /// memory for. It knows nothing of the schema but the columns.
    pub(super) fn like(&self, room: bool) -> Self {
        Self {
            schema: Schema::default(),
            root: self.root.like(room),
            rows: 0,
            bytes: 0,
            primary_key: self.primary_key.clone(),
            bounds: self.bounds,
            reader: Reader::default(),
            shapes: None,
            guard: None,
            expected: 0,
        }
    }

    /// Says that the rows are going to take so many bytes, if more than a page comes.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.expected = bytes;
    }

    /// Refuses pages that differ from what is known.
    pub(crate) fn guard(&mut self, guard: Guard) {
        self.guard = Some(guard);
    }

    /// Notes which fields the rows have and lack.
    pub(crate) fn observe(&mut self) {
        self.root.settle(self.rows);
        presence::observe(&self.root, self.rows, &mut self.schema.fields);
    }

    /// Says that columns of the schema are in a file; `any`, with rows.
    pub(crate) fn settle(&mut self, any: bool) {
        self.schema.settle(any);
    }

    pub(super) fn primary_key(&self) -> &[String] {
        &self.primary_key
    }

    /// Returns the schema of the rows.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the bytes that the rows take, roughly.
    pub fn bytes(&self) -> usize {
        // What rows lack is filled in at the end, and counts from the start.
        self.bytes.max(self.rows.saturating_mul(self.root.row_bytes))
    }

    /// Changes the columns to a wider schema, with the rows they have.
    pub fn widen(&mut self, schema: Schema) {
        self.root.settle(self.rows);
        self.root.widen(&schema.fields, self.rows);
        self.schema = schema;
        self.bytes = self.root.bytes();
        for (part, name) in self.primary_key.iter().enumerate() {
            if let Some(member) =
                self.root.places.get(name.as_bytes()).and_then(|place| self.root.members.get_mut(*place))
            {
                member.key = part + 1;
            }
        }
        self.tell_shape();
    }

    /// Takes over records that a read has decoded; none, and nothing is taken, where they no longer fit: then their page
    /// has to be appended.
    pub fn adopt(&mut self, ready: Ready) -> Option<Appended> {
        let shapes = self.shapes.as_ref().filter(|shapes| shapes.is_now(ready.version))?.clone();
        if self.guard.as_ref().is_some_and(|guard| guard.lacks(&ready.table.root, ready.table.rows)) {
            return None;
        }
        if !self.take_rows(&ready.table) {
            return None;
        }
        shapes.give(ready.version, ready.table, ready.bytes);
        Some(ready.appended)
    }

    /// Takes over the records of a page: all of them, or none.
    pub fn append(&mut self, page: &Page) -> Result<Appended, Refused> {
        let before = self.rows;
        let fault = match self.decode(page) {
            Ok(appended) => match self.lacking(page) {
                None => {
                    self.bytes = self.root.bytes();
                    // Columns do not tell what these lack.
                    for start in std::mem::take(&mut self.reader.asides) {
                        absent::in_fields(&mut self.schema.fields, page.bytes(), start);
                    }
                    return Ok(appended);
                }
                Some(error) => Fault::Error(error),
            },
            Err(fault) => fault,
        };
        self.rows = before;
        self.root.settle(before);
        match fault {
            Fault::Stop(stop) if stop.cause() == Cause::Drift => {
                let schema = infer::widened(page, &self.schema, self.bounds).map_err(Refused::Error)?;
                if schema == self.schema {
                    // Both passes must see the same types; that they do not is told rather than tried for ever.
                    return Err(Refused::Error(records::explain(page, Fault::Stop(stop), self.bounds)));
                }
                if let Some(error) = self.guard.as_ref().and_then(|guard| guard.find(page, &self.schema)) {
                    return Err(Refused::Error(error));
                }
                Err(Refused::Widen(schema))
            }
            Fault::Stop(stop) if stop.cause() == Cause::Full && before > 0 => Err(Refused::Full),
            fault => Err(Refused::Error(records::explain(page, fault, self.bounds))),
        }
    }

    /// What is wrong with a page whose records lack what all had before, once it is decoded.
    fn lacking(&self, page: &Page) -> Option<RecordError> {
        let lacks = |guard: &&Guard| guard.lacks(&self.root, self.rows) || !self.reader.asides.is_empty();
        let guard = self.guard.as_ref().filter(lacks)?;
        guard.find(page, &self.schema)
    }

    fn decode(&mut self, page: &Page) -> Result<Appended, Fault> {
        let extras = self.extras(page)?;
        let (bytes, depth) = (page.bytes(), self.bounds.max_depth);
        let form = (page.lines, page.leave_out.as_slice());
        let (mut appended, end) = self.records(bytes, page.range.start, form, depth, &extras, |_| {})?;
        let end = space(bytes, end);
        if end < bytes.len() {
            return Err(Stop::new(end, Cause::Trailing).into());
        }
        appended.bytes = page.range.len() as u64;
        appended.content_hash = content_hash(page);
        Ok(appended)
    }

    /// Takes over the array of records that starts at a position, but for those at the places of `leave_out`, into a table
    /// without rows; returns its end. Nothing is said about why that cannot be: whoever takes the page without having read
    /// ahead will say it.
    pub(super) fn read_array(
        &mut self,
        bytes: &[u8],
        start: usize,
        leave_out: &[u64],
        max_depth: usize,
        seen: impl FnMut(Range<usize>),
    ) -> Option<(Appended, usize)> {
        let read = self.records(bytes, start, (false, leave_out), max_depth.min(self.bounds.max_depth), &[], seen);
        // What does not fit its column is looked at by whoever knows all of the schema.
        let (mut appended, end) = read.ok().filter(|_| self.reader.asides.is_empty())?;
        self.bytes = self.root.fill(self.rows);
        appended.bytes = (end - start) as u64;
        appended.content_hash = xxh3_128(bytes.get(start..end)?);
        Some((appended, end))
    }

    /// Drops the rows.
    pub(super) fn clear(&mut self) {
        (self.rows, self.bytes) = (0, 0);
        self.root.clear();
    }

    /// Appends the rows of a table of the same schema. False, and nothing is taken, where a column would pass 2 GiB.
    fn take_rows(&mut self, other: &Self) -> bool {
        // An element of a list takes a bit of a byte at least.
        let few = self.bytes.saturating_add(other.bytes) < i32::MAX as usize / 8;
        if !few && !self.root.fits(&other.root) {
            return false;
        }
        if self.rows > 0 && other.bytes > 0 && self.expected > 0 {
            self.root.reserve(&other.root, std::mem::take(&mut self.expected) / other.bytes);
        }
        self.root.take_rows(self.rows, &other.root);
        self.rows += other.rows;
        self.bytes += other.bytes;
        true
    }

    /// Reads records, which may be lines and of which some may be left out; returns what is known of them, but for their
    /// bytes and hash, and where they end.
    fn records(
        &mut self,
        bytes: &[u8],
        start: usize,
        (lines, leave_out): (bool, &[u64]),
        max_depth: usize,
        extras: &[Extra<'_>],
        mut seen: impl FnMut(Range<usize>),
    ) -> Result<(Appended, usize), Fault> {
        let Self { root, rows, primary_key, bounds, reader, .. } = self;
        let mut appended = Appended::default();
        reader.room = MAX_PAGE_BYTES;
        (reader.aside, reader.asides) = (false, Vec::new());
        reader.keys.resize(primary_key.len(), (0, 0));
        let mut last = None;
        let (count, end) = records::span(bytes, start, lines, bounds.max_bytes, leave_out, |bytes, start| {
            let row = *rows;
            reader.take_room(root.row_bytes, start)?;
            reader.keys.fill((0, 0));
            let end = reader.object::<true>(root, row, bytes, start + 1, max_depth.saturating_sub(1))?;
            for extra in extras {
                let Some(member) = extra.place.and_then(|place| root.members.get_mut(place)) else {
                    return Err(Stop::new(start, Cause::Drift).into());
                };
                if member.column.len() > row {
                    return Err(Fault::Clash(start, extra.name.to_owned()));
                }
                member.column.pad(row);
                let end = reader.value(&mut member.column, extra.json, 0, max_depth);
                let place = extra.place.unwrap_or_default();
                end.or_else(|stop| reader.beside(root, place, row, (extra.json, 0), max_depth, stop))
                    .map_err(|stop| Stop::new(start, stop.cause()))?;
            }
            if !primary_key.is_empty() {
                match reader.key(bytes, extras) {
                    Some(hash) => appended.key_hashes.push(hash),
                    None => appended.missing_keys += 1,
                }
            }
            *rows += 1;
            if std::mem::take(&mut reader.aside) {
                reader.asides.push(start);
            }
            seen(start..end);
            last = Some((start, end));
            Ok(end)
        })?;
        appended.records = count;
        let last = last.and_then(|(start, end)| bytes.get(start..end));
        appended.edge = last.map(|last| appended.edge_of(last));
        Ok((appended, end))
    }

    fn extras<'a>(&mut self, page: &'a Page) -> Result<Vec<Extra<'a>>, Fault> {
        check_extras(page, &mut self.reader.walker, self.bounds).map_err(Fault::Error)?;
        let place = |name: &str| self.root.places.get(name.as_bytes()).copied();
        let extra = |(name, json): &'a (String, String)| {
            let key = self.primary_key.iter().position(|part| part == name).map_or(0, |part| part + 1);
            Extra { name, place: place(name), json: json.trim_ascii().as_bytes(), key }
        };
        Ok(page.extra.iter().map(extra).collect())
    }

    pub(super) fn columns_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        self.root.members.iter_mut().map(|member| &mut member.column)
    }

    /// Hands out the columns, all of the same length, and starts anew with empty ones of the same types.
    pub(crate) fn take(&mut self) -> (usize, &mut Group) {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        self.root.settle(rows);
        (rows, &mut self.root)
    }
}

/// Checks that the constant fields of a page are JSON and have different names.
pub(crate) fn check_extras(page: &Page, walker: &mut Walker, bounds: Bounds) -> Result<(), RecordError> {
    for (place, (name, json)) in page.extra.iter().enumerate() {
        let error = |reason: String| RecordError::Extra { name: name.clone(), reason };
        let bytes = json.trim_ascii().as_bytes();
        let end = walker.walk(bytes, 0, bounds.max_depth).map_err(|stop| error(crate::json::reason(bytes, stop)))?;
        if end < bytes.len() {
            return Err(error("more than one value".to_owned()));
        }
        if page.extra.iter().take(place).any(|other| other.0 == *name) {
            return Err(error("added twice".to_owned()));
        }
    }
    Ok(())
}

/// A hash of a page's records and constant fields, to tell pages apart.
pub(crate) fn content_hash(page: &Page) -> u128 {
    let records = xxh3_128(page.body.get(page.range.clone()).unwrap_or_default());
    page.extra.iter().fold(records, |hash, (name, json)| {
        let mut all = hash.to_le_bytes().to_vec();
        for part in [name, json] {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part.as_bytes());
        }
        xxh3_128(&all)
    })
}

/// Hashes a key so that no two different ones, `1` and `"1"` among them, are likely to share a hash; none where a part is
/// null or absent.
pub(crate) fn key_hash<'a>(
    mut parts: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    scratch: &mut Vec<u8>,
) -> Option<u64> {
    if parts.len() == 1 {
        return one_part(parts.next()??, scratch);
    }
    scratch.clear();
    for part in parts {
        key_part(part?, scratch)?;
    }
    Some(xxh3_64(scratch))
}

/// Hashes a key of one part, as nearly all are: a text or a number needs no copy.
fn one_part(json: &[u8], scratch: &mut Vec<u8>) -> Option<u64> {
    let inside = match json {
        [b'"', inside @ .., b'"'] => inside,
        [b'-' | b'0'..=b'9' | b't' | b'f', ..] => return Some(xxh3_64_with_seed(json, u64::from(b'v'))),
        _ => {
            scratch.clear();
            key_part(json, scratch)?;
            return Some(xxh3_64(scratch));
        }
    };
    let text = if memchr::memchr(b'\\', inside).is_some() {
        scratch.clear();
        text::unescape(inside, scratch).ok()?;
        scratch.as_slice()
    } else {
        inside
    };
    Some(xxh3_64_with_seed(text, u64::from(b's')))
}

/// Appends one part of a key so that no two different values, or lists of values, give the same bytes.
fn key_part(json: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    match json.first() {
        None | Some(b'n') => return None,
        Some(b'"') => {
            out.push(b's');
            text::unescape(json.get(1..json.len() - 1).unwrap_or_default(), out).ok()?;
        }
        Some(_) => {
            out.push(b'v');
            text::compact(json, out);
        }
    }
    let length = (out.len() - at) as u64;
    out.get_mut(at..at + 8)?.copy_from_slice(&length.to_le_bytes());
    Some(())
}

impl Reader {
    /// Hashes the primary key of the record that was read last; none where a part is null or absent.
    fn key(&mut self, bytes: &[u8], extras: &[Extra<'_>]) -> Option<u64> {
        let parts = self.keys.iter().enumerate().map(|(part, span)| {
            let added = || extras.iter().find(|extra| extra.key == part + 1).map(|extra| extra.json);
            if span.1 > 0 { bytes.get(span.0..span.1) } else { added() }
        });
        key_hash(parts, &mut self.scratch)
    }

    /// Counts what a row takes as columns.
    fn take_room(&mut self, bytes: usize, at: usize) -> Result<(), Stop> {
        self.room = self.room.checked_sub(bytes).ok_or(Stop::new(at, Cause::Room))?;
        Ok(())
    }

    /// Reads an object from the byte after its brace into a row of a group; returns the position after it.
    fn object<const ROOT: bool>(
        &mut self,
        group: &mut Group,
        row: usize,
        bytes: &[u8],
        start: usize,
        depth: usize,
    ) -> Result<usize, Stop> {
        let mut at = space(bytes, start);
        if byte(bytes, at) == b'}' {
            return Ok(at + 1);
        }
        let (mut place, after) = self.member(group, usize::MAX, group.first, bytes, at)?;
        at = after;
        loop {
            let Some(mut member) = group.members.get_mut(place) else {
                return Err(Stop::new(at, Cause::Drift));
            };
            let filled = member.column.len();
            if filled != row {
                if filled > row {
                    return Err(Stop::new(at, Cause::Duplicate));
                }
                member.column.pad(row);
            }
            let value = at;
            at = match self.next_value(&mut member.column, bytes, at, depth) {
                Ok(end) => end,
                Err(stop) => {
                    let end = self.beside(group, place, row, (bytes, at), depth, stop)?;
                    let Some(same) = group.members.get_mut(place) else {
                        return Err(Stop::new(at, Cause::Drift));
                    };
                    member = same;
                    end
                }
            };
            if ROOT
                && member.key > 0
                && let Some(key) = self.keys.get_mut(member.key - 1)
            {
                *key = (value, at);
            }
            let guess = member.next;
            if let Some(next) = group.members.get(guess)
                && scan::starts_with(bytes, at, &next.lead)
            {
                at = space(bytes, at + next.lead.len());
                place = guess;
                continue;
            }
            at = space(bytes, at);
            match byte(bytes, at) {
                b',' => at = space(bytes, at + 1),
                b'}' => return Ok(at + 1),
                _ => return Err(scan::unexpected(bytes, at)),
            }
            (place, at) = self.member(group, place, guess, bytes, at)?;
        }
    }

    /// Reads a name and its colon; returns the member's place and the position of its value.
    #[inline(always)]
    fn member(
        &mut self,
        group: &mut Group,
        before: usize,
        guess: usize,
        bytes: &[u8],
        at: usize,
    ) -> Result<(usize, usize), Stop> {
        let (place, at) = match group.members.get(guess) {
            Some(member) if scan::starts_with(bytes, at, &member.quoted) => (guess, at + member.quoted.len()),
            _ => self.name(group, before, bytes, at)?,
        };
        let at = space(bytes, at);
        if byte(bytes, at) != b':' {
            return Err(scan::unexpected(bytes, at));
        }
        Ok((place, space(bytes, at + 1)))
    }

    /// Reads a name that was not the one expected; returns the member's place and the position after the name.
    #[inline(never)]
    fn name(&mut self, group: &mut Group, before: usize, bytes: &[u8], at: usize) -> Result<(usize, usize), Stop> {
        if byte(bytes, at) != b'"' {
            return Err(scan::unexpected(bytes, at));
        }
        let (end, escaped) = scan::string(bytes, at + 1)?;
        let raw = bytes.get(at + 1..end).unwrap_or_default();
        let place = if escaped {
            self.scratch.clear();
            text::unescape(raw, &mut self.scratch).map_err(|stop| Stop::new(at + 1 + stop.at(), stop.cause()))?;
            group.places.get(self.scratch.as_slice())
        } else {
            group.places.get(raw)
        };
        let Some(place) = place.copied() else {
            return Err(Stop::new(at, if group.closed { Cause::Misfit } else { Cause::Drift }));
        };
        match group.members.get_mut(before) {
            Some(member) => member.next = place,
            None => group.first = place,
        }
        if escaped && let Some(member) = group.members.get_mut(place) {
            // Written as this API writes it, the name is found without decoding the next time.
            member.written(bytes.get(at..=end).unwrap_or_default());
        }
        Ok((place, end + 1))
    }

    /// Reads a value that does not fit a member's column into the one beside it, and leaves its own row null.
    #[cold]
    #[inline(never)]
    fn beside(
        &mut self,
        group: &mut Group,
        place: usize,
        row: usize,
        (bytes, at): (&[u8], usize),
        depth: usize,
        stop: Stop,
    ) -> Result<usize, Stop> {
        if stop.cause() != Cause::Misfit {
            return Err(stop);
        }
        let drift = Stop::new(stop.at(), Cause::Drift);
        let member = group.members.get_mut(place).ok_or(drift)?;
        let beside = member.beside.get(member.column.form(bytes, at)).ok_or(drift)?;
        member.column.truncate(row);
        member.column.push_null();
        let column = &mut group.members.get_mut(beside).ok_or(drift)?.column;
        column.pad(row);
        self.aside |= matches!(byte(bytes, at), b'[' | b'{');
        self.value(column, bytes, at, depth).map_err(|stop| match stop.cause() {
            Cause::Misfit => drift,
            _ => stop,
        })
    }

    /// Reads a value as [`Reader::value`] does. Most are texts and short whole numbers, for which a call would cost as much as
    /// reading them.
    #[inline(always)]
    fn next_value(&mut self, column: &mut Column, bytes: &[u8], at: usize, depth: usize) -> Result<usize, Stop> {
        if let Data::Text(texts) = &mut column.data
            && byte(bytes, at) == b'"'
        {
            let end = string(texts, bytes, at)?;
            column.filled();
            return Ok(end);
        }
        if let Data::Int { values, .. } = &mut column.data
            && let Some((end, value)) = number::short(bytes, at)
        {
            values.push(value);
            column.filled();
            return Ok(end);
        }
        self.value(column, bytes, at, depth)
    }

    /// Reads a value into the next row of a column; returns the position after it.
    #[inline(never)]
    fn value(&mut self, column: &mut Column, bytes: &[u8], at: usize, depth: usize) -> Result<usize, Stop> {
        let first = byte(bytes, at);
        if first == b'n' {
            let end = scan::literal(bytes, at, b"null")?;
            column.push_null();
            return Ok(end);
        }
        let misfit = || Stop::new(at, Cause::Misfit);
        let end = match &mut column.data {
            Data::Text(texts) => match first {
                b'"' => string(texts, bytes, at)?,
                b't' | b'f' | b'-' | b'0'..=b'9' => {
                    let end = scalar(bytes, at)?;
                    if !texts.knows(bytes, at) {
                        return Err(Stop::new(at, Cause::Drift));
                    }
                    texts.values.extend_from_slice(bytes.get(at..end).unwrap_or_default());
                    close(texts, at)?;
                    column.filled_literal();
                    return Ok(end);
                }
                _ => return Err(misfit()),
            },
            Data::Int { values, wide } => match number::read(bytes, at) {
                Ok((end, Number::Int(value))) if is_exact(value) || *wide => {
                    values.push(value);
                    end
                }
                // It is a whole number, and the first of those that are not exact as fractions.
                Ok((_, Number::Int(_))) => return Err(Stop::new(at, Cause::Drift)),
                _ => return Err(misfit()),
            },
            Data::Bool(values) => {
                let (value, word): (bool, &[u8]) = if first == b't' { (true, b"true") } else { (false, b"false") };
                if first != b't' && first != b'f' {
                    return Err(misfit());
                }
                let end = scan::literal(bytes, at, word)?;
                values.push(value);
                end
            }
            Data::Float(values) => match number::read(bytes, at) {
                Ok((end, Number::Float(value))) => {
                    values.push(value);
                    end
                }
                Ok((end, Number::Int(value))) if is_exact(value) => {
                    values.push(value as f64);
                    end
                }
                _ => return Err(misfit()),
            },
            Data::Timestamp(values) => {
                if first != b'"' {
                    return Err(misfit());
                }
                let (end, _) = scan::string(bytes, at + 1)?;
                // An escape in a date is no way to write it; such a value is text.
                values.push(bytes.get(at + 1..end).and_then(instant::read).ok_or_else(misfit)?);
                end + 1
            }
            Data::Json(texts) => {
                let end = self.walker.walk(bytes, at, depth)?;
                let inside = bytes.get(at..end).unwrap_or_default();
                utf8(inside, at)?;
                if !texts.knows(bytes, at) {
                    return Err(Stop::new(at, Cause::Drift));
                }
                text::compact(inside, &mut texts.values);
                close(texts, at)?;
                end
            }
            Data::Struct(group) => {
                if first != b'{' {
                    return Err(misfit());
                }
                if depth == 0 {
                    return Err(Stop::new(at, Cause::Depth));
                }
                let row = column.valid.len();
                self.object::<false>(group, row, bytes, at + 1, depth - 1)?
            }
            Data::List { offsets, items } => {
                if first != b'[' {
                    return Err(misfit());
                }
                if depth == 0 {
                    return Err(Stop::new(at, Cause::Depth));
                }
                let end = self.array(items, bytes, at, depth - 1)?;
                offsets.push(i32::try_from(items.len()).map_err(|_| Stop::new(at, Cause::Full))?);
                end
            }
            Data::Unknown => return Err(Stop::new(at, Cause::Drift)),
        };
        column.filled();
        Ok(end)
    }

    fn array(&mut self, items: &mut Column, bytes: &[u8], start: usize, depth: usize) -> Result<usize, Stop> {
        let mut at = space(bytes, start + 1);
        if byte(bytes, at) == b']' {
            return Ok(at + 1);
        }
        loop {
            if let Data::Struct(group) = &items.data {
                self.take_room(group.row_bytes, at)?;
            }
            at = space(bytes, self.next_value(items, bytes, at, depth)?);
            match byte(bytes, at) {
                b',' => at = space(bytes, at + 1),
                b']' => return Ok(at + 1),
                _ => return Err(scan::unexpected(bytes, at)),
            }
        }
    }
}

/// Reads a string into a row of texts. Each block is copied before it is searched for the end, and what is too much is cut
/// off: texts are short, and a call to copy memory costs more than the block.
#[inline(always)]
fn string(texts: &mut Texts, bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let start = at + 1;
    let before = texts.values.len();
    let mut end = start;
    let mut not_ascii = 0;
    while let Some(block) = bytes.get(end..).and_then(|rest| rest.first_chunk::<32>()) {
        texts.values.extend_from_slice(block);
        let (hits, beyond) = scan::specials_of_32(block);
        if hits == 0 {
            not_ascii |= beyond;
            end += 32;
            continue;
        }
        let length = hits.trailing_zeros();
        not_ascii |= beyond & ((1 << length) - 1);
        end += length as usize;
        if byte(bytes, end) != b'"' {
            break;
        }
        if not_ascii != 0 {
            utf8(bytes.get(start..end).unwrap_or_default(), start)?;
        }
        texts.values.truncate(before + end - start);
        close(texts, at)?;
        return Ok(end + 1);
    }
    texts.values.truncate(before);
    string_slow(texts, bytes, at)
}

/// Reads a string that has escapes, or ends near the end of the bytes.
#[inline(never)]
fn string_slow(texts: &mut Texts, bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let (end, escaped) = scan::string(bytes, at + 1)?;
    let inside = bytes.get(at + 1..end).unwrap_or_default();
    utf8(inside, at + 1)?;
    if escaped {
        text::unescape(inside, &mut texts.values).map_err(|stop| Stop::new(at + 1 + stop.at(), stop.cause()))?;
    } else {
        texts.values.extend_from_slice(inside);
    }
    close(texts, at)?;
    Ok(end + 1)
}

/// Checks that a text is UTF-8. Only texts can be anything else: what stands outside of strings is ASCII or refused, and
/// names are compared with known ones.
fn utf8(inside: &[u8], at: usize) -> Result<(), Stop> {
    scan::utf8(inside).map_err(|stop| Stop::new(at + stop.at(), stop.cause()))
}

#[inline(always)]
fn close(texts: &mut Texts, at: usize) -> Result<(), Stop> {
    if texts.end() { Ok(()) } else { Err(Stop::new(at, Cause::Full)) }
}

/// Reads a number or a boolean.
fn scalar(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match byte(bytes, at) {
        b't' => scan::literal(bytes, at, b"true"),
        b'f' => scan::literal(bytes, at, b"false"),
        _ => scan::number(bytes, at),
    }
}
