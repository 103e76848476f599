//! A schema as JSON, for `_schema.json` and the state.

use serde_json::{Map, Value, json};

use super::{Fields, Schema, Type};

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
    /// has `items`, and `"wide": true` marks whole numbers beyond 2^53.
    pub fn to_description(&self) -> Value {
        json!({ "fields": describe_fields(&self.fields) })
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
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
            Self::Struct(_) => "object",
            Self::List(_) => "array",
        }
    }
}

fn describe_fields(fields: &Fields) -> Vec<Value> {
    fields
        .iter()
        .map(|field| {
            let mut all = Map::new();
            all.insert("name".to_owned(), json!(field.name));
            describe_type(&field.kind, &mut all);
            Value::Object(all)
        })
        .collect()
}

fn describe_type(kind: &Type, all: &mut Map<String, Value>) {
    all.insert("type".to_owned(), json!(kind.name()));
    all.insert("nullable".to_owned(), json!(true));
    match kind {
        Type::Int { wide: true } => {
            all.insert("wide".to_owned(), json!(true));
        }
        Type::Struct(fields) => {
            all.insert("fields".to_owned(), Value::Array(describe_fields(fields)));
        }
        Type::List(item) => {
            let mut items = Map::new();
            describe_type(item, &mut items);
            all.insert("items".to_owned(), Value::Object(items));
        }
        _ => {}
    }
}

fn read_fields(object: &Value, path: &str) -> Result<Fields, DescriptionError> {
    let malformed = || DescriptionError::Malformed(format!("{path}/fields"));
    let list = object.get("fields").and_then(Value::as_array).ok_or_else(malformed)?;
    let mut fields = Fields::default();
    for field in list {
        let name = field.get("name").and_then(Value::as_str).ok_or_else(malformed)?;
        *fields.entry(name) = read_type(field, &format!("{path}/{name}"))?;
    }
    Ok(fields)
}

fn read_type(object: &Value, path: &str) -> Result<Type, DescriptionError> {
    Ok(match object.get("type").and_then(Value::as_str) {
        Some("unknown") => Type::Unknown,
        Some("boolean") => Type::Bool,
        Some("integer") => Type::Int { wide: object.get("wide").and_then(Value::as_bool).unwrap_or(false) },
        Some("number") => Type::Float,
        Some("text") => Type::Text,
        Some("timestamp") => Type::Timestamp,
        Some("json") => Type::Json,
        Some("object") => Type::Struct(read_fields(object, path)?),
        Some("array") => {
            let items = object.get("items").ok_or_else(|| DescriptionError::Malformed(format!("{path}/items")))?;
            Type::List(Box::new(read_type(items, &format!("{path}/items"))?))
        }
        _ => return Err(DescriptionError::Malformed(format!("{path}/type"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_back() -> Result<(), DescriptionError> {
        let inner: Fields = [("a.b".to_owned(), Type::Json), (String::new(), Type::Timestamp)].into_iter().collect();
        let fields = [
            ("id".to_owned(), Type::Int { wide: true }),
            ("n".to_owned(), Type::Int { wide: false }),
            ("owner".to_owned(), Type::Struct(inner)),
            ("tags".to_owned(), Type::List(Box::new(Type::List(Box::new(Type::Text))))),
            ("never".to_owned(), Type::Unknown),
            ("hollow".to_owned(), Type::Struct(Fields::default())),
            ("x".to_owned(), Type::Float),
            ("y".to_owned(), Type::Bool),
        ];
        let schema = Schema { fields: fields.into_iter().collect() };
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
