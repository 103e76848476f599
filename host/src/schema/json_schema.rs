//! A stream's schema as JSON Schema, draft 2020-12, of its records.

use serde_json::{Map, Value, json};

use super::{Field, Fields, Kinds, Schema, Type};

impl Schema {
    /// Writes down what records are like: every record read so far is valid against it.
    ///
    /// A field that every record had is `required`. Where a column beside a field's own holds some of its values,
    /// `x-columns` says in which column values of which type are; where a column's name is not the field's, so does it.
    pub fn to_json_schema(&self, title: &str) -> Value {
        let mut all = Map::new();
        all.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        all.insert("title".to_owned(), json!(title));
        all.insert("type".to_owned(), json!("object"));
        describe_object(&self.fields, &mut all);
        Value::Object(all)
    }
}

fn describe_object(fields: &Fields, all: &mut Map<String, Value>) {
    let own = || fields.iter().filter(|field| field.is_own() && !field.is_gone());
    let properties: Map<String, Value> = own().map(|field| (field.name.clone(), describe(fields, field))).collect();
    let required: Vec<&str> = own().filter(|field| field.is_always()).map(|field| field.name.as_str()).collect();
    if !properties.is_empty() {
        all.insert("properties".to_owned(), properties.into());
    }
    if !required.is_empty() {
        all.insert("required".to_owned(), json!(required));
    }
}

/// JSON Schema's names of kinds; a whole number is a number there.
fn names(kinds: Kinds) -> Vec<&'static str> {
    let number = [Kinds::NUMBER, Kinds::DIGITS].into_iter().any(|kind| kinds.contains(kind));
    let all = [
        (Kinds::BOOLEAN, "boolean", true),
        (Kinds::INTEGER, "integer", !number),
        (Kinds::TEXT, "string", true),
        (Kinds::OBJECT, "object", true),
        (Kinds::ARRAY, "array", true),
    ];
    let names = all.into_iter().filter(|(kind, _, also)| *also && kinds.contains(*kind)).map(|(_, name, _)| name);
    names.chain(number.then_some("number")).collect()
}

fn describe(fields: &Fields, field: &Field) -> Value {
    let mut all = Map::new();
    let mut types = names(fields.kinds(field));
    // One that a record had as null, or did not have, may be null.
    if field.nullable || !field.is_seen() {
        types.push("null");
    }
    describe_kind(&field.kind, types, field.beside().places().next().is_none(), &mut all);
    let mut columns = Map::new();
    if field.column() != field.name && field.kind != Type::Unknown {
        columns.insert(field.column().to_owned(), json!(names(field.kind.kinds())));
    }
    for beside in field.beside().places().filter_map(|place| fields.at(place)) {
        columns.insert(beside.column().to_owned(), json!(names(beside.kind.kinds())));
    }
    if !columns.is_empty() {
        all.insert("x-columns".to_owned(), columns.into());
    }
    Value::Object(all)
}

/// `alone`: all values of the field are in this column, so that what is inside of it holds for all of them.
fn describe_kind(kind: &Type, types: Vec<&str>, alone: bool, all: &mut Map<String, Value>) {
    match types.as_slice() {
        [] => {}
        [one] => drop(all.insert("type".to_owned(), json!(one))),
        several => drop(all.insert("type".to_owned(), json!(several))),
    }
    match kind {
        Type::Timestamp if alone => drop(all.insert("format".to_owned(), json!("date-time"))),
        Type::Struct(fields) if !has_other(kind, alone) => describe_object(fields, all),
        Type::List(item) if !has_other(kind, alone) => {
            let mut items = Map::new();
            let mut types = names(item.kinds());
            if !types.is_empty() && !item.is_always() {
                types.push("null");
            }
            describe_kind(item, types, true, &mut items);
            all.insert("items".to_owned(), items.into());
        }
        _ => {}
    }
}

/// Whether objects or arrays of the same field are elsewhere, of which nothing more is known.
fn has_other(kind: &Type, alone: bool) -> bool {
    match kind {
        Type::Struct(fields) => fields.is_closed(),
        _ => !alone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Form;

    #[test]
    fn every_record_so_far_is_valid() {
        use crate::record::{Bounds, Page, Walker, absorb};
        let pages = [
            json!([{"a": 1, "o": {"x": 1, "y": null}, "l": [1, null], "n": null, "e": {}}]),
            json!([{"a": 1.5, "o": {"x": "t"}, "l": [1.5], "n": 1}, {"a": "t", "l": ["t"], "o": null, "s": [{"p": 1}]}]),
            json!([{"a": {"b": 1}, "o": [1], "l": [[1]], "n": [], "e": 1}, {"l": {}, "o": "o", "s": [{"q": null}, null]}]),
            json!([{"a": true, "o": {"x": {}, "z": 123456789012345678901234567890_f64}, "l": null, "s": [[1]]}]),
        ];
        for settled in [false, true] {
            let mut schema = Schema::default();
            for page in &pages {
                let page = Page::from_json(page.to_string().into());
                let bounds = Bounds { max_depth: 64, max_bytes: 1 << 20 };
                let taken = absorb(&page, &mut schema, &mut Walker::default(), bounds, |_, _, _| Ok(()));
                assert!(taken.is_ok(), "{taken:?}");
                if settled {
                    schema.settle(true);
                }
            }
            let known = crate::schema::drift::known_after(None, &schema, crate::schema::drift::Reading::Full);
            let written = known.to_json_schema("items");
            let validator = jsonschema::draft202012::new(&written).unwrap();
            for record in pages.iter().flat_map(|page| page.as_array().into_iter().flatten()) {
                let problems: Vec<String> = validator.iter_errors(record).map(|error| error.to_string()).collect();
                assert!(problems.is_empty(), "{record}\n{problems:?}\n{written:#}");
            }
        }
    }

    #[test]
    fn a_schema_is_written_as_draft_2020_12() {
        let inner: Fields = [("x".to_owned(), Type::Timestamp)].into_iter().collect();
        let fields = [
            ("id".to_owned(), Type::Int { wide: true }),
            ("n".to_owned(), Type::Float),
            ("o".to_owned(), Type::Struct(inner)),
            ("l".to_owned(), Type::List(Box::new(Type::Text(Kinds::TEXT).into()))),
            ("never".to_owned(), Type::Unknown),
        ];
        let mut schema = Schema { fields: fields.into_iter().collect() };
        schema.fields.beside(0, Form::Text).map(|field| field.kind.admit(&Type::Text(Kinds::TEXT)));
        schema.fields.iter_mut().for_each(|field| field.seen = true);
        schema.fields.iter_mut().skip(1).take(1).for_each(|field| field.nullable = true);
        assert_eq!(
            schema.to_json_schema("items"),
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "items",
                "type": "object",
                "properties": {
                    "id": {"type": ["integer", "string"], "x-columns": {"id__text": ["string"]}},
                    "n": {"type": ["number", "null"]},
                    "o": {"type": "object", "properties": {"x": {"type": ["string", "null"], "format": "date-time"}}},
                    "l": {"type": "array", "items": {"type": ["string", "null"]}},
                    "never": {}
                },
                "required": ["id", "o", "l", "never"]
            })
        );
    }
}
