//! Drift: how the records of a stream differ from those of its complete readings before.
//!
//! Compared are what a reading found ([`Schema`], in which every record counts) and what was known when it began:
//!
//! | change | when |
//! | --- | --- |
//! | new | a field that no complete reading had, or that came back after it was removed |
//! | type | a field has values of another scalar kind; a whole number where there were fractions is none |
//! | structure | a field has an object or an array where it had none, or anything else where it had one |
//! | nullable | a field that every record had is absent or null in one; an array has null among its items, and none had |
//! | removed | a whole complete reading, of at least one record, had none of it |
//!
//! Below a field or item that is JSON text from the first, nothing is compared; of values that go to a column beside as JSON
//! text, what they lack of what is known is ([`crate::record`]'s `absent`). In JSON lines every value is as it came, and a type
//! widens in place.
//!
//! A full reading counts for every field. An incremental one brings some records, and says that a field is removed only if
//! every record before had it; of the fields of objects in arrays, only if it brought such objects. That a field is never null
//! in one reading is no promise, and no change.
//!
//! While the first reading is under way nothing is known to differ from, and fields that come late are no drift. But a column
//! that is written and does not hold what comes then is: from there on, values are in a column beside it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fields::{Field, Form};
use super::{Fields, Kinds, Schema, Type};
use crate::json::escape;

/// What to do about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Go on. The report and the stream's history have it.
    #[default]
    Evolve,
    /// Go on, and say so.
    Warn,
    /// End the read before the page that holds the change.
    Fail,
}

impl Policy {
    /// The words for it.
    pub const NAMES: [&'static str; 3] = ["evolve", "warn", "fail"];
}

impl std::str::FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "evolve" => Ok(Self::Evolve),
            "warn" => Ok(Self::Warn),
            "fail" => Ok(Self::Fail),
            _ => Err(format!("write evolve, warn or fail: {text:?}")),
        }
    }
}

/// One change, with the JSON pointer of the field in a record; `*` stands for an array's items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum Change {
    /// A field is new.
    New {
        /// Where.
        path: String,
        /// What it holds.
        kind: String,
    },
    /// A field is not there any more.
    Removed {
        /// Where.
        path: String,
        /// What it held.
        kind: String,
    },
    /// A field has values of another scalar kind.
    Type {
        /// Where.
        path: String,
        /// What it held.
        from: String,
        /// What it holds as well.
        to: String,
        /// The column of these values, where it is not the field's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        column: Option<String>,
    },
    /// A field has an object or an array where it had none, or anything else where it had one.
    Structure {
        /// Where.
        path: String,
        /// What it held.
        from: String,
        /// What it holds as well.
        to: String,
        /// The column of these values, where it is not the field's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        column: Option<String>,
    },
    /// A field that every record had is absent or null.
    Nullable {
        /// Where.
        path: String,
        /// Whether it is an array's items, of which none was null.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        items: bool,
    },
}

impl Change {
    /// Returns the change without the column of its values.
    #[must_use]
    pub(crate) fn anywhere(mut self) -> Self {
        if let Self::Type { column, .. } | Self::Structure { column, .. } = &mut self {
            *column = None;
        }
        self
    }

    /// Returns the JSON pointer of the field.
    pub fn path(&self) -> &str {
        match self {
            Self::New { path, .. }
            | Self::Removed { path, .. }
            | Self::Type { path, .. }
            | Self::Structure { path, .. }
            | Self::Nullable { path, .. } => path,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { path, kind } => write!(out, "{path} is new: {kind}"),
            Self::Removed { path, kind } => write!(out, "{path} is gone: {kind}"),
            Self::Type { path, from, to, column } | Self::Structure { path, from, to, column } => {
                write!(out, "{path} was {from} and is {to}")?;
                column.as_ref().map_or(Ok(()), |column| write!(out, ", kept in {column}"))
            }
            Self::Nullable { path, items: true } => write!(out, "{path} was never null and is null in an array"),
            Self::Nullable { path, items: false } => {
                write!(out, "{path} was in every record and is absent or null")
            }
        }
    }
}

/// Lists how a reading differs from what was known; from nothing, where the first reading is under way. What is removed is
/// only known at the end: see [`removed`].
pub fn drift(known: Option<&Schema>, now: &Schema) -> Vec<Change> {
    let mut changes = Vec::new();
    compare_objects(known.map(|known| &known.fields), &now.fields, "", &mut changes);
    changes
}

fn place(path: &str, field: &Field) -> String {
    format!("{path}/{}", escape(&field.name))
}

fn own(fields: &Fields) -> impl Iterator<Item = &Field> {
    fields.iter().filter(|field| field.is_own())
}

/// What a field holds, in words.
pub(crate) fn held(fields: &Fields, field: &Field) -> String {
    match &field.kind {
        Type::Timestamp if fields.kinds(field) == Kinds::TEXT => "timestamp".to_owned(),
        Type::List(item) if fields.kinds(field) == Kinds::ARRAY => match &item.kind {
            Type::Unknown => "array".to_owned(),
            kind => format!("array of {}", kind.kinds()),
        },
        _ => fields.kinds(field).to_string(),
    }
}

fn compare_objects(known: Option<&Fields>, now: &Fields, path: &str, changes: &mut Vec<Change>) {
    for field in own(now).filter(|field| field.seen) {
        let path = place(path, field);
        let Some(known) = known else {
            beside(None, now, field, &path, changes);
            compare_types(None, &field.kind, &path, changes);
            continue;
        };
        match known.field(&field.name) {
            Some(before) if !before.gone => {
                if before.is_always() && now.is_nullable(field) {
                    changes.push(Change::Nullable { path: path.clone(), items: false });
                }
                compare_fields((known, before), (now, field), &path, changes);
            }
            _ => changes.push(Change::New { path, kind: held(now, field) }),
        }
    }
    // What no record had so far is missing in all of them, if there are any.
    let any = now.objects > 0 || now.old;
    for before in known.into_iter().flat_map(own).filter(|field| any && field.is_always()) {
        if now.field(&before.name).is_none_or(|field| !field.seen && now.is_nullable(field)) {
            changes.push(Change::Nullable { path: place(path, before), items: false });
        }
    }
}

fn compare_fields(
    (known, before): (&Fields, &Field),
    (now, field): (&Fields, &Field),
    path: &str,
    changes: &mut Vec<Change>,
) {
    let kinds = known.kinds(before);
    // What is read as a fraction may be whole.
    let may_be = if kinds.contains(Kinds::NUMBER) { kinds.with(Kinds::INTEGER) } else { kinds };
    for kind in now.kinds(field).without(may_be).each() {
        let column = column_of(now, field, kind);
        changes.push(other(path, (held(known, before), kinds), (kind.to_string(), kind), column));
    }
    if matches!(before.kind, Type::Timestamp) && matches!(field.kind, Type::Text(_)) {
        changes.push(other(path, ("timestamp".to_owned(), kinds), ("text".to_owned(), Kinds::TEXT), None));
    }
    beside(Some((known, before)), now, field, path, changes);
    compare_types(Some(&before.kind), &field.kind, path, changes);
}

/// Compares what is in objects and arrays.
fn compare_types(known: Option<&Type>, now: &Type, path: &str, changes: &mut Vec<Change>) {
    match (known, now) {
        (None, Type::Struct(now)) => compare_objects(None, now, path, changes),
        (None, Type::List(now)) => compare_types(None, now, &format!("{path}/*"), changes),
        (Some(Type::Struct(known)), Type::Struct(now)) => compare_objects(Some(known), now, path, changes),
        (Some(Type::List(known)), Type::List(now)) => {
            let path = format!("{path}/*");
            if known.is_always() && now.is_nullable() {
                changes.push(Change::Nullable { path: path.clone(), items: true });
            }
            let kinds = known.kinds();
            let may_be = if kinds.contains(Kinds::NUMBER) { kinds.with(Kinds::INTEGER) } else { kinds };
            for kind in now.kinds().without(may_be).each() {
                changes.push(other(&path, (kinds.to_string(), kinds), (kind.to_string(), kind), None));
            }
            compare_types(Some(known), now, &path, changes);
        }
        _ => {}
    }
}

/// The column beside a field's own that has values of a kind.
fn column_of(fields: &Fields, field: &Field, kind: Kinds) -> Option<String> {
    if field.kind.kinds().contains(kind) {
        return None;
    }
    let mut beside = field.beside().places().filter_map(|place| fields.at(place));
    beside.find(|beside| beside.kind.kinds().contains(kind)).map(|beside| beside.column().to_owned())
}

/// Lists columns beside a field's own that are there for values which its kinds alone do not tell: all of them, where
/// nothing is known.
fn beside(known: Option<(&Fields, &Field)>, now: &Fields, field: &Field, path: &str, changes: &mut Vec<Change>) {
    for form in Form::ALL {
        let Some(column) = field.beside().get(form).and_then(|place| now.at(place)) else { continue };
        let before = known.and_then(|(known, before)| known.at(before.beside().get(form)?));
        let before = before.map_or(Kinds::NONE, |before| before.kind.kinds());
        for kind in column.kind.kinds().without(before).each() {
            let to = match (&field.kind, kind) {
                (Type::List(_), Kinds::ARRAY) => "array of other items".to_owned(),
                (Type::Struct(_), Kinds::OBJECT) => "object of too many fields".to_owned(),
                (Type::Float, Kinds::INTEGER) => "integer beyond 2^53".to_owned(),
                (Type::Timestamp, Kinds::TEXT) => "text".to_owned(),
                _ if known.is_some() => continue,
                _ => kind.to_string(),
            };
            let kinds = field.kind.kinds();
            let from = match &field.kind {
                Type::List(item) if item.kind != Type::Unknown => format!("array of {}", item.kinds()),
                Type::Timestamp => "timestamp".to_owned(),
                _ => kinds.to_string(),
            };
            changes.push(other(path, (from, kinds), (to, kind), Some(column.column().to_owned())));
        }
    }
}

fn other(path: &str, from: (String, Kinds), to: (String, Kinds), column: Option<String>) -> Change {
    let path = path.to_owned();
    if from.1.is_nested() || to.1.is_nested() {
        Change::Structure { path, from: from.0, to: to.0, column }
    } else {
        Change::Type { path, from: from.0, to: to.0, column }
    }
}

/// Lists the fields that a complete reading had none of.
pub fn removed(known: &Schema, now: &Schema, full: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    find_removed(&known.fields, &now.fields, full, "", &mut changes);
    changes
}

fn find_removed(known: &Fields, now: &Fields, full: bool, path: &str, changes: &mut Vec<Change>) {
    for before in own(known).filter(|field| field.seen && !field.gone) {
        let path = place(path, before);
        match now.field(&before.name) {
            Some(field) if field.seen => removed_in(&before.kind, &field.kind, full, &path, changes),
            _ if full || !before.nullable => changes.push(Change::Removed { path, kind: held(known, before) }),
            _ => {}
        }
    }
}

fn removed_in(known: &Type, now: &Type, full: bool, path: &str, changes: &mut Vec<Change>) {
    match (known, now) {
        (Type::Struct(known), Type::Struct(now)) if full || came(now) => find_removed(known, now, full, path, changes),
        (Type::List(known), Type::List(now)) => removed_in(known, now, full, &format!("{path}/*"), changes),
        _ => {}
    }
}

/// Whether a reading had such objects. What is new may have none in its arrays, which says nothing of their fields.
fn came(fields: &Fields) -> bool {
    own(fields).any(|field| field.seen)
}

/// How far a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is under way, or brought no record.
    UnderWay,
    /// It brought what is new.
    Incremental,
    /// It brought everything.
    Full,
}

/// Makes of what a reading found what is known from then on: a field that was null once may be null, and one that a reading
/// could not have shown to be gone is still there.
pub fn known_after(known: Option<&Schema>, now: &Schema, reading: Reading) -> Schema {
    let mut after = now.clone();
    super::each_object(&mut after.fields, &mut |fields| {
        let objects = fields.objects;
        fields.iter_mut().for_each(|field| field.nullable |= field.values < objects);
    });
    after.forget_counts();
    if let Some(known) = known {
        carry(&known.fields, &mut after.fields, reading);
    }
    after
}

impl Schema {
    /// Takes over which fields may be null.
    pub(crate) fn relax(&mut self, now: &Schema) {
        carry(&now.fields, &mut self.fields, Reading::UnderWay);
    }
}

fn carry(known: &Fields, now: &mut Fields, reading: Reading) {
    for field in now.iter_mut().filter(|field| field.is_own()) {
        field.gone &= !field.seen;
        let Some(before) = known.field(&field.name) else { continue };
        field.nullable |= before.nullable;
        // Nothing but nulls says nothing of what it is.
        if field.kind == Type::Unknown {
            field.kind = before.kind.clone();
        }
        let inner = if field.seen { reading } else { Reading::UnderWay };
        if !field.seen && before.seen {
            field.seen = true;
            field.gone = before.gone
                || match reading {
                    Reading::UnderWay => false,
                    Reading::Incremental => !before.nullable,
                    Reading::Full => true,
                };
        }
        carry_type(&before.kind, &mut field.kind, inner);
    }
}

fn carry_type(known: &Type, now: &mut Type, reading: Reading) {
    match (known, now) {
        (Type::Struct(known), Type::Struct(now)) => {
            let told = reading == Reading::Full || came(now);
            carry(known, now, if told { reading } else { Reading::UnderWay });
        }
        (Type::List(known), Type::List(now)) => {
            now.note(known.nullable, known.seen);
            carry_type(known, now, reading);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{Bounds, Page, Walker, absorb};

    /// What records are like, where columns are settled after each page.
    fn read(start: &Schema, pages: &[&str]) -> Schema {
        let mut schema = start.clone();
        for page in pages {
            let page = Page::from_json(Bytes::copy_from_slice(page.as_bytes()));
            let bounds = Bounds { max_depth: 64, max_bytes: 1 << 20 };
            let taken = absorb(&page, &mut schema, &mut Walker::default(), bounds, |_, _, _| Ok(()));
            assert!(taken.is_ok(), "{taken:?}");
            schema.settle(true);
        }
        schema
    }

    fn full(pages: &[&str]) -> Schema {
        known_after(None, &read(&Schema::default(), pages), Reading::Full)
    }

    fn lines(changes: &[Change]) -> Vec<String> {
        changes.iter().map(Change::to_string).collect()
    }

    fn between(known: &str, now: &str) -> Vec<String> {
        let (known, now) = (full(&[known]), read(&Schema::default(), &[now]));
        lines(&drift(Some(&known), &now).into_iter().chain(removed(&known, &now, true)).collect::<Vec<_>>())
    }

    #[test]
    fn every_change_has_its_path() {
        let none: [&str; 0] = [];
        let record = r#"{"a":1,"b/c":[{"x":"t"}],"n":1.5,"o":{"p":null}}"#;
        assert_eq!(between(record, record), none);
        assert_eq!(between(record, r#"[{"a":1,"b/c":[{"x":"u"},{"x":""}],"n":2,"o":{"p":null}}]"#), none);
        assert_eq!(
            between(record, r#"{"a":true,"b/c":[{"x":{},"y":1},{"y":2}],"n":"","o":{"p":1},"z":[1]}"#),
            [
                "/a was integer and is boolean",
                "/b~1c/*/x was in every record and is absent or null",
                "/b~1c/*/x was text and is object",
                "/b~1c/*/y is new: integer",
                "/n was number and is text",
                "/o/p was null and is integer",
                "/z is new: array of integer",
            ]
        );
        assert_eq!(
            between(record, r#"[{"b/c":{},"o":{}},{"b/c":[1]}]"#),
            [
                "/b~1c was array of object and is object",
                "/o was in every record and is absent or null",
                "/a was in every record and is absent or null",
                "/n was in every record and is absent or null",
                "/a is gone: integer",
                "/n is gone: number",
                "/o/p is gone: null",
            ]
        );
        assert_eq!(between(r#"{"a":[1]}"#, r#"{"a":["x"]}"#), ["/a/* was integer and is text"]);
        assert_eq!(between(r#"{"a":[1]}"#, r#"{"a":[[1]]}"#), ["/a/* was integer and is array"]);
        assert_eq!(between(r#"{"a":1}"#, r#"{"a":12345678901234567890}"#), ["/a was integer and is long number"]);
    }

    #[test]
    fn null_among_items_that_never_were_is_drift_at_any_depth() {
        let none: [&str; 0] = [];
        let known = r#"{"l":[1],"d":[[[{"x":["t"]}]],[]],"e":[],"n":[null,1]}"#;
        assert_eq!(between(known, r#"{"l":[],"d":[[],[[]]],"e":[],"n":[1]}"#), none);
        let line = |path: &str| format!("{path} was never null and is null in an array");
        assert_eq!(between(known, r#"{"l":[2,null],"d":[],"e":[null],"n":[null]}"#), [line("/l/*")]);
        assert_eq!(
            between(known, r#"[{"l":[null],"d":[null,[[{"x":[null]},null],null]],"e":[],"n":[]}]"#),
            [line("/l/*"), line("/d/*"), line("/d/*/*"), line("/d/*/*/*"), line("/d/*/*/*/x/*")]
        );
        // What was null once may be null.
        let before = full(&[known]);
        let now = read(&before, &[r#"{"l":[null],"d":[],"e":[],"n":[]}"#]);
        let after = known_after(Some(&before), &now, Reading::Incremental);
        assert_eq!(drift(Some(&after), &read(&after, &[r#"{"l":[null,3],"d":[],"e":[],"n":[]}"#])), []);
        let now = read(&before, &[r#"{"l":[null,"x"],"d":[],"e":[],"n":[]}"#]);
        assert_eq!(
            lines(&drift(Some(&before), &now)),
            ["/l was array of integer and is array of other items, kept in l__json".to_owned(), line("/l/*")]
        );
        // A declared type of items that never came promises nothing.
        let declared = Schema::from_json_schema(r#"{"properties":{"l":{"items":{"type":"integer"}}}}"#);
        let declared = known_after(None, &read(&declared.unwrap_or_default(), &[r#"{"l":[]}"#]), Reading::Full);
        assert_eq!(drift(Some(&declared), &read(&declared, &[r#"{"l":[null]}"#])), []);
    }

    #[test]
    fn what_an_array_lacks_that_goes_elsewhere_as_a_whole_is_drift_too() {
        let known = r#"{"l":[{"a":1,"o":{"b":[2]}}],"m":[[3]]}"#;
        let before = full(&[known]);
        let told = |record: &str| lines(&drift(Some(&before), &read(&before, &[record])));
        let elsewhere = |path: &str| {
            format!(
                "/{path} was array of {} and is array of other items, kept in {path}__json",
                if path == "l" { "object" } else { "array" }
            )
        };
        assert_eq!(told(r#"{"l":[{"o":{"b":[1]},"a":1},5],"m":[[1],"x"]}"#), [elsewhere("l"), elsewhere("m")]);
        assert_eq!(
            told(r#"{"l":[5,{"a":null,"o":{"b":[null]}},null],"m":["x",[null]]}"#),
            [
                elsewhere("l"),
                "/l/* was never null and is null in an array".to_owned(),
                "/l/*/a was in every record and is absent or null".to_owned(),
                "/l/*/o/b/* was never null and is null in an array".to_owned(),
                elsewhere("m"),
                "/m/*/* was never null and is null in an array".to_owned(),
            ]
        );
        assert_eq!(
            told(r#"{"l":[{"o":{}},[]],"m":[[1]]}"#),
            [
                elsewhere("l"),
                "/l/*/a was in every record and is absent or null".to_owned(),
                "/l/*/o/b was in every record and is absent or null".to_owned(),
            ]
        );
    }

    #[test]
    fn a_written_column_keeps_its_type_and_says_where_the_rest_is() {
        let known = full(&[r#"{"a":1,"f":0.5,"l":[1],"o":{"x":"t"},"t":"x"}"#]);
        let pages = [
            r#"{"a":1.5,"f":1,"l":[2],"o":{"x":1},"t":5}"#,
            r#"{"a":"x","f":9007199254740993,"l":["x"],"o":{"x":[]},"t":true}"#,
            r#"{"a":{"b":1},"f":true,"l":{},"o":"o","t":[]}"#,
        ];
        let expected = [
            "/a was integer and is number, kept in a__number",
            "/a was integer and is text, kept in a__text",
            "/a was integer and is object, kept in a__json",
            "/f was number and is boolean, kept in f__text",
            "/f was number and is integer beyond 2^53, kept in f__text",
            "/l was array of integer and is object, kept in l__json",
            "/l was array of integer and is array of other items, kept in l__json",
            "/o was object and is text, kept in o__json",
            "/o/x was text and is integer",
            "/o/x was text and is array, kept in x__json",
            "/t was text and is boolean",
            "/t was text and is integer",
            "/t was text and is array, kept in t__json",
        ];
        let now = read(&known, &pages);
        assert_eq!(lines(&drift(Some(&known), &now)), expected);
        // In the first reading, what a column does not hold is all that is told.
        let what = |line: &str| line.split_once(" and is ").map(|(path, to)| (path[..2].to_owned(), to.to_owned()));
        let mut first: Vec<_> =
            expected.iter().filter(|line| line.contains("kept in")).filter_map(|line| what(line)).collect();
        let mut found: Vec<_> = lines(&drift(None, &now)).iter().filter_map(|line| what(line)).collect();
        found.sort();
        first.sort();
        assert_eq!(found, first);
        assert_eq!(Schema::parse(&now.to_description().to_string()).ok(), Some(now.clone()));
        // Nothing of it comes as news once it is known.
        let after = known_after(Some(&known), &now, Reading::Incremental);
        assert_eq!(drift(Some(&after), &read(&after, &pages)), []);
    }

    #[test]
    fn what_is_gone_depends_on_the_reading() {
        let known = full(&[r#"[{"a":1,"b":1,"o":{"x":1}},{"a":2,"b":null,"o":{"x":1}}]"#]);
        let mut now = known.clone();
        now.forget_seen();
        let now = read(&now, &[r#"{"c":1}"#]);
        assert_eq!(
            lines(&removed(&known, &now, true)),
            ["/a is gone: integer", "/b is gone: integer", "/o is gone: object"]
        );
        assert_eq!(lines(&removed(&known, &now, false)), ["/a is gone: integer", "/o is gone: object"]);
        // It comes back.
        let after = known_after(Some(&known), &now, Reading::Incremental);
        let gone: Vec<_> =
            after.fields.iter().filter(|field| field.is_gone()).map(|field| field.name.as_str()).collect();
        assert_eq!(gone, ["a", "o"]);
        let mut next = after.clone();
        next.forget_seen();
        assert_eq!(lines(&drift(Some(&after), &read(&next, &[r#"{"a":3}"#]))), ["/a is new: integer"]);
        let after = known_after(Some(&after), &read(&next, &[r#"{"a":3}"#]), Reading::Incremental);
        assert!(after.fields.field("a").is_some_and(|field| !field.is_gone()));
        // What is new had no such objects.
        let known = full(&[r#"{"l":[{"x":1,"y":1}]}"#]);
        let mut now = known.clone();
        now.forget_seen();
        let now = read(&now, &[r#"[{"l":[]},{"l":[null]}]"#]);
        assert_eq!(removed(&known, &now, false), []);
        assert_eq!(lines(&removed(&known, &now, true)), ["/l/*/x is gone: integer", "/l/*/y is gone: integer"]);
        let after = known_after(Some(&known), &now, Reading::Incremental);
        assert!(
            matches!(after.fields.get("l"), Some(Type::List(items)) if matches!(&items.kind, Type::Struct(fields) if !fields.iter().any(Field::is_gone)))
        );
        let (known, now) = (after, read(&now, &[r#"{"l":[{"y":1}]}"#]));
        assert_eq!(lines(&removed(&known, &now, false)), ["/l/*/x is gone: integer"]);
        // A reading under way says nothing of what is gone.
        assert!(!known_after(Some(&known), &now, Reading::UnderWay).fields.iter().any(Field::is_gone));
    }
}
