//! The columns that a declared JSON Schema asks for.

use serde_json::{Map, Value};

use super::{Fields, Kinds, Schema, Type};

/// How deep `$ref` and nesting may go in a declared schema: a schema may refer to itself.
const MAX_DECLARED_DEPTH: usize = 32;

/// Why a declared schema gives no columns.
#[derive(Debug, thiserror::Error)]
pub enum DeclaredError {
    /// The text is not JSON.
    #[error("the declared schema is not JSON")]
    Json(#[from] serde_json::Error),
    /// A record must be an object.
    #[error("the declared schema does not describe an object: `{0}`")]
    NotAnObject(String),
}

impl Schema {
    /// Takes the columns, and their order, from a JSON Schema of a record.
    ///
    /// Understood are `type` (one, or several with `null`), `format: date-time`, `properties`, `items`, `anyOf`, `oneOf`
    /// and `allOf`, and `$ref` inside the document. What it says is where the columns start from, not a promise: records
    /// that differ widen them, and fields it does not name are stored all the same.
    pub fn from_json_schema(text: &str) -> Result<Self, DeclaredError> {
        let root: Value = serde_json::from_str(text)?;
        match kind(&root, &root, 0) {
            Type::Struct(fields) => Ok(Self { fields }),
            Type::Unknown => Ok(Self::default()),
            _ => {
                let named = root.get("type").map_or_else(|| "no type".to_owned(), Value::to_string);
                Err(DeclaredError::NotAnObject(named))
            }
        }
    }
}

fn kind(root: &Value, schema: &Value, depth: usize) -> Type {
    let Some(schema) = schema.as_object().filter(|_| depth < MAX_DECLARED_DEPTH) else {
        return Type::Unknown;
    };
    if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#')) {
        return root.pointer(target).map_or(Type::Unknown, |target| kind(root, target, depth + 1));
    }
    let mut all = Type::Unknown;
    for word in ["allOf", "anyOf", "oneOf"] {
        for branch in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
            all.join(kind(root, branch, depth + 1));
        }
    }
    match schema.get("type") {
        Some(Value::String(name)) => all.join(named(root, schema, name, depth)),
        Some(Value::Array(names)) => {
            for name in names.iter().filter_map(Value::as_str) {
                all.join(named(root, schema, name, depth));
            }
        }
        _ if schema.contains_key("properties") => all.join(named(root, schema, "object", depth)),
        _ if schema.contains_key("items") => all.join(named(root, schema, "array", depth)),
        _ => {}
    }
    all
}

fn named(root: &Value, schema: &Map<String, Value>, name: &str, depth: usize) -> Type {
    match name {
        "boolean" => Type::Bool,
        "integer" => Type::Int { wide: false },
        "number" => Type::Float,
        "string" if schema.get("format").and_then(Value::as_str) == Some("date-time") => Type::Timestamp,
        "string" => Type::Text(Kinds::TEXT),
        "array" => {
            let items = schema.get("items").map_or(Type::Unknown, |items| kind(root, items, depth + 1));
            Type::List(Box::new(items.into()))
        }
        "object" => {
            let mut fields = Fields::default();
            for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                fields.entry(name).join(kind(root, schema, depth + 1));
            }
            Type::Struct(fields)
        }
        _ => Type::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_schema_gives_columns_in_its_order() -> Result<(), DeclaredError> {
        let schema = Schema::from_json_schema(
            r##"{"type":"object","$defs":{"user":{"type":"object","properties":{"id":{"type":"integer"},"boss":{"$ref":"#/$defs/user"}}}},
            "properties":{"z":{"type":["string","null"]},"a":{"type":"string","format":"date-time"},
            "n":{"anyOf":[{"type":"null"},{"type":"number"}]},"l":{"type":"array","items":{"type":"boolean"}},
            "u":{"$ref":"#/$defs/user"},"x":{},"m":{"type":["integer","string"]}}}"##,
        )?;
        let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "n", "l", "u", "x", "m"]);
        assert_eq!(schema.fields.get("z"), Some(&Type::Text(Kinds::TEXT)));
        assert_eq!(schema.fields.get("a"), Some(&Type::Timestamp));
        assert_eq!(schema.fields.get("n"), Some(&Type::Float));
        assert_eq!(schema.fields.get("l"), Some(&Type::List(Box::new(Type::Bool.into()))));
        assert_eq!(schema.fields.get("x"), Some(&Type::Unknown));
        assert_eq!(schema.fields.get("m"), Some(&Type::Text(Kinds::INTEGER.with(Kinds::TEXT))));
        assert!(matches!(schema.fields.get("u"), Some(Type::Struct(fields)) if fields.len() == 2));
        Ok(())
    }

    #[test]
    fn a_schema_of_something_else_is_refused() {
        assert!(matches!(Schema::from_json_schema(r#"{"type":"array"}"#), Err(DeclaredError::NotAnObject(_))));
        assert!(matches!(Schema::from_json_schema("{"), Err(DeclaredError::Json(_))));
    }
}
