//! What is null or absent in values that stand beside their own column.
//!
//! An array whose items do not fit goes to the column beside as JSON text, whole. Its nulls are news all the same, at any
//! depth, and so is what its objects lack; they are noted with the types in which they would have been.

use super::records::members;
use super::walk::Walker;
use crate::json::scan::{byte, space};
use crate::schema::{Fields, Type};

/// Notes in a type what a value lacks of it. The value is JSON, as are those below.
pub(super) fn in_type(kind: &mut Type, bytes: &[u8], at: usize) {
    match (kind, byte(bytes, at)) {
        (Type::List(item), b'[') => elements(bytes, at, |at| match byte(bytes, at) {
            b'n' => item.note(true, false),
            _ => {
                item.note(false, true);
                in_type(&mut item.kind, bytes, at);
            }
        }),
        (Type::Struct(fields), b'{') => in_fields(fields, bytes, at),
        _ => {}
    }
}

/// Notes in the types of fields what an object lacks of them.
pub(super) fn in_fields(fields: &mut Fields, bytes: &[u8], at: usize) {
    let members = members(bytes, at);
    for field in fields.iter_mut().filter(|field| field.is_own()) {
        let value = members.iter().find(|member| member.0 == field.name.as_bytes()).map(|member| member.1.0);
        field.seen |= value.is_some();
        match value.filter(|at| byte(bytes, *at) != b'n') {
            Some(at) => in_type(&mut field.kind, bytes, at),
            None => field.nullable = true,
        }
    }
}

fn elements(bytes: &[u8], start: usize, mut each: impl FnMut(usize)) {
    let mut at = space(bytes, start + 1);
    let mut walker = Walker::default();
    while at < bytes.len() && byte(bytes, at) != b']' {
        each(at);
        let Ok(end) = walker.walk(bytes, at, usize::MAX) else { return };
        at = space(bytes, end);
        if byte(bytes, at) == b',' {
            at = space(bytes, at + 1);
        }
    }
}
