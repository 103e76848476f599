//! What is null or absent in values that stand beside their own column.
//!
//! An array whose items do not fit goes to the column beside as JSON text, whole. Its nulls are news all the same, at any
//! depth, and so is what its objects lack; they are noted with the types in which they would have been.

use super::Page;
use super::records::{self, members};
use super::walk::Walker;
use crate::json::scan::{byte, space};
use crate::schema::{Fields, Type};

/// Notes in the types of fields what the records of a page lack, at any depth. The page has been taken.
#[cold]
pub(super) fn in_page(fields: &mut Fields, page: &Page) {
    let mut walker = Walker::default();
    let _ = records::each(page, usize::MAX, |bytes, at| {
        let end = walker.walk(bytes, at, usize::MAX)?;
        in_fields(fields, &page.extra, bytes, at);
        Ok(end)
    });
}

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
        (Type::Struct(fields), b'{') => in_fields(fields, &[], bytes, at),
        _ => {}
    }
}

/// Notes in the types of fields what an object lacks of them, but for those that are added to it.
fn in_fields(fields: &mut Fields, added: &[(String, String)], bytes: &[u8], at: usize) {
    let members = members(bytes, at);
    for field in fields.iter_mut() {
        if !field.is_own() || added.iter().any(|(name, _)| *name == field.name) {
            continue;
        }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Bounds, absorb};
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn what_records_lack_is_noted_but_for_what_is_added_to_them_or_left_out() {
        let page = |text: &'static str| Page {
            extra: vec![("tenant".to_owned(), "1".to_owned())],
            leave_out: vec![0],
            ..Page::from_json(Bytes::from_static(text.as_bytes()))
        };
        let bounds = Bounds { max_depth: 64, max_bytes: 1 << 20 };
        let mut schema = Schema::default();
        let first = page(r#"[{},{"id":1,"l":[{"a":1}],"o":{"x":1,"y":1}}]"#);
        let taken = absorb(&first, &mut schema, &mut Walker::default(), bounds, |_, _, _| Ok(()));
        assert_eq!(taken, Ok(1));
        in_page(&mut schema.fields, &page(r#"[{"id":null},{"id":2,"l":[{"a":2},5],"o":{"x":1,"y":1}}]"#));
        assert!(schema.fields.iter().all(|field| !field.nullable));
        in_page(&mut schema.fields, &page(r#"[{},{"l":[{},null],"o":{"x":null,"y":1}}]"#));
        let nullable = |fields: &Fields| -> Vec<String> {
            fields.iter().filter(|field| field.nullable).map(|field| field.name.clone()).collect()
        };
        assert_eq!(nullable(&schema.fields), ["id"]);
        let Some(Type::List(items)) = schema.fields.get("l") else { unreachable!("{schema:?}") };
        let Type::Struct(inside) = &items.kind else { unreachable!("{items:?}") };
        assert!(items.is_nullable());
        assert_eq!(nullable(inside), ["a"]);
        assert!(matches!(schema.fields.get("o"), Some(Type::Struct(fields)) if nullable(fields) == ["x"]));
    }
}
