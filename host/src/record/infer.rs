//! Which types hold a page.

use super::number::{self, Number, is_exact};
use super::records::{self, Bounds, Fault};
use super::table::check_extras;
use super::walk::Walker;
use super::{Page, RecordError, instant};
use crate::json::scan::{self, Stop, byte, space};
use crate::json::text;
use crate::schema::{Fields, MAX_FIELDS, MAX_NESTED_FIELDS, Schema, Type};

/// Widens a schema so that it holds every record of a page, whose JSON is checked on the way.
pub(crate) fn widened(page: &Page, schema: &Schema, bounds: Bounds) -> Result<Schema, RecordError> {
    let mut wider = schema.clone();
    absorb(page, &mut wider, &mut Walker::default(), bounds, |_, _, _| Ok(()))?;
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
        object(&mut schema.fields, bytes, at)?;
        take(bytes, at, end)?;
        any = true;
        Ok(end)
    });
    let count = count.map_err(explain)?;
    for (name, json) in page.extra.iter().filter(|_| any) {
        let stop = value(schema.fields.entry(name), json.trim_ascii().as_bytes(), 0);
        stop.map_err(|stop| explain(Fault::Stop(stop)))?;
    }
    if schema.fields.len() > MAX_FIELDS {
        return Err(RecordError::TooManyFields { limit: MAX_FIELDS });
    }
    Ok(count)
}

/// Widens a type by the value at a position; returns the position after it.
fn value(kind: &mut Type, bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match byte(bytes, at) {
        b'{' => {
            if matches!(kind, Type::Unknown) {
                *kind = Type::Struct(Fields::default());
            }
            let Type::Struct(fields) = kind else {
                *kind = Type::Json;
                return Walker::default().walk(bytes, at, usize::MAX);
            };
            let end = object(fields, bytes, at)?;
            if fields.len() > MAX_NESTED_FIELDS {
                *kind = Type::Json;
            }
            Ok(end)
        }
        b'[' => {
            if matches!(kind, Type::Unknown) {
                *kind = Type::List(Box::default());
            }
            let Type::List(item) = kind else {
                *kind = Type::Json;
                return Walker::default().walk(bytes, at, usize::MAX);
            };
            array(item, bytes, at)
        }
        b'"' => {
            let (end, _) = scan::string(bytes, at + 1)?;
            let instant = matches!(kind, Type::Timestamp) && bytes.get(at + 1..end).and_then(instant::read).is_some();
            if !instant {
                kind.join(Type::Text);
            }
            Ok(end + 1)
        }
        b't' | b'f' => {
            kind.join(Type::Bool);
            let word: &[u8] = if byte(bytes, at) == b't' { b"true" } else { b"false" };
            scan::literal(bytes, at, word)
        }
        b'n' => scan::literal(bytes, at, b"null"),
        _ => {
            let (end, number) = number::read(bytes, at)?;
            kind.join(match number {
                Number::Int(value) => Type::Int { wide: !is_exact(value) },
                Number::Float(_) => Type::Float,
                Number::Raw => Type::Text,
            });
            Ok(end)
        }
    }
}

fn array(item: &mut Type, bytes: &[u8], start: usize) -> Result<usize, Stop> {
    let mut at = space(bytes, start + 1);
    while byte(bytes, at) != b']' {
        at = space(bytes, value(item, bytes, at)?);
        if byte(bytes, at) == b',' {
            at = space(bytes, at + 1);
        }
    }
    Ok(at + 1)
}

fn object(fields: &mut Fields, bytes: &[u8], start: usize) -> Result<usize, Stop> {
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
        let kind = fields.entry(std::str::from_utf8(name).unwrap_or_default());
        at = space(bytes, end + 1);
        at = space(bytes, at + 1);
        at = space(bytes, value(kind, bytes, at)?);
        if byte(bytes, at) == b',' {
            at = space(bytes, at + 1);
        }
    }
    Ok(at + 1)
}
