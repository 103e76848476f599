//! Which types hold a page.

use super::absent;
use super::column::form_of;
use super::number::{self, Number, is_exact};
use super::records::{self, Bounds, Fault};
use super::table::check_extras;
use super::walk::Walker;
use super::{Page, RecordError, instant};
use crate::json::scan::{self, Stop, byte, space};
use crate::json::text;
use crate::schema::{Fields, Items, Kinds, MAX_FIELDS, MAX_NESTED_FIELDS, Schema, Type};

/// Widens a schema so that it holds every record of a page, whose JSON is checked on the way.
pub(crate) fn widened(page: &Page, schema: &Schema, bounds: Bounds) -> Result<Schema, RecordError> {
    let mut wider = schema.clone();
    absorb(page, &mut wider, &mut Walker::default(), bounds, |_, _, _| Ok(()))?;
    // Values are counted where they are columns.
    wider.forget_counts();
    Ok(wider)
}

/// Widens a schema by the records of a page, and hands each checked record on: its bytes, start and end. The schema is
/// in an undefined state after an error.
pub(crate) fn absorb(
    page: &Page,
    schema: &mut Schema,
    walker: &mut Walker,
    bounds: Bounds,
    mut take: impl FnMut(&[u8], usize, usize) -> Result<(), Fault>,
) -> Result<u64, RecordError> {
    check_extras(page, walker, bounds)?;
    let explain = |fault| records::explain(page, fault, bounds);
    let mut any = false;
    records::utf8(page).map_err(|stop| explain(stop.into()))?;
    let count = records::each(page, bounds.max_bytes, |bytes, at| {
        let end = walker.walk(bytes, at, bounds.max_depth)?;
        record(&mut schema.fields, bytes, at)?;
        take(bytes, at, end)?;
        any = true;
        Ok(end)
    });
    let count = count.map_err(explain)?;
    if any {
        extras(page, schema, count).map_err(|stop| explain(stop.into()))?;
    }
    if schema.fields.len() > MAX_FIELDS {
        return Err(RecordError::TooManyFields { limit: MAX_FIELDS });
    }
    Ok(count)
}

/// Finds the first record of a page with which a schema comes to be as asked for; counts from 0.
pub(crate) fn first(page: &Page, mut schema: Schema, mut is_so: impl FnMut(&Schema) -> bool) -> Option<u64> {
    let mut index = 0;
    let mut found = None;
    // What is wrong with the page has been said, or will be.
    let _ = records::each(page, usize::MAX, |bytes, at| {
        let end = Walker::default().walk(bytes, at, usize::MAX)?;
        if found.is_none() {
            record(&mut schema.fields, bytes, at)?;
            extras(page, &mut schema, 1)?;
            found = Some(index).filter(|_| is_so(&schema));
            index += 1;
        }
        Ok(end)
    });
    found
}

/// Takes in the constant fields that are added to so many records.
fn extras(page: &Page, schema: &mut Schema, records: u64) -> Result<(), Stop> {
    for (name, json) in &page.extra {
        let place = schema.fields.ensure(name);
        let before = schema.fields.at(place).map_or(0, |field| field.values);
        member(&mut schema.fields, place, json.trim_ascii().as_bytes(), 0)?;
        if let Some(field) = schema.fields.at_mut(place).filter(|field| field.values > before) {
            field.values = before + records;
        }
    }
    Ok(())
}

fn record(fields: &mut Fields, bytes: &[u8], at: usize) -> Result<(), Stop> {
    // Nothing is beside a record, so its fields are never closed.
    object(fields, bytes, at).map(|_| ())
}

/// Widens the type of a field by its value, or that of a column beside it; returns the position after the value.
fn member(fields: &mut Fields, place: usize, bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let Some(field) = fields.at_mut(place) else { return Err(Stop::new(at, scan::Cause::Drift)) };
    field.seen = true;
    if byte(bytes, at) == b'n' {
        return scan::literal(bytes, at, b"null");
    }
    field.values += 1;
    let written = field.is_written();
    if let Some(end) = value(&mut field.kind, written, bytes, at)? {
        return Ok(end);
    }
    let form = form_of(field.kind.kinds(), matches!(field.kind, Type::Int { .. }), bytes, at);
    let end = Walker::default().walk(bytes, at, usize::MAX)?;
    absent::in_type(&mut field.kind, bytes, at);
    if let Some(Type::Text(kinds) | Type::Json(kinds)) = fields.beside(place, form).map(|field| &mut field.kind) {
        *kinds = kinds.with(kinds_at(bytes, at));
    }
    Ok(end)
}

/// The kind of the value at a position.
pub(super) fn kinds_at(bytes: &[u8], at: usize) -> Kinds {
    match byte(bytes, at) {
        b'{' => Kinds::OBJECT,
        b'[' => Kinds::ARRAY,
        b'"' => Kinds::TEXT,
        b't' | b'f' => Kinds::BOOLEAN,
        b'n' => Kinds::NONE,
        _ => match number::read(bytes, at) {
            Ok((_, Number::Int(_))) => Kinds::INTEGER,
            Ok((_, Number::Float(_))) => Kinds::NUMBER,
            _ => Kinds::DIGITS,
        },
    }
}

/// Widens a type by the value at a position; returns the position after it. None where the column is written and the value
/// does not fit it.
fn value(kind: &mut Type, written: bool, bytes: &[u8], at: usize) -> Result<Option<usize>, Stop> {
    let first = byte(bytes, at);
    let scalar = match first {
        b'{' | b'[' => return nested(kind, written, bytes, at),
        b'n' => return scan::literal(bytes, at, b"null").map(Some),
        b'"' => {
            let (end, _) = scan::string(bytes, at + 1)?;
            let instant = matches!(kind, Type::Timestamp) && bytes.get(at + 1..end).and_then(instant::read).is_some();
            (end + 1, if instant { Type::Timestamp } else { Type::Text(Kinds::TEXT) })
        }
        b't' | b'f' => {
            let word: &[u8] = if first == b't' { b"true" } else { b"false" };
            (scan::literal(bytes, at, word)?, Type::Bool)
        }
        _ => {
            let (end, number) = number::read(bytes, at)?;
            let kind = match number {
                Number::Int(value) => Type::Int { wide: !is_exact(value) },
                Number::Float(_) => Type::Float,
                Number::Raw => Type::Text(Kinds::DIGITS),
            };
            (end, kind)
        }
    };
    let (end, scalar) = scalar;
    if written {
        return Ok(kind.admit(&scalar).then_some(end));
    }
    kind.join(scalar);
    Ok(Some(end))
}

fn nested(kind: &mut Type, written: bool, bytes: &[u8], at: usize) -> Result<Option<usize>, Stop> {
    let is_object = byte(bytes, at) == b'{';
    if matches!(kind, Type::Unknown) {
        *kind = if is_object { Type::Struct(Fields::default()) } else { Type::List(Box::default()) };
    }
    match kind {
        Type::Struct(fields) if is_object => {
            let before = fields.len();
            let end = object(fields, bytes, at)?;
            if fields.names() <= MAX_NESTED_FIELDS {
                return Ok(end);
            }
            if written {
                fields.close(before);
                return Ok(None);
            }
            *kind = Type::Json(Kinds::OBJECT);
            return Ok(end);
        }
        Type::List(item) if !is_object => return array(item, written, bytes, at),
        Type::Json(_) => {}
        _ if written => return Ok(None),
        _ => {}
    }
    *kind = Type::Json(kind.kinds().with(kinds_at(bytes, at)));
    Walker::default().walk(bytes, at, usize::MAX).map(Some)
}

fn array(item: &mut Items, written: bool, bytes: &[u8], start: usize) -> Result<Option<usize>, Stop> {
    let mut at = space(bytes, start + 1);
    let (mut nulls, mut values) = (false, false);
    while byte(bytes, at) != b']' {
        let is_null = byte(bytes, at) == b'n';
        (nulls, values) = (nulls || is_null, values || !is_null);
        let Some(end) = value(item, written, bytes, at)? else { return Ok(None) };
        at = space(bytes, end);
        if byte(bytes, at) == b',' {
            at = space(bytes, at + 1);
        }
    }
    item.note(nulls, values);
    Ok(Some(at + 1))
}

/// Widens fields by an object; none where it has a name that is not taken in any more.
fn object(fields: &mut Fields, bytes: &[u8], start: usize) -> Result<Option<usize>, Stop> {
    fields.objects += 1;
    let mut at = space(bytes, start + 1);
    let mut decoded = Vec::new();
    while byte(bytes, at) != b'}' {
        let (end, escaped) = scan::string(bytes, at + 1)?;
        let raw = bytes.get(at + 1..end).unwrap_or_default();
        decoded.clear();
        if escaped {
            text::unescape(raw, &mut decoded)?;
        }
        let name = if escaped { &decoded } else { raw };
        let name = std::str::from_utf8(name).unwrap_or_default();
        if fields.is_closed() && !fields.knows(name) {
            // It goes elsewhere as a whole.
            fields.objects -= 1;
            return Ok(None);
        }
        let place = fields.ensure(name);
        at = space(bytes, end + 1);
        at = space(bytes, at + 1);
        at = space(bytes, member(fields, place, bytes, at)?);
        if byte(bytes, at) == b',' {
            at = space(bytes, at + 1);
        }
    }
    Ok(Some(at + 1))
}
