//! A schema as JSON, for `_schema.json` and the state.

use serde_json::{Map, Value, json};

use super::{Field, Fields, Form, Items, Kinds, Schema, Type};

/// Why a description gives no schema.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// The text is not JSON.
    #[error("the schema's description is not JSON")]
    Json(#[from] serde_json::Error),
    /// Something in it is not as written by this version.
    #[error("the schema's description is malformed at `{0}`")]
    Malformed(String),
}

impl Schema {
    /// Writes the schema down: `{"fields": [{"name", "type", "nullable", …}]}`, where an object has `fields` and an array
    /// has `items`.
    ///
    /// Only where it is so, a field has `"column"` (its column has another name), `"beside"` (it is a column that holds what
    /// does not fit that of this field, in the form `"form"`), `"holds"` (kinds of values that are text), `"wide": true` (whole
    /// numbers beyond 2^53), `"written": true` (the column is in a file), `"seen": false` (in no record of the reading so far)
    /// and `"gone": true`. Items have `nullable` and `seen` as fields do. Of an object, `"old": true` says that a field which comes later is missing in some, and
    /// `"closed": true` that it takes no more names in.
    pub fn to_description(&self) -> Value {
        let mut all = Map::new();
        describe_fields(&self.fields, &mut all);
        Value::Object(all)
    }

    /// Reads what [`Schema::to_description`] wrote.
    pub fn from_description(description: &Value) -> Result<Self, DescriptionError> {
        Ok(Self { fields: read_fields(description, "")? })
    }

    /// Reads the JSON text of what [`Schema::to_description`] wrote.
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        Self::from_description(&serde_json::from_str(text)?)
    }
}

impl Type {
    /// Returns the type's name in descriptions and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Bool => "boolean",
            Self::Int { .. } => "integer",
            Self::Float => "number",
            Self::Text(_) => "text",
            Self::Timestamp => "timestamp",
            Self::Json(_) => "json",
            Self::Struct(_) => "object",
            Self::List(_) => "array",
        }
    }
}

fn describe_fields(fields: &Fields, object: &mut Map<String, Value>) {
    for (name, is_so) in [("closed", fields.is_closed()), ("old", fields.old)] {
        if is_so {
            object.insert(name.to_owned(), json!(true));
        }
    }
    let describe = |field: &Field| {
        let mut all = Map::new();
        all.insert("name".to_owned(), json!(field.name));
        if field.column() != field.name {
            all.insert("column".to_owned(), json!(field.column()));
        }
        if let Some((of, form)) = field.of {
            all.insert("beside".to_owned(), json!(fields.at(of).map(|field| &field.name)));
            all.insert("form".to_owned(), json!(form.name()));
        }
        describe_type(&field.kind, &mut all);
        all.insert("nullable".to_owned(), json!(!field.is_own() || fields.is_nullable(field)));
        let flags = [("written", field.written, true), ("seen", !field.seen && field.is_own(), false)];
        for (name, is_so, value) in flags.into_iter().chain([("gone", field.gone, true)]) {
            if is_so {
                all.insert(name.to_owned(), json!(value));
            }
        }
        Value::Object(all)
    };
    object.insert("fields".to_owned(), fields.iter().map(describe).collect());
}

fn describe_type(kind: &Type, all: &mut Map<String, Value>) {
    all.insert("type".to_owned(), json!(kind.name()));
    match kind {
        Type::Int { wide: true } => {
            all.insert("wide".to_owned(), json!(true));
        }
        Type::Text(kinds) | Type::Json(kinds) if *kinds != Kinds::TEXT => {
            all.insert("holds".to_owned(), kinds.names().collect());
        }
        Type::Struct(fields) => describe_fields(fields, all),
        Type::List(item) => {
            let mut items = Map::new();
            describe_type(item, &mut items);
            items.insert("nullable".to_owned(), json!(item.nullable));
            if !item.seen {
                items.insert("seen".to_owned(), json!(false));
            }
            all.insert("items".to_owned(), Value::Object(items));
        }
        _ => {}
    }
}

fn read_fields(object: &Value, path: &str) -> Result<Fields, DescriptionError> {
    let malformed = || DescriptionError::Malformed(format!("{path}/fields"));
    let list = object.get("fields").and_then(Value::as_array).ok_or_else(malformed)?;
    let mut fields = Fields::new(flag(object, "closed", false), flag(object, "old", false));
    for field in list {
        let name = field.get("name").and_then(Value::as_str).ok_or_else(malformed)?;
        let path = format!("{path}/{name}");
        let of = match field.get("beside").and_then(Value::as_str) {
            None => None,
            Some(own) => {
                let form = field.get("form").and_then(Value::as_str);
                let form = Form::ALL.into_iter().find(|known| Some(known.name()) == form);
                let of = fields.iter().position(|field| field.is_own() && field.name == own);
                Some(of.zip(form).ok_or_else(|| DescriptionError::Malformed(format!("{path}/beside")))?)
            }
        };
        let field = Field {
            name: name.to_owned(),
            kind: read_type(field, &path)?,
            column: field.get("column").and_then(Value::as_str).map(str::to_owned),
            of,
            written: flag(field, "written", false),
            seen: of.is_none() && flag(field, "seen", true),
            nullable: of.is_none() && flag(field, "nullable", true),
            gone: flag(field, "gone", false),
            ..Field::default()
        };
        if field.is_own() && fields.knows(name) {
            return Err(malformed());
        }
        fields.push(field);
    }
    Ok(fields)
}

fn flag(object: &Value, name: &str, otherwise: bool) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(otherwise)
}

fn read_type(object: &Value, path: &str) -> Result<Type, DescriptionError> {
    let kinds = || match object.get("holds").and_then(Value::as_array) {
        None => Kinds::TEXT,
        Some(names) => {
            let known = names.iter().filter_map(|name| Kinds::named(name.as_str()?));
            known.fold(Kinds::NONE, Kinds::with)
        }
    };
    Ok(match object.get("type").and_then(Value::as_str) {
        Some("unknown") => Type::Unknown,
        Some("boolean") => Type::Bool,
        Some("integer") => Type::Int { wide: flag(object, "wide", false) },
        Some("number") => Type::Float,
        Some("text") => Type::Text(kinds()),
        Some("timestamp") => Type::Timestamp,
        Some("json") => Type::Json(kinds()),
        Some("object") => Type::Struct(read_fields(object, path)?),
        Some("array") => {
            let items = object.get("items").ok_or_else(|| DescriptionError::Malformed(format!("{path}/items")))?;
            let kind = read_type(items, &format!("{path}/items"))?;
            Type::List(Box::new(Items {
                kind,
                nullable: flag(items, "nullable", true),
                seen: flag(items, "seen", true),
            }))
        }
        _ => return Err(DescriptionError::Malformed(format!("{path}/type"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_back() -> Result<(), DescriptionError> {
        let inner = [("a.b".to_owned(), Type::Json(Kinds::OBJECT)), (String::new(), Type::Timestamp)];
        let inner: Fields = inner.into_iter().collect();
        let tags = Items { kind: Type::Text(Kinds::TEXT), nullable: true, seen: true };
        let fields = [
            ("id".to_owned(), Type::Int { wide: true }),
            ("n".to_owned(), Type::Int { wide: false }),
            ("owner".to_owned(), Type::Struct(inner)),
            ("tags".to_owned(), Type::List(Box::new(Type::List(Box::new(tags)).into()))),
            ("never".to_owned(), Type::Unknown),
            ("hollow".to_owned(), Type::Struct(Fields::default())),
            ("x".to_owned(), Type::Float),
            ("y".to_owned(), Type::Bool),
        ];
        let mut schema = Schema { fields: fields.into_iter().collect() };
        schema.fields.beside(0, Form::Text).map(|field| field.kind.admit(&Type::Bool));
        schema.fields.ensure("id__text");
        schema.fields.iter_mut().skip(2).take(1).for_each(|field| field.seen = true);
        schema.settle(true);
        assert_eq!(Schema::parse(&schema.to_description().to_string())?, schema);
        Ok(())
    }

    #[test]
    fn a_malformed_description_names_the_place() {
        let text = r#"{"fields":[{"name":"a","type":"array","items":{"type":"what"}}]}"#;
        let message = Schema::parse(text).err().map(|error| error.to_string());
        assert_eq!(message.as_deref(), Some("the schema's description is malformed at `/a/items/type`"));
    }
}
