//! Which fields the rows of a table have, and which they lack.

use super::column::{Column, Data, Group};
use crate::schema::{Fields, Type};

/// Notes in a schema which fields its rows have and lack. Columns are of the same length, and the schema is theirs.
pub(super) fn observe(group: &Group, present: usize, fields: &mut Fields) {
    for (member, field) in group.members.iter().zip(fields.iter_mut()) {
        if !field.is_own() {
            continue;
        }
        let values = group.values(member);
        field.seen |= member.seen || values > 0;
        field.nullable |= values < present;
        within(&member.column, &mut field.kind);
    }
}

fn within(column: &Column, kind: &mut Type) {
    match (&column.data, kind) {
        (Data::Struct(group), Type::Struct(fields)) => observe(group, column.values(), fields),
        (Data::List { items, .. }, Type::List(item)) => {
            item.note(items.values() < items.len(), items.values() > 0);
            within(items, item);
        }
        _ => {}
    }
}

/// Whether rows lack a field that all records had before.
pub(super) fn lacks(group: &Group, present: usize, known: &Fields) -> bool {
    let must = |field: &&crate::schema::Field| field.is_own() && field.is_always();
    present > 0
        && known.iter().filter(must).any(|field| {
            let member = group.places.get(field.name.as_bytes()).and_then(|place| group.members.get(*place));
            member.is_none_or(|member| group.values(member) < present)
        })
        || known.iter().filter(|field| field.is_own()).any(|field| {
            let member = group.places.get(field.name.as_bytes()).and_then(|place| group.members.get(*place));
            member.is_some_and(|member| lacks_within(&member.column, &field.kind))
        })
}

fn lacks_within(column: &Column, known: &Type) -> bool {
    match (&column.data, known) {
        (Data::Struct(group), Type::Struct(known)) => lacks(group, column.values(), known),
        (Data::List { items, .. }, Type::List(known)) => {
            known.is_always() && items.values() < items.len() || lacks_within(items, known)
        }
        _ => false,
    }
}
