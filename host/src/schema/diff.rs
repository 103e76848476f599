//! What differs between two schemas of one stream.

use std::fmt;

use super::{Fields, Schema, Type};

/// One difference, with the JSON pointer of the field; `*` stands for an array's items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The newer schema has a field more.
    Added {
        /// Where.
        path: String,
        /// Its type's name.
        kind: &'static str,
    },
    /// The newer schema lacks a field.
    Removed {
        /// Where.
        path: String,
        /// Its type's name in the older one.
        kind: &'static str,
    },
    /// A field has another type.
    Changed {
        /// Where.
        path: String,
        /// The older type's name.
        from: &'static str,
        /// The newer type's name.
        to: &'static str,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { path, kind } => write!(out, "{path} is new: {kind}"),
            Self::Removed { path, kind } => write!(out, "{path} is gone: {kind}"),
            Self::Changed { path, from, to } => write!(out, "{path} was {from} and is {to}"),
        }
    }
}

/// Lists what differs, in the order of the older schema, then what the newer one adds.
pub fn diff(old: &Schema, new: &Schema) -> Vec<Change> {
    let mut changes = Vec::new();
    diff_fields(&old.fields, &new.fields, "", &mut changes);
    changes
}

fn diff_fields(old: &Fields, new: &Fields, path: &str, changes: &mut Vec<Change>) {
    let place = |name: &str| format!("{path}/{}", crate::json::escape(name));
    for field in old {
        match new.get(&field.name) {
            Some(kind) => diff_types(&field.kind, kind, &place(&field.name), changes),
            None => changes.push(Change::Removed { path: place(&field.name), kind: field.kind.name() }),
        }
    }
    for field in new.iter().filter(|field| old.get(&field.name).is_none()) {
        changes.push(Change::Added { path: place(&field.name), kind: field.kind.name() });
    }
}

fn diff_types(old: &Type, new: &Type, path: &str, changes: &mut Vec<Change>) {
    match (old, new) {
        (Type::Struct(old), Type::Struct(new)) => diff_fields(old, new, path, changes),
        (Type::List(old), Type::List(new)) => diff_types(old, new, &format!("{path}/*"), changes),
        _ if old.name() != new.name() => {
            changes.push(Change::Changed { path: path.to_owned(), from: old.name(), to: new.name() });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &str) -> Schema {
        Schema::parse(&format!("{{\"fields\":[{fields}]}}")).unwrap_or_default()
    }

    #[test]
    fn differences_are_listed_by_path() {
        let old = schema(
            r#"{"name":"a","type":"integer"},{"name":"b/c","type":"array","items":{"type":"object","fields":[{"name":"x","type":"text"}]}},
            {"name":"gone","type":"json"}"#,
        );
        let new = schema(
            r#"{"name":"a","type":"number"},{"name":"b/c","type":"array","items":{"type":"object","fields":[{"name":"x","type":"json"},
            {"name":"y","type":"unknown"}]}},{"name":"new","type":"boolean"}"#,
        );
        let lines: Vec<String> = diff(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(
            lines,
            [
                "/a was integer and is number",
                "/b~1c/*/x was text and is json",
                "/b~1c/*/y is new: unknown",
                "/gone is gone: json",
                "/new is new: boolean"
            ]
        );
        assert!(diff(&old, &old).is_empty());
    }
}
