//! A connector's JSON Schema of its configuration: checking against it, defaults, secrets, and settings by their type.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

/// A connector whose schema cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the connector's configuration schema is no JSON Schema: {0}")]
pub struct SchemaError(String);

/// One value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Place in the configuration, as a JSON pointer.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            formatter.write_str(&self.reason)
        } else {
            write!(formatter, "{}: {}", self.place, self.reason)
        }
    }
}

/// A parsed schema.
pub(super) struct Schema {
    root: Value,
    validator: jsonschema::Validator,
}

/// How deep references and nested schemas are followed; real schemas need less than ten.
const MAX_DEPTH: usize = 32;
/// Bytes of an example or a description that are repeated in an error; longer ones are for `host inspect`.
const MAX_HELP: usize = 200;
/// Secrets that a schema can name; more than anybody would read through.
const MAX_SECRETS: usize = 1000;

impl Schema {
    pub(super) fn parse(text: &str) -> Result<Self, SchemaError> {
        let root: Value = serde_json::from_str(text).map_err(|error| SchemaError(error.to_string()))?;
        let validator = jsonschema::draft202012::new(&root).map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { root, validator })
    }

    /// Whether the connector has a property of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.root.get("properties").and_then(Value::as_object).is_some_and(|all| all.contains_key(name))
    }

    /// Lists everything that does not fit.
    pub(super) fn problems(&self, value: &Value) -> Vec<Problem> {
        let secret = self.secret_places(value);
        let mut problems = Vec::new();
        for error in self.validator.iter_errors(value) {
            self.explain(&error, &secret, &mut problems);
        }
        problems
    }

    fn explain(&self, error: &ValidationError<'_>, secret: &[String], problems: &mut Vec<Problem>) {
        let place = error.instance_path().to_string();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.known_keys(&error.schema_path().to_string());
                for key in unexpected {
                    problems.push(Problem { place: place.clone(), reason: unknown_key(key, &known) });
                }
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                if let Some(keys) = missing_keys(context) {
                    problems
                        .push(Problem { place, reason: format!("one of these keys is required: {}", keys.join(", ")) });
                    return;
                }
                // The branch with the fewest faults is the one that was meant.
                let nearest = context.iter().filter(|branch| !branch.is_empty()).min_by_key(|branch| {
                    let other_kind = branch.iter().any(|error| is_discriminator(error));
                    (other_kind, branch.len())
                });
                match nearest {
                    Some(branch) => branch.iter().for_each(|error| self.explain(error, secret, problems)),
                    None => problems.push(Problem { place, reason: error.masked().to_string() }),
                }
            }
            _ => {
                // A whole object may have a secret in it, and a secret is not repeated in an error.
                let hidden = error.instance().is_object() || error.instance().is_array() || secret.contains(&place);
                let mut reason = if hidden { error.masked().to_string() } else { error.to_string() };
                // What is said of an object says little of what is wrong in it.
                if !error.instance().is_object()
                    && let Some(help) = self.help(&error.schema_path().to_string())
                {
                    reason.push_str(&help);
                }
                problems.push(Problem { place, reason });
            }
        }
    }

    /// Returns the keys that stand beside the keyword at `schema_path`.
    fn known_keys(&self, schema_path: &str) -> Vec<String> {
        let keys = self.around(schema_path).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        keys.map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
    }

    /// Says what is meant where the keyword at `schema_path` stands, by an example, or else in the schema's words: a pattern
    /// alone tells a reader little.
    fn help(&self, schema_path: &str) -> Option<String> {
        let schema = self.around(schema_path)?;
        let example = schema.get("examples").and_then(|examples| examples.get(0)).map(Value::to_string);
        let meaning = schema.get("description").and_then(Value::as_str).map(|text| text.trim_end_matches('.'));
        let example = example.map(|example| format!("; write it as {example}"));
        let help = example.or_else(|| meaning.map(|meaning| format!("; it means: {meaning}")));
        help.filter(|help| help.len() <= MAX_HELP)
    }

    /// Returns the schema in which the keyword at `schema_path` stands.
    fn around(&self, schema_path: &str) -> Option<&Value> {
        let parent = schema_path.rsplit_once('/').map_or("", |(parent, _)| parent);
        // Inside a `$ref` the path goes on behind the reference.
        let mut schema = &self.root;
        for step in parent.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            schema = if step == "$ref" { self.referenced(schema) } else { child(schema, &step) }?;
        }
        Some(schema)
    }

    fn referenced(&self, schema: &Value) -> Option<&Value> {
        self.root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    /// Returns every schema that may apply to a value with this one: itself, its references and its alternatives.
    fn alternatives<'a>(&'a self, schema: &'a Value, depth: usize, found: &mut Vec<&'a Value>) {
        if depth > MAX_DEPTH {
            return;
        }
        found.push(schema);
        if let Some(referenced) = self.referenced(schema) {
            self.alternatives(referenced, depth + 1, found);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for inner in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                self.alternatives(inner, depth + 1, found);
            }
        }
        for keyword in ["if", "then", "else", "not"] {
            if let Some(inner) = schema.get(keyword) {
                self.alternatives(inner, depth + 1, found);
            }
        }
    }

    fn applying<'a>(&'a self, schemas: &[&'a Value]) -> Vec<&'a Value> {
        let mut found = Vec::new();
        schemas.iter().for_each(|schema| self.alternatives(schema, 0, &mut found));
        found
    }

    /// Returns the places, as JSON pointers, of all values that any schema declares `writeOnly`.
    pub(super) fn secret_places(&self, value: &Value) -> Vec<String> {
        let mut places = Vec::new();
        self.find_secrets(value, &[&self.root], "", &mut places);
        places
    }

    fn find_secrets<'a>(&'a self, value: &Value, schemas: &[&'a Value], place: &str, places: &mut Vec<String>) {
        let schemas = self.applying(schemas);
        if schemas.iter().any(|schema| schema.get("writeOnly") == Some(&Value::Bool(true))) {
            places.push(place.to_owned());
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let inner = members_schemas(&schemas, name);
                    let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                    self.find_secrets(member, &inner, &place, places);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let inner = items_schemas(&schemas, index);
                    self.find_secrets(item, &inner, &format!("{place}/{index}"), places);
                }
            }
            _ => {}
        }
    }

    /// Fills in the defaults of missing properties, at any depth of objects that are there.
    pub(super) fn fill_defaults(&self, value: &mut Value) {
        self.fill(value, &[&self.root]);
    }

    fn fill<'a>(&'a self, value: &mut Value, schemas: &[&'a Value]) {
        let mut applying = Vec::new();
        for schema in schemas {
            self.certain(schema, 0, &mut applying);
        }
        match value {
            Value::Object(members) => {
                for schema in &applying {
                    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                        if let (false, Some(default)) = (members.contains_key(name), property.get("default")) {
                            members.insert(name.clone(), default.clone());
                        }
                    }
                }
                for (name, member) in members.iter_mut() {
                    self.fill(member, &members_schemas(&applying, name));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.fill(item, &items_schemas(&applying, index));
                }
            }
            _ => {}
        }
    }

    /// Like [`Self::alternatives`], but only those that certainly apply: a default of a branch not taken is none.
    fn certain<'a>(&'a self, schema: &'a Value, depth: usize, found: &mut Vec<&'a Value>) {
        if depth > MAX_DEPTH {
            return;
        }
        found.push(schema);
        if let Some(referenced) = self.referenced(schema) {
            self.certain(referenced, depth + 1, found);
        }
        for inner in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.certain(inner, depth + 1, found);
        }
    }

    /// Puts a setting of the command line, `a.b.c` and its text, where it belongs. The schema decides what the text
    /// means: a text, a list separated by commas, or a JSON value.
    pub(super) fn apply(&self, value: &mut Value, setting: &(String, String)) -> Result<(), Problem> {
        let (path, text) = setting;
        let mut schemas = vec![&self.root];
        let mut target = value;
        for step in path.split('.') {
            schemas = members_schemas(&self.applying(&schemas), step);
            if target.is_null() {
                *target = Value::Object(Map::new());
            }
            let Value::Object(members) = target else {
                return Err(Problem {
                    place: format!("/{}", path.replace('.', "/")),
                    reason: "cannot be set, since what is above it holds no keys; write it into a file (--config)"
                        .to_owned(),
                });
            };
            target = members.entry(step).or_insert(Value::Null);
        }
        *target = typed(text, &self.applying(&schemas));
        Ok(())
    }
}

/// What a schema says without a configuration.
pub struct SchemaFacts(Schema);

impl SchemaFacts {
    /// Reads a schema.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(text: &str) -> Result<Self, SchemaError> {
        Ok(Self(Schema::parse(text)?))
    }

    /// Returns the default text of a property, by its name (`a.b` for one inside of another).
    pub fn default_text(&self, name: &str) -> Option<String> {
        let mut schemas = vec![&self.0.root];
        for step in name.split('.') {
            schemas = members_schemas(&self.0.applying(&schemas), step);
        }
        let defaults = self.0.applying(&schemas).into_iter().filter_map(|schema| schema.get("default")?.as_str());
        defaults.map(str::to_owned).next()
    }

    /// Returns the places of all secrets that a configuration can have, as `auth.token` or `keys[].value`; `*` stands for
    /// any name.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.find(&[&self.0.root], "", &mut Vec::new(), &mut found);
        found.sort();
        found.dedup();
        found
    }

    fn find<'a>(&'a self, schemas: &[&'a Value], place: &str, above: &mut Vec<*const Value>, found: &mut Vec<String>) {
        let schemas = self.0.applying(schemas);
        if schemas.iter().any(|schema| schema.get("writeOnly") == Some(&Value::Bool(true))) {
            found.push(place.to_owned());
            return;
        }
        for schema in schemas {
            // A schema that refers to itself has the same secrets again, ever deeper.
            if above.contains(&std::ptr::from_ref(schema)) || above.len() > MAX_DEPTH || found.len() >= MAX_SECRETS {
                continue;
            }
            above.push(std::ptr::from_ref(schema));
            for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                self.find(&[inner], &place, above, found);
            }
            if let Some(inner) = schema.get("additionalProperties").filter(|inner| inner.is_object()) {
                let place = if place.is_empty() { "*".to_owned() } else { format!("{place}.*") };
                self.find(&[inner], &place, above, found);
            }
            let items = schema.get("prefixItems").and_then(Value::as_array).into_iter().flatten();
            for inner in items.chain(schema.get("items")) {
                self.find(&[inner], &format!("{place}[]"), above, found);
            }
            above.pop();
        }
    }
}

/// Writes a JSON pointer the way that [`SchemaFacts::secrets`] does: `/keys/0/value` is `keys[].value`.
pub(super) fn general_place(pointer: &str) -> String {
    let mut place = String::new();
    for step in pointer.split('/').skip(1) {
        if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) {
            place.push_str("[]");
            continue;
        }
        if !place.is_empty() {
            place.push('.');
        }
        place.push_str(&step.replace("~1", "/").replace("~0", "~"));
    }
    place
}

fn child<'a>(schema: &'a Value, step: &str) -> Option<&'a Value> {
    match schema {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    }
}

/// Reads a text by the types that the schemas allow.
fn typed(text: &str, schemas: &[&Value]) -> Value {
    let allows = |name: &str| {
        schemas.iter().any(|schema| match schema.get("type") {
            Some(Value::String(one)) => one == name,
            Some(Value::Array(several)) => several.iter().any(|one| one == name),
            _ => false,
        })
    };
    let as_text = || Value::String(text.to_owned());
    if allows("array") && !text.trim_start().starts_with('[') {
        return Value::Array(text.split(',').map(|item| Value::String(item.trim().to_owned())).collect());
    }
    let parsed = serde_json::from_str::<Value>(text);
    match parsed {
        Ok(Value::String(_)) | Err(_) => as_text(),
        // `--set name=123` of a text property is the text "123".
        Ok(_) if allows("string") => as_text(),
        Ok(value) => value,
    }
}

fn members_schemas<'a>(schemas: &[&'a Value], name: &str) -> Vec<&'a Value> {
    schemas
        .iter()
        .filter_map(|schema| {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            property.or_else(|| schema.get("additionalProperties").filter(|other| other.is_object()))
        })
        .collect()
}

fn items_schemas<'a>(schemas: &[&'a Value], index: usize) -> Vec<&'a Value> {
    schemas
        .iter()
        .filter_map(|schema| {
            let prefix = schema.get("prefixItems").and_then(|items| items.get(index));
            prefix.or_else(|| schema.get("items"))
        })
        .collect()
}

/// Returns the keys of alternatives that each lack nothing but a required key.
fn missing_keys(branches: &[Vec<ValidationError<'static>>]) -> Option<Vec<String>> {
    let missing = |error: &ValidationError<'_>| match error.kind() {
        ValidationErrorKind::Required { property } => Some(property.as_str()?.to_owned()),
        _ => None,
    };
    branches.iter().flatten().map(missing).collect::<Option<Vec<String>>>().filter(|keys| keys.len() > 1)
}

/// Whether an error says that a branch of an alternative is about another kind of thing.
fn is_discriminator(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Constant { .. })
}

/// Says that a key is unknown, with the nearest one that is known.
fn unknown_key(key: &str, known: &[String]) -> String {
    match nearest(key, known) {
        Some(near) => format!("unknown key {key:?}; did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown key {key:?}"),
        None => format!("unknown key {key:?}; the known ones are {}", known.join(", ")),
    }
}

/// Returns the nearest of several words, where one is near.
pub fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a String> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(value: &Value) -> Schema {
        Schema::parse(&value.to_string()).unwrap()
    }

    fn reasons(schema: &Schema, value: &Value) -> Vec<String> {
        schema.problems(value).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn settings_take_the_type_that_the_schema_asks_for() {
        let schema = schema(&json!({"properties": {
            "name": {"type": "string"}, "count": {"type": "integer"},
            "list": {"type": "array", "items": {"type": "string"}}, "deep": {"properties": {"on": {"type": "boolean"}}}}}));
        let mut value = json!({});
        for (key, text) in
            [("name", "123"), ("count", "5"), ("list", "a/b, c"), ("deep.on", "true"), ("free", "x"), ("list2", "[1]")]
        {
            schema.apply(&mut value, &(key.to_owned(), text.to_owned())).unwrap();
        }
        assert_eq!(
            value,
            json!({"name": "123", "count": 5, "list": ["a/b", "c"], "deep": {"on": true}, "free": "x", "list2": [1]})
        );
    }

    #[test]
    fn secrets_are_found_behind_references_and_alternatives() {
        let schema = schema(&json!({
            "$defs": {"secret": {"type": "string", "writeOnly": true}},
            "properties": {
                "token": {"$ref": "#/$defs/secret"},
                "auth": {"oneOf": [{"properties": {"key": {"writeOnly": true}}}, {"properties": {"user": {}}}]},
                "list": {"type": "array", "items": {"properties": {"password": {"writeOnly": true}}}},
                "map": {"additionalProperties": {"$ref": "#/$defs/secret"}}}}));
        let value = json!({
            "token": "t", "auth": {"key": "k", "user": "u"}, "list": [{"password": "p"}], "map": {"a/b": "m"}});
        let mut places = schema.secret_places(&value);
        places.sort();
        assert_eq!(places, ["/auth/key", "/list/0/password", "/map/a~1b", "/token"]);
    }

    #[test]
    fn an_error_does_not_repeat_a_secret() {
        let schema = schema(&json!({"properties": {"token": {"type": "string", "minLength": 40, "writeOnly": true}}}));
        let text = reasons(&schema, &json!({"token": "s3cr3t"})).join("\n");
        assert!(text.starts_with("/token: ") && !text.contains("s3cr3t"), "{text}");
    }

    #[test]
    fn alternatives_that_only_lack_a_key_are_named_together() {
        let schema = schema(&json!({"anyOf": [{"required": ["org"]}, {"required": ["user"]}]}));
        assert_eq!(reasons(&schema, &json!({})), ["one of these keys is required: org, user"]);
    }

    #[test]
    fn the_nearest_branch_of_an_alternative_is_explained() {
        let schema = schema(&json!({"properties": {"pagination": {"oneOf": [
            {"properties": {"type": {"const": "offset"}, "limit": {"type": "integer"}}, "required": ["type"], "additionalProperties": false},
            {"properties": {"type": {"const": "cursor"}, "token": {"type": "string"}}, "required": ["type"], "additionalProperties": false}]}}}));
        assert_eq!(
            reasons(&schema, &json!({"pagination": {"type": "offset", "limt": 3}})),
            ["/pagination: unknown key \"limt\"; did you mean \"limit\"?"]
        );
    }
}
