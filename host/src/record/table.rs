//! From the bytes of a page to columns, once over the bytes.
//!
//! Decoding never changes the schema. A value that has no place in it stops the decoder; the page's rows are dropped, the
//! page is gone over again to find the types that hold all of it, the columns are widened, and the page is decoded anew.
//! That happens on the first page and rarely after it, so the common way through has no schema to build and nothing but
//! row counts to undo.

use std::sync::Arc;

#[cfg(test)]
use fearless_simd::Level;
use fearless_simd::{Simd, dispatch};
use xxhash_rust::xxh3::xxh3_128;

use super::ahead::{Ready, Shapes};
use super::column::{Column, Group};
use super::guard::Guard;
use super::reader::{Extra, Reader};
use super::records::{self, Bounds, Fault};
use super::walk::Walker;
use super::{Appended, Page, RecordError, absent, infer, presence};
use crate::json::scan::{Cause, Stop, space, utf8};
use crate::json::{Elements, Listed, Spot};
use crate::schema::Schema;

/// What the rows of one page may take as columns. A field that most records lack costs no byte of the page and eight of
/// its column, so that a page of megabytes could take gigabytes. Real pages take about as much as their text; this is
/// eight times the greatest response.
const MAX_PAGE_BYTES: usize = 512 << 20;

/// Distance of the records whose positions are noted for look-ups into a body.
const MARK_BYTES: usize = 4 << 10;

/// Rows under construction.
#[derive(Debug)]
pub struct Table {
    schema: Schema,
    root: Group,
    rows: usize,
    /// What the columns held when rows were last taken in.
    bytes: usize,
    primary_key: Vec<String>,
    /// The field that orders the records, and which of the noted values it is; zero where its places are not asked for.
    order: Option<Arc<str>>,
    ordered: usize,
    bounds: Bounds,
    reader: Reader,
    /// Where reads learn what the rows look like.
    shapes: Option<Arc<Shapes>>,
    guard: Option<Guard>,
    /// Bytes up to which the rows are going to grow; zero once there is room for them.
    expected: usize,
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
            order: None,
            ordered: 0,
            bounds,
            reader: Reader::default(),
            shapes: None,
            guard: None,
            expected: 0,
        };
        table.widen(table.schema.clone());
        table
    }

    /// Returns what reads need to decode pages for this table. Of each record they note where a field is that orders the
    /// records, if there is one.
    pub fn share(&mut self, order: Option<&str>) -> Arc<Shapes> {
        self.order = order.map(Arc::from);
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
        let mut root = self.root.like(room);
        let place = self.order.as_ref().and_then(|field| root.places.get(field.as_bytes()).copied());
        let ordered = match place.and_then(|place| root.members.get_mut(place)) {
            Some(member) => {
                member.noted = if member.noted > 0 { member.noted } else { self.primary_key.len() + 1 };
                member.noted
            }
            None => 0,
        };
        Self {
            schema: Schema::default(),
            root,
            rows: 0,
            bytes: 0,
            primary_key: self.primary_key.clone(),
            order: self.order.clone(),
            ordered,
            bounds: self.bounds,
            reader: Reader::default(),
            shapes: None,
            guard: None,
            expected: 0,
        }
    }

    /// Prepares to take note of where records are, and the field that orders them; none where that is not asked for.
    pub(super) fn listed(&self) -> Option<Listed> {
        let field = self.order.clone().filter(|_| self.ordered > 0)?;
        Some(Listed { field, spots: Vec::new() })
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
                member.noted = part + 1;
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
                    if self.reader.aside {
                        absent::in_page(&mut self.schema.fields, page);
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
        let lacks = |guard: &&Guard| self.reader.aside || guard.lacks(&self.root, self.rows);
        let guard = self.guard.as_ref().filter(lacks)?;
        guard.find(page, &self.schema)
    }

    fn decode(&mut self, page: &Page) -> Result<Appended, Fault> {
        let extras = self.extras(page)?;
        let (bytes, depth) = (page.bytes(), self.bounds.max_depth);
        let form = (page.lines, page.leave_out.as_slice());
        let mut elements = Elements::default();
        let (mut appended, end) = self.records(bytes, page.range.start, form, depth, &extras, &mut elements)?;
        let end = space(bytes, end);
        if end < bytes.len() {
            return Err(Stop::new(end, Cause::Trailing).into());
        }
        records::utf8(page)?;
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
        elements: &mut Elements,
    ) -> Option<(Appended, usize)> {
        let read = self.records(bytes, start, (false, leave_out), max_depth.min(self.bounds.max_depth), &[], elements);
        // What does not fit its column is looked at by whoever knows all of the schema.
        let (mut appended, end) = read.ok().filter(|_| !self.reader.aside)?;
        utf8(bytes.get(start..end)?).ok()?;
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
        form: (bool, &[u64]),
        max_depth: usize,
        extras: &[Extra<'_>],
        elements: &mut Elements,
    ) -> Result<(Appended, usize), Fault> {
        // Wider registers than these hold more than a text is long.
        let level = self.reader.level;
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if let Some(simd) = level.as_avx2() {
            return simd.vectorize(
                #[inline(always)]
                move || self.records_by(simd, bytes, start, form, max_depth, extras, elements),
            );
        }
        dispatch!(level, simd => self.records_by(simd, bytes, start, form, max_depth, extras, elements))
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "they are those of `records`, and how to go about it")]
    fn records_by<S: Simd>(
        &mut self,
        simd: S,
        bytes: &[u8],
        start: usize,
        (lines, leave_out): (bool, &[u64]),
        max_depth: usize,
        extras: &[Extra<'_>],
        elements: &mut Elements,
    ) -> Result<(Appended, usize), Fault> {
        let Self { root, rows, primary_key, ordered, bounds, reader, .. } = self;
        let mut appended = Appended::default();
        (reader.room, reader.aside) = (MAX_PAGE_BYTES, false);
        reader.noted.start(primary_key.len(), *ordered);
        let mut marked = start;
        let (count, end) = records::span(
            bytes,
            start,
            lines,
            bounds.max_bytes,
            leave_out,
            #[inline(always)]
            |bytes, start| {
                reader.take_room(root.row_bytes, start)?;
                reader.noted.clear();
                let end = reader.object::<S, true>(simd, root, *rows, bytes, start, max_depth.saturating_sub(1))?;
                if !extras.is_empty() {
                    add(simd, reader, root, *rows, extras, start, max_depth)?;
                }
                if !primary_key.is_empty() {
                    match reader.key(bytes, extras) {
                        Some(hash) => appended.key_hashes.push(hash),
                        None => appended.missing_keys += 1,
                    }
                }
                *rows += 1;
                if start - marked >= MARK_BYTES {
                    elements.marks.push((elements.count, start));
                    marked = start;
                }
                elements.first.get_or_insert(start..end);
                elements.last = Some(start..end);
                if let Some(listed) = &mut elements.listed {
                    listed.spots.push(Spot { element: start..end, value: reader.noted.span(*ordered) });
                }
                elements.count += 1;
                Ok(end)
            },
        )?;
        appended.records = count;
        let last = elements.last.clone().and_then(|last| bytes.get(last));
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

    /// Decodes as processors do that can do no more than they must.
    #[cfg(test)]
    pub(super) fn plainly(&mut self) {
        self.reader.level = Level::baseline();
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

/// Adds the constant fields of a page to the record that was read last, which starts at a position.
#[inline(never)]
fn add<S: Simd>(
    simd: S,
    reader: &mut Reader,
    root: &mut Group,
    row: usize,
    extras: &[Extra<'_>],
    start: usize,
    max_depth: usize,
) -> Result<(), Fault> {
    for extra in extras {
        let Some(member) = extra.place.and_then(|place| root.members.get_mut(place)) else {
            return Err(Stop::new(start, Cause::Drift).into());
        };
        if member.column.len() > row {
            return Err(Fault::Clash(start, extra.name.to_owned()));
        }
        member.column.pad(row);
        let end = reader.value(simd, &mut member.column, extra.json, 0, max_depth);
        let place = extra.place.unwrap_or_default();
        end.or_else(|stop| reader.beside(simd, root, (place, row), (extra.json, 0), max_depth, stop))
            .map_err(|stop| Stop::new(start, stop.cause()))?;
    }
    Ok(())
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
