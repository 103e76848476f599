//! From the text of a record to the next row of columns.
//!
//! Records of one API look alike. Each field knows what stood between the value before it and its own the last time, and which
//! field came next: where that stands there again, the value is read at once. Everything else, a name that was not expected or
//! whitespace that was not there before, is read by the grammar and learnt from.
//!
//! That the text is UTF-8 is looked at by others, for a page at once.
//!
//! Functions with a `simd` are compiled for each level of instructions that processors have. They are part of their callers,
//! which have the same level, so that they cost no calls; only objects and arrays, which nest, are functions of their own.

use std::ops::Range;

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, u8x32};

use super::column::{Column, Data, Group, Texts};
use super::instant;
use super::key::{key_hash, one_part};
use super::lead::Lead;
use super::number::{self, Number, is_exact};
use super::walk::Walker;
use crate::json::scan::{self, Cause, Stop, byte, space};
use crate::json::text;

/// What the decoder needs beside the columns.
#[derive(Debug)]
pub(super) struct Reader {
    /// What the processor can do.
    pub(super) level: Level,
    pub(super) walker: Walker,
    scratch: Vec<u8>,
    pub(super) noted: Noted,
    /// What is left of [`MAX_PAGE_BYTES`].
    pub(super) room: usize,
    /// Whether an array or object of the page at hand went beside its column.
    pub(super) aside: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            level: Level::new(),
            walker: Walker::default(),
            scratch: Vec::new(),
            noted: Noted::default(),
            room: 0,
            aside: false,
        }
    }
}

/// Where some values of a record are, by position and end; an end of zero where one was not seen.
#[derive(Debug, Default)]
pub(super) struct Noted {
    spans: Vec<(usize, usize)>,
    /// How many of them, from the first, are the primary key.
    parts: usize,
}

impl Noted {
    /// Starts a page of records with keys of so many parts, of which so many values are noted.
    pub(super) fn start(&mut self, parts: usize, values: usize) {
        self.parts = parts;
        self.spans.clear();
        self.spans.resize(values.max(parts), (0, 0));
    }

    /// Starts a record.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        match self.spans.as_mut_slice() {
            [one] => *one = (0, 0),
            all => all.fill((0, 0)),
        }
    }

    /// Notes where a value is, counted from one.
    #[inline(always)]
    fn note(&mut self, place: usize, start: usize, end: usize) {
        if let Some(span) = self.spans.get_mut(place - 1) {
            *span = (start, end);
        }
    }

    /// Where a value is, counted from one.
    #[inline(always)]
    pub(super) fn span(&self, place: usize) -> Range<usize> {
        place.checked_sub(1).and_then(|place| self.spans.get(place)).map_or(0..0, |(start, end)| *start..*end)
    }
}

/// A constant field of the page at hand.
pub(super) struct Extra<'a> {
    pub(super) name: &'a str,
    /// None where the schema does not have it yet.
    pub(super) place: Option<usize>,
    pub(super) json: &'a [u8],
    /// Which part of the primary key it is, plus one; zero for none.
    pub(super) key: usize,
}

/// What comes where another field, or the end, was expected.
enum Next {
    /// The place of a member, and the position of its value.
    Member(usize, usize),
    /// The position after the object.
    End(usize),
}

impl Reader {
    /// Hashes the primary key of the record that was read last; none where a part is null or absent.
    #[inline(always)]
    pub(super) fn key(&mut self, bytes: &[u8], extras: &[Extra<'_>]) -> Option<u64> {
        match self.noted.spans.as_slice() {
            [(start, end), ..] if self.noted.parts == 1 && *end > 0 => {
                one_part(bytes.get(*start..*end)?, &mut self.scratch)
            }
            _ => self.any_key(bytes, extras),
        }
    }

    fn any_key(&mut self, bytes: &[u8], extras: &[Extra<'_>]) -> Option<u64> {
        let parts = self.noted.spans.get(..self.noted.parts).unwrap_or_default();
        let parts = parts.iter().enumerate().map(|(part, span)| {
            let added = || extras.iter().find(|extra| extra.key == part + 1).map(|extra| extra.json);
            if span.1 > 0 { bytes.get(span.0..span.1) } else { added() }
        });
        key_hash(parts, &mut self.scratch)
    }

    /// Counts what a row takes as columns.
    pub(super) fn take_room(&mut self, bytes: usize, at: usize) -> Result<(), Stop> {
        self.room = self.room.checked_sub(bytes).ok_or(Stop::new(at, Cause::Room))?;
        Ok(())
    }

    /// Reads an object from its brace into a row of a group; returns the position after it. `ROOT` says that it is a record.
    #[inline(always)]
    pub(super) fn object<S: Simd, const ROOT: bool>(
        &mut self,
        simd: S,
        group: &mut Group,
        row: usize,
        bytes: &[u8],
        start: usize,
        depth: usize,
    ) -> Result<usize, Stop> {
        simd.vectorize(
            #[inline(always)]
            move || self.members::<S, ROOT>(simd, group, row, bytes, start, depth),
        )
    }

    #[inline(always)]
    fn members<S: Simd, const ROOT: bool>(
        &mut self,
        simd: S,
        group: &mut Group,
        row: usize,
        bytes: &[u8],
        start: usize,
        depth: usize,
    ) -> Result<usize, Stop> {
        let (mut at, mut place, mut before) = (start, group.first, usize::MAX);
        // Where the value of the member is that should come; zero where something else stands there.
        let mut expected = group.opening.after(simd, bytes, start);
        loop {
            // A row that the column has already is a name that comes twice; one that it lacks has to be filled in first.
            if expected > 0
                && let Some(member) = group.members.get_mut(place)
                && member.column.len() == row
                && let Some(end) = quick(simd, &mut member.column, bytes, expected)
            {
                if ROOT && member.noted > 0 {
                    self.noted.note(member.noted, expected, end);
                }
                (at, before, place) = (end, place, member.next);
            } else {
                let value;
                if expected > 0
                    && let Some(member) = group.members.get_mut(place)
                    && member.column.len() <= row
                {
                    member.column.pad(row);
                    value = space(bytes, expected);
                } else if byte(bytes, at) == b'}' {
                    return Ok(at + 1);
                } else {
                    match self.next(group, before, row, bytes, at)? {
                        Next::Member(found, after) => (place, value) = (found, after),
                        Next::End(end) => return Ok(end),
                    }
                }
                let Some(member) = group.members.get_mut(place) else { return Err(Stop::new(at, Cause::Drift)) };
                let (noted, next) = (member.noted, member.next);
                let read = match self.nested(simd, &mut member.column, bytes, value, depth) {
                    Some(read) => read,
                    None => self.value(simd, &mut member.column, bytes, value, depth),
                };
                at = match read {
                    Ok(end) => end,
                    Err(stop) => self.beside(simd, group, (place, row), (bytes, value), depth, stop)?,
                };
                if ROOT && noted > 0 {
                    self.noted.note(noted, value, at);
                }
                (before, place) = (place, next);
            }
            expected = match group.members.get(place) {
                Some(member) => member.lead.after(simd, bytes, at),
                None => 0,
            };
        }
    }

    /// Reads what stands between two values, and a name that was not the one expected. `at` is the object's brace or the
    /// position after the value before.
    #[inline(never)]
    fn next(&mut self, group: &mut Group, before: usize, row: usize, bytes: &[u8], start: usize) -> Result<Next, Stop> {
        let mut at = space(bytes, start);
        if before == usize::MAX {
            // The brace.
            at = space(bytes, at + 1);
            if byte(bytes, at) == b'}' {
                return Ok(Next::End(at + 1));
            }
        } else {
            match byte(bytes, at) {
                b',' => at = space(bytes, at + 1),
                b'}' => return Ok(Next::End(at + 1)),
                _ => return Err(scan::unexpected(bytes, at)),
            }
        }
        let (place, end) = self.name(group, before, bytes, at)?;
        at = space(bytes, end);
        if byte(bytes, at) != b':' {
            return Err(scan::unexpected(bytes, at));
        }
        at = space(bytes, at + 1);
        match group.members.get_mut(before) {
            Some(member) => member.next = place,
            None => group.first = place,
        }
        let Some(member) = group.members.get_mut(place) else { return Err(Stop::new(at, Cause::Drift)) };
        if member.column.len() > row {
            return Err(Stop::new(at, Cause::Duplicate));
        }
        member.column.pad(row);
        let lead = Lead::new(bytes.get(start..at).unwrap_or_default());
        match before {
            usize::MAX => group.opening = lead,
            _ => member.lead = lead,
        }
        Ok(Next::Member(place, at))
    }

    /// Reads a name; returns the member's place and the position after the name.
    fn name(&mut self, group: &Group, before: usize, bytes: &[u8], at: usize) -> Result<(usize, usize), Stop> {
        if byte(bytes, at) != b'"' {
            return Err(scan::unexpected(bytes, at));
        }
        // A field that only some records have is often followed by the one that follows it in the schema, or by the next
        // but one.
        let expected = group.members.get(before).map_or(group.first, |member| member.next);
        let after = group.members.get(expected).map_or(usize::MAX, |member| member.next);
        for guess in [expected, after, before.wrapping_add(1)] {
            if let Some(member) = group.members.get(guess).filter(|member| member.own)
                && scan::starts_with(bytes, at, &member.quoted)
            {
                return Ok((guess, at + member.quoted.len()));
            }
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
        Ok((place, end + 1))
    }

    /// Reads a value that does not fit a member's column into the one beside it, and leaves its own row null.
    #[cold]
    #[inline(never)]
    pub(super) fn beside<S: Simd>(
        &mut self,
        simd: S,
        group: &mut Group,
        (place, row): (usize, usize),
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
        self.value(simd, column, bytes, at, depth).map_err(|stop| match stop.cause() {
            Cause::Misfit => drift,
            _ => stop,
        })
    }

    /// Reads an object or an array as [`Reader::value`] does; none, and nothing is read, where there is something else.
    #[inline(always)]
    fn nested<S: Simd>(
        &mut self,
        simd: S,
        column: &mut Column,
        bytes: &[u8],
        at: usize,
        depth: usize,
    ) -> Option<Result<usize, Stop>> {
        let row = column.len();
        let read = match (&mut column.data, byte(bytes, at)) {
            (Data::Struct(_), b'{') | (Data::List { .. }, b'[') if depth == 0 => Err(Stop::new(at, Cause::Depth)),
            (Data::Struct(group), b'{') => self.object::<S, false>(simd, group, row, bytes, at, depth - 1),
            (Data::List { offsets, items }, b'[') => simd.vectorize(
                #[inline(always)]
                move || {
                    let end = self.items(simd, items, bytes, at, depth - 1)?;
                    offsets.push(i32::try_from(items.len()).map_err(|_| Stop::new(at, Cause::Full))?);
                    Ok(end)
                },
            ),
            _ => return None,
        };
        if read.is_ok() {
            column.filled();
        }
        Some(read)
    }

    /// Reads a value into the next row of a column; returns the position after it.
    #[inline(never)]
    pub(super) fn value<S: Simd>(
        &mut self,
        simd: S,
        column: &mut Column,
        bytes: &[u8],
        at: usize,
        depth: usize,
    ) -> Result<usize, Stop> {
        let first = byte(bytes, at);
        if first == b'n' {
            let end = scan::literal(bytes, at, b"null")?;
            column.push_null();
            return Ok(end);
        }
        let misfit = || Stop::new(at, Cause::Misfit);
        let end = match &mut column.data {
            Data::Text(texts) => match first {
                b'"' => any_string(texts, bytes, at)?,
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
                if !texts.knows(bytes, at) {
                    return Err(Stop::new(at, Cause::Drift));
                }
                text::compact(inside, &mut texts.values);
                close(texts, at)?;
                end
            }
            Data::Struct(_) | Data::List { .. } => match self.nested(simd, column, bytes, at, depth) {
                Some(read) => return read,
                None => return Err(misfit()),
            },
            Data::Unknown => return Err(Stop::new(at, Cause::Drift)),
        };
        column.filled();
        Ok(end)
    }

    /// Reads the items of an array from its bracket; returns the position after it.
    #[inline(always)]
    fn items<S: Simd>(
        &mut self,
        simd: S,
        items: &mut Column,
        bytes: &[u8],
        start: usize,
        depth: usize,
    ) -> Result<usize, Stop> {
        let mut at = space(bytes, start + 1);
        if byte(bytes, at) == b']' {
            return Ok(at + 1);
        }
        loop {
            if let Data::Struct(group) = &items.data {
                self.take_room(group.row_bytes, at)?;
            }
            at = match quick(simd, items, bytes, at) {
                Some(end) => end,
                None => self.value(simd, items, bytes, at, depth)?,
            };
            at = space(bytes, at);
            match byte(bytes, at) {
                b',' => at = space(bytes, at + 1),
                b']' => return Ok(at + 1),
                _ => return Err(scan::unexpected(bytes, at)),
            }
        }
    }
}

/// Reads a value as [`Reader::value`] does, if it is one of those that most are: a text, a short whole number, a boolean. None,
/// and nothing is read, for all else.
#[inline(always)]
fn quick<S: Simd>(simd: S, column: &mut Column, bytes: &[u8], at: usize) -> Option<usize> {
    let end = match &mut column.data {
        Data::Text(texts) => string(simd, texts, bytes, at)?,
        Data::Int { values, .. } => {
            let (end, value) = number::short(bytes, at)?;
            values.push(value);
            end
        }
        Data::Bool(values) => {
            let word = bytes.get(at..)?.first_chunk::<5>()?;
            let yes = word.starts_with(b"true");
            if !yes && word != b"false" {
                return None;
            }
            values.push(yes);
            at + if yes { 4 } else { 5 }
        }
        _ => return None,
    };
    column.filled();
    Some(end)
}

/// Reads a string without escapes into a row of texts; none where there is something else, or where the bytes end soon. A block
/// is copied before it is known how much of it belongs to the string, and what is too much is cut off: texts are short, and a
/// call to copy memory costs more than the block.
#[inline(always)]
fn string<S: Simd>(simd: S, texts: &mut Texts, bytes: &[u8], at: usize) -> Option<usize> {
    let [b'"', block @ ..] = bytes.get(at..)?.first_chunk::<33>()? else { return None };
    let hits = specials(simd, block);
    if hits == 0 {
        return simd.vectorize(
            #[inline(always)]
            move || long_string(simd, texts, bytes, at + 1),
        );
    }
    let length = hits.trailing_zeros() as usize;
    if block.get(length) != Some(&b'"') {
        return None;
    }
    let before = texts.values.len();
    texts.values.extend_from_slice(block);
    texts.values.truncate(before + length);
    texts.end().then_some(at + length + 2)
}

/// Reads the inside of a string that is longer than a block.
#[inline(always)]
fn long_string<S: Simd>(simd: S, texts: &mut Texts, bytes: &[u8], start: usize) -> Option<usize> {
    let before = texts.values.len();
    let mut at = start;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
        texts.values.extend_from_slice(block);
        let hits = specials(simd, block);
        if hits == 0 {
            at += 32;
            continue;
        }
        at += hits.trailing_zeros() as usize;
        if byte(bytes, at) != b'"' {
            break;
        }
        texts.values.truncate(before + at - start);
        return texts.end().then_some(at + 1);
    }
    texts.values.truncate(before);
    None
}

/// Sets one bit for each byte that is a quote, a backslash or a control character.
#[inline(always)]
fn specials<S: Simd>(simd: S, block: &[u8; 32]) -> u32 {
    let bytes = u8x32::simd_from(simd, *block);
    // With their second bit turned over, a quote is 0x20 and control characters are below; a space is above.
    let ends = (bytes ^ u8x32::splat(simd, 2)).simd_le(u8x32::splat(simd, 0x20));
    (ends | bytes.simd_eq(u8x32::splat(simd, b'\\'))).to_bitmask() as u32
}

/// Reads a string, with escapes or without.
fn any_string(texts: &mut Texts, bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let (end, escaped) = scan::string(bytes, at + 1)?;
    let inside = bytes.get(at + 1..end).unwrap_or_default();
    if escaped {
        text::unescape(inside, &mut texts.values).map_err(|stop| Stop::new(at + 1 + stop.at(), stop.cause()))?;
    } else {
        texts.values.extend_from_slice(inside);
    }
    close(texts, at)?;
    Ok(end + 1)
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
