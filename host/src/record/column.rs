//! Columns under construction: plain vectors of values, offsets and validity.

use std::collections::HashMap;
use std::sync::Arc;

use super::infer::kinds_at;
use super::instant;
use super::lead::Lead;
use super::number::write_float;
use super::validity::Validity;
use crate::json::scan::byte;
use crate::json::text;
use crate::schema::fields::Beside;
use crate::schema::{Fields, Form, Kinds, Type};

/// Texts one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub(crate) values: Vec<u8>,
    /// One more than there are rows.
    pub(crate) offsets: Vec<i32>,
    /// The rows that were numbers or booleans, in order: a column of JSON text has to know.
    literals: Vec<usize>,
    /// Kinds of values that the column is known to hold, besides strings.
    pub(super) kinds: Kinds,
}

impl Default for Texts {
    fn default() -> Self {
        Self { values: Vec::new(), offsets: vec![0], literals: Vec::new(), kinds: Kinds::NONE }
    }
}

impl Texts {
    fn get(&self, row: usize) -> &[u8] {
        let at = |place: usize| self.offsets.get(place).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        self.values.get(at(row)..at(row + 1)).unwrap_or_default()
    }

    /// Takes the values and offsets.
    pub(super) fn take(&mut self) -> (Vec<u8>, Vec<i32>) {
        let kinds = self.kinds;
        let all = std::mem::replace(self, Self { kinds, ..Self::default() });
        (all.values, all.offsets)
    }

    /// Whether the column is known to hold values like the one at a position.
    pub(super) fn knows(&self, bytes: &[u8], at: usize) -> bool {
        self.kinds.contains(kinds_at(bytes, at))
    }

    /// Ends the row that has been appended to the values; false where the column is full.
    #[inline(always)]
    pub(crate) fn end(&mut self) -> bool {
        match i32::try_from(self.values.len()) {
            Ok(end) => {
                self.offsets.push(end);
                true
            }
            Err(_) => false,
        }
    }

    fn extend(&mut self, other: &Self, rows: usize) {
        if !other.literals.is_empty() {
            self.literals.extend(other.literals.iter().map(|row| rows + row));
        }
        self.values.extend_from_slice(&other.values);
        extend_offsets(&mut self.offsets, &other.offsets);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.offsets.truncate(1);
        self.literals.clear();
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        let end = self.offsets.last().and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        self.values.truncate(end);
        self.literals.truncate(self.literals.partition_point(|row| *row < len));
    }
}

/// Appends the offsets of rows that come behind those there are.
fn extend_offsets(offsets: &mut Vec<i32>, other: &[i32]) {
    let base = offsets.last().copied().unwrap_or(0);
    // The values have been found to fit.
    offsets.extend(other.get(1..).unwrap_or_default().iter().map(|offset| base.wrapping_add(*offset)));
}

/// Whether more values may come behind those there are: offsets have 31 bits.
fn fit(one: usize, other: usize) -> bool {
    i32::try_from(one + other).is_ok()
}

/// The values of a column. Rows without a value have a default here.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Unknown,
    Bool(Vec<bool>),
    Int { values: Vec<i64>, wide: bool },
    Float(Vec<f64>),
    Timestamp(Vec<i64>),
    Text(Texts),
    Json(Texts),
    Struct(Box<Group>),
    List { offsets: Vec<i32>, items: Box<Column> },
}

/// One column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) valid: Validity,
    pub(crate) data: Data,
}

/// The columns of an object's fields. A field that a row lacks is filled in later, when the field comes again or at the
/// end: an absent field costs nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) members: Vec<Member>,
    /// Places of the members by name.
    pub(crate) places: Arc<HashMap<Box<[u8]>, usize>>,
    /// The member that objects were last seen to start with, and how.
    pub(crate) first: usize,
    pub(super) opening: Lead,
    /// Bytes that a row takes at least, once what it lacks is filled in.
    pub(crate) row_bytes: usize,
    /// Whether an object with an unknown name does not belong here.
    pub(crate) closed: bool,
}

/// A field of an object, and its column.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Member {
    /// The name as JSON, with its quotes.
    pub(crate) quoted: Arc<[u8]>,
    /// What stood between the value before it and its own.
    pub(super) lead: Lead,
    /// The member that was last seen to follow this one.
    pub(crate) next: usize,
    /// Which of the values that are noted of each record this is, plus one; zero for none. The parts of the primary key
    /// come first.
    pub(crate) noted: usize,
    /// Where values go that do not fit the column.
    pub(crate) beside: Beside,
    /// Whether it is a field of the records. A column beside another is found by no name, though a field may have its name.
    pub(super) own: bool,
    /// Whether a row had the field, be it null.
    pub(crate) seen: bool,
    /// Rows that are filled in.
    settled: usize,
    pub(crate) column: Column,
}

impl Group {
    pub(crate) fn new(fields: &Fields) -> Self {
        let mut group = Self::default();
        group.widen(fields, 0);
        group
    }

    /// Takes over the types of the fields; new ones come at the end, with nulls for the rows there are.
    pub(crate) fn widen(&mut self, fields: &Fields, rows: usize) {
        self.closed = fields.is_closed();
        // Fields only ever come behind those there are, so that places are the same in both.
        for (place, field) in fields.iter().enumerate() {
            if let Some(member) = self.members.get_mut(place) {
                member.column.widen(&field.kind);
                member.beside = field.beside();
                continue;
            }
            let mut quoted = Vec::new();
            text::quote(field.name.as_bytes(), &mut quoted);
            self.members.push(Member {
                lead: if field.is_own() {
                    Lead::new(&[b",", quoted.as_slice(), b":"].concat())
                } else {
                    Lead::default()
                },
                quoted: quoted.into(),
                next: place + 1,
                noted: 0,
                beside: field.beside(),
                own: field.is_own(),
                seen: false,
                settled: rows,
                column: Column::nulls(&field.kind, rows),
            });
            if field.is_own() {
                Arc::make_mut(&mut self.places).insert(field.name.as_bytes().into(), place);
            }
        }
        self.row_bytes = self.members.iter().map(|member| member.column.row_bytes()).sum();
    }

    /// Makes a group of the same fields without rows; with `room`, for as many values as this one has memory for.
    pub(super) fn like(&self, room: bool) -> Self {
        let like = |member: &Member| Member {
            quoted: Arc::clone(&member.quoted),
            seen: false,
            settled: 0,
            column: member.column.like(room),
            ..*member
        };
        Self { members: self.members.iter().map(like).collect(), places: Arc::clone(&self.places), ..*self }
    }

    /// Whether the rows of another group of the same fields have room behind these.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        self.members.iter().zip(&other.members).all(|(one, other)| one.column.fits(&other.column))
    }

    /// Makes room for the rows of another group of the same fields, so many times.
    pub(super) fn reserve(&mut self, other: &Self, times: usize) {
        for (member, other) in self.members.iter_mut().zip(&other.members) {
            member.column.reserve(&other.column, times);
        }
    }

    /// Appends the rows of another group of the same fields, which lack nothing, behind the first `rows` of these.
    pub(crate) fn take_rows(&mut self, rows: usize, other: &Self) {
        for (member, other) in self.members.iter_mut().zip(&other.members) {
            member.seen |= other.seen || member.column.len() > member.settled;
            member.column.pad(rows);
            member.column.extend(&other.column);
            member.settled = member.column.len();
        }
    }

    fn truncate(&mut self, len: usize) {
        for member in &mut self.members {
            member.column.truncate(len);
        }
    }

    /// Drops the rows from `len` on, and fills in what rows lack.
    pub(crate) fn settle(&mut self, len: usize) {
        for member in &mut self.members {
            member.column.truncate(len);
            // What was filled in before says nothing of the records.
            member.seen |= member.column.len() > member.settled;
            member.column.pad(len);
            member.column.settle();
            member.settled = len;
        }
    }

    /// Fills in what rows lack, of which none has been read halfway, and returns the bytes of the values, roughly.
    pub(super) fn fill(&mut self, len: usize) -> usize {
        let fill = |member: &mut Member| {
            member.seen |= member.column.len() > member.settled;
            member.column.pad(len);
            member.settled = len;
            member.column.fill()
        };
        self.members.iter_mut().map(fill).sum()
    }

    /// Drops all rows, and forgets which fields they had.
    pub(super) fn clear(&mut self) {
        for member in &mut self.members {
            (member.settled, member.seen) = (0, false);
            member.column.clear();
        }
    }

    /// Rows in which a field has a value, in its own column or beside it.
    pub(crate) fn values(&self, member: &Member) -> usize {
        let beside = member.beside.places().filter_map(|place| self.members.get(place));
        beside.fold(member.column.values(), |values, beside| values + beside.column.values())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.members.iter().map(|member| member.column.bytes()).sum()
    }
}

/// The form in which a value goes beside a column of other kinds.
pub(super) fn form_of(kinds: Kinds, is_int: bool, bytes: &[u8], at: usize) -> Form {
    match byte(bytes, at) {
        _ if kinds.is_nested() => Form::Json,
        b'{' | b'[' => Form::Json,
        b'-' | b'0'..=b'9' if is_int && kinds_at(bytes, at) == Kinds::NUMBER => Form::Number,
        _ => Form::Text,
    }
}

impl Column {
    fn nulls(kind: &Type, len: usize) -> Self {
        let texts = |kinds: &Kinds| Texts { offsets: vec![0; len + 1], kinds: *kinds, ..Texts::default() };
        let data = match kind {
            Type::Unknown => Data::Unknown,
            Type::Bool => Data::Bool(vec![false; len]),
            Type::Int { wide } => Data::Int { values: vec![0; len], wide: *wide },
            Type::Float => Data::Float(vec![0.0; len]),
            Type::Timestamp => Data::Timestamp(vec![0; len]),
            Type::Text(kinds) => Data::Text(texts(kinds)),
            Type::Json(kinds) => Data::Json(texts(kinds)),
            Type::Struct(fields) => Data::Struct(Box::new(Group::new(fields))),
            Type::List(item) => Data::List { offsets: vec![0; len + 1], items: Box::new(Self::nulls(item, 0)) },
        };
        Self { valid: Validity::nulls(len), data }
    }

    fn like(&self, room: bool) -> Self {
        fn empty<T>(values: &Vec<T>, room: bool) -> Vec<T> {
            Vec::with_capacity(if room { values.capacity() } else { 0 })
        }
        let zero = |offsets: &Vec<i32>| {
            let mut offsets = empty(offsets, room);
            offsets.push(0);
            offsets
        };
        let texts = |texts: &Texts| Texts {
            values: empty(&texts.values, room),
            offsets: zero(&texts.offsets),
            literals: empty(&texts.literals, room),
            kinds: texts.kinds,
        };
        let data = match &self.data {
            Data::Unknown => Data::Unknown,
            Data::Bool(values) => Data::Bool(empty(values, room)),
            Data::Int { values, wide } => Data::Int { values: empty(values, room), wide: *wide },
            Data::Float(values) => Data::Float(empty(values, room)),
            Data::Timestamp(values) => Data::Timestamp(empty(values, room)),
            Data::Text(values) => Data::Text(texts(values)),
            Data::Json(values) => Data::Json(texts(values)),
            Data::Struct(group) => Data::Struct(Box::new(group.like(room))),
            Data::List { offsets, items } => Data::List { offsets: zero(offsets), items: Box::new(items.like(room)) },
        };
        Self { valid: Validity { words: empty(&self.valid.words, room), ..Validity::default() }, data }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.valid.len
    }

    /// Fills in what the objects in it lack; returns [`Column::bytes`].
    fn fill(&mut self) -> usize {
        let rows = self.len();
        let inside = match &mut self.data {
            Data::Struct(group) => group.fill(rows),
            Data::List { items, .. } => rows * 4 + items.fill(),
            _ => return self.bytes(),
        };
        self.valid.words.len() * 8 + inside
    }

    fn clear(&mut self) {
        self.valid.clear();
        match &mut self.data {
            Data::Unknown => {}
            Data::Bool(values) => values.clear(),
            Data::Int { values, .. } | Data::Timestamp(values) => values.clear(),
            Data::Float(values) => values.clear(),
            Data::Text(texts) | Data::Json(texts) => texts.clear(),
            Data::Struct(group) => group.clear(),
            Data::List { offsets, items } => {
                offsets.truncate(1);
                items.clear();
            }
        }
    }

    /// Rows that have a value.
    pub(crate) fn values(&self) -> usize {
        self.valid.len - self.valid.nulls
    }

    /// The form in which a value that does not fit goes beside this column.
    pub(super) fn form(&self, bytes: &[u8], at: usize) -> Form {
        let kinds = match &self.data {
            Data::Struct(_) => Kinds::OBJECT,
            Data::List { .. } => Kinds::ARRAY,
            _ => Kinds::NONE,
        };
        form_of(kinds, matches!(self.data, Data::Int { .. }), bytes, at)
    }

    /// Notes that a value has been appended.
    #[inline(always)]
    pub(crate) fn filled(&mut self) {
        self.valid.push_value();
    }

    /// Notes that a text has been appended that was a number or a boolean.
    pub(crate) fn filled_literal(&mut self) {
        let row = self.len();
        if let Data::Text(texts) = &mut self.data {
            texts.literals.push(row);
        }
        self.valid.push_value();
    }

    pub(crate) fn push_null(&mut self) {
        self.valid.push_null();
        match &mut self.data {
            Data::Unknown | Data::Struct(_) => {}
            Data::Bool(values) => values.push(false),
            Data::Int { values, .. } | Data::Timestamp(values) => values.push(0),
            Data::Float(values) => values.push(0.0),
            Data::Text(Texts { offsets, .. }) | Data::Json(Texts { offsets, .. }) | Data::List { offsets, .. } => {
                offsets.push(offsets.last().copied().unwrap_or(0));
            }
        }
    }

    /// Fills in nulls up to a length.
    pub(crate) fn pad(&mut self, len: usize) {
        while self.len() < len {
            self.push_null();
        }
    }

    fn fits(&self, other: &Self) -> bool {
        match (&self.data, &other.data) {
            (Data::Text(one), Data::Text(other)) | (Data::Json(one), Data::Json(other)) => {
                fit(one.values.len(), other.values.len())
            }
            (Data::Struct(one), Data::Struct(other)) => one.fits(other),
            (Data::List { items: one, .. }, Data::List { items: other, .. }) => {
                fit(one.len(), other.len()) && one.fits(other)
            }
            _ => true,
        }
    }

    fn reserve(&mut self, other: &Self, times: usize) {
        match (&mut self.data, &other.data) {
            (Data::Bool(values), Data::Bool(other)) => values.reserve(other.len() * times),
            (Data::Int { values, .. }, Data::Int { values: other, .. })
            | (Data::Timestamp(values), Data::Timestamp(other)) => values.reserve(other.len() * times),
            (Data::Float(values), Data::Float(other)) => values.reserve(other.len() * times),
            (Data::Text(texts), Data::Text(other)) | (Data::Json(texts), Data::Json(other)) => {
                texts.values.reserve(other.values.len() * times);
                texts.offsets.reserve(other.offsets.len() * times);
            }
            (Data::Struct(group), Data::Struct(other)) => group.reserve(other, times),
            (Data::List { offsets, items }, Data::List { offsets: other, items: others }) => {
                offsets.reserve(other.len() * times);
                items.reserve(others, times);
            }
            _ => {}
        }
    }

    fn extend(&mut self, other: &Self) {
        let rows = self.len();
        match (&mut self.data, &other.data) {
            (Data::Bool(values), Data::Bool(other)) => values.extend_from_slice(other),
            (Data::Int { values, .. }, Data::Int { values: other, .. })
            | (Data::Timestamp(values), Data::Timestamp(other)) => values.extend_from_slice(other),
            (Data::Float(values), Data::Float(other)) => values.extend_from_slice(other),
            (Data::Text(texts), Data::Text(other)) | (Data::Json(texts), Data::Json(other)) => {
                texts.extend(other, rows);
            }
            (Data::Struct(group), Data::Struct(other)) => group.take_rows(rows, other),
            (Data::List { offsets, items }, Data::List { offsets: other, items: others }) => {
                extend_offsets(offsets, other);
                items.extend(others);
            }
            // Only tables of one schema are joined, and a column of nothing but nulls has no values.
            _ => {}
        }
        self.valid.extend(&other.valid);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if self.len() > len {
            self.valid.truncate(len);
        }
        // The values may be ahead of the validity, if an error came between them.
        match &mut self.data {
            Data::Unknown => {}
            Data::Bool(values) => values.truncate(len),
            Data::Int { values, .. } | Data::Timestamp(values) => values.truncate(len),
            Data::Float(values) => values.truncate(len),
            Data::Text(texts) | Data::Json(texts) => texts.truncate(len),
            Data::Struct(group) => group.truncate(len),
            Data::List { offsets, items } => {
                offsets.truncate(len + 1);
                items.truncate(offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0));
            }
        }
    }

    fn settle(&mut self) {
        let len = self.len();
        match &mut self.data {
            Data::Struct(group) => group.settle(len),
            Data::List { items, .. } => items.settle(),
            _ => {}
        }
    }

    /// Bytes of the values, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.len();
        self.valid.words.len() * 8
            + match &self.data {
                Data::Unknown => 0,
                Data::Bool(values) => values.len(),
                Data::Int { values, .. } | Data::Timestamp(values) => values.len() * 8,
                Data::Float(values) => values.len() * 8,
                Data::Text(texts) | Data::Json(texts) => texts.values.len() + rows * 4,
                Data::Struct(group) => group.bytes(),
                Data::List { items, .. } => rows * 4 + items.bytes(),
            }
    }

    /// Bytes that a row takes at least.
    pub(crate) fn row_bytes(&self) -> usize {
        match &self.data {
            Data::Unknown => 0,
            Data::Bool(_) => 1,
            Data::Int { .. } | Data::Timestamp(_) | Data::Float(_) => 8,
            Data::Text(_) | Data::Json(_) | Data::List { .. } => 4,
            Data::Struct(group) => group.row_bytes,
        }
    }

    /// Changes the column to a wider type, with the values it has.
    pub(crate) fn widen(&mut self, kind: &Type) {
        let rows = self.len();
        match (&mut self.data, kind) {
            (Data::Unknown, kind) => {
                let valid = std::mem::take(&mut self.valid);
                *self = Self::nulls(kind, rows);
                self.valid = valid;
            }
            (Data::Int { wide, .. }, Type::Int { wide: now }) => *wide = *now,
            (Data::Int { values, .. }, Type::Float) => {
                self.data = Data::Float(values.iter().map(|value| *value as f64).collect());
            }
            (Data::Struct(group), Type::Struct(fields)) => group.widen(fields, rows),
            (Data::List { items, .. }, Type::List(item)) => items.widen(item),
            (Data::Text(texts), Type::Text(kinds)) | (Data::Json(texts), Type::Json(kinds)) => texts.kinds = *kinds,
            (_, Type::Text(kinds)) => self.data = Data::Text(Texts { kinds: *kinds, ..self.texts(false) }),
            (_, Type::Json(kinds)) => self.data = Data::Json(Texts { kinds: *kinds, ..self.texts(true) }),
            _ => {}
        }
    }

    fn texts(&self, json: bool) -> Texts {
        let literal = matches!(self.data, Data::Bool(_) | Data::Int { .. } | Data::Float(_));
        let mut texts = Texts::default();
        for row in 0..self.len() {
            if self.valid.is_valid(row) {
                self.write(row, json, &mut texts.values);
                if literal && !json {
                    texts.literals.push(row);
                }
            }
            // A table that is widened is far below the 2 GiB where this could fail.
            texts.end();
        }
        texts
    }

    /// Appends a row's value as text.
    fn write(&self, row: usize, json: bool, out: &mut Vec<u8>) {
        if !self.valid.is_valid(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.data {
            Data::Unknown => out.extend_from_slice(b"null"),
            Data::Bool(values) => {
                let value = values.get(row).copied().unwrap_or_default();
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Data::Int { values, .. } => {
                out.extend_from_slice(values.get(row).copied().unwrap_or_default().to_string().as_bytes());
            }
            Data::Float(values) => write_float(values.get(row).copied().unwrap_or_default(), out),
            Data::Timestamp(values) => {
                let mut text = Vec::new();
                instant::write(values.get(row).copied().unwrap_or_default(), &mut text);
                if json { text::quote(&text, out) } else { out.extend_from_slice(&text) }
            }
            Data::Text(texts) if json && texts.literals.binary_search(&row).is_err() => {
                text::quote(texts.get(row), out)
            }
            Data::Text(texts) | Data::Json(texts) => out.extend_from_slice(texts.get(row)),
            Data::Struct(group) => group.write(row, out),
            Data::List { offsets, items } => {
                let at =
                    |place: usize| offsets.get(place).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
                out.push(b'[');
                for item in at(row)..at(row + 1) {
                    if item > at(row) {
                        out.push(b',');
                    }
                    items.write(item, true, out);
                }
                out.push(b']');
            }
        }
    }
}

impl Group {
    /// Appends a row as a JSON object. A null field is left out: null and absent are one in a column.
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for member in &self.members {
            if row < member.column.len() && member.column.valid.is_valid(row) {
                if !first {
                    out.push(b',');
                }
                first = false;
                out.extend_from_slice(&member.quoted);
                out.push(b':');
                member.column.write(row, true, out);
            }
        }
        out.push(b'}');
    }
}
