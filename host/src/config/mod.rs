//! A connection's configuration: read from YAML, TOML or JSON, filled with values from outside, checked against the
//! connector's JSON Schema, and cut in two: what the connector sees, and the secrets, which it sees as placeholders.

mod load;
mod on_drift;
mod secrets;
mod validate;

use serde_json::Value;

pub use self::load::{LoadError, Source, Sources, load, look_up};
pub use self::on_drift::OnDrift;
pub use self::validate::{Problem, SchemaError, SchemaFacts, nearest};
use crate::auth::{Choice, Scheme, Secrets};
use crate::personal;

/// A configuration that fits its connector.
#[derive(Debug)]
pub struct Config {
    /// What the connector sees: defaults filled in, secrets replaced by placeholders.
    pub visible: Value,
    /// The secrets behind the placeholders.
    pub secrets: Secrets,
    /// What the user gave, without the schema's defaults, secrets replaced by placeholders.
    pub given: Value,
    /// Places of secrets in what the user gave, as `auth.token` or `keys[].value`.
    pub secret_places: Vec<String>,
    /// What to do about drift: `on_drift` is the host's, unless the connector has a key of that name.
    pub on_drift: OnDrift,
    /// How requests are let in, where the connector's description has schemes and the user picks one.
    pub auth: Option<Choice>,
    /// What is done with personal data in the records.
    pub(crate) personal: Option<personal::Given>,
    /// Secrets given in plain text in a configuration file or on the command line, and values from the environment or a
    /// file that the connector does not declare as secret: things to warn of.
    pub warnings: Vec<String>,
}

/// Why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The connector's schema is no JSON Schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Values don't fit the schema.
    #[error("the configuration does not fit the connector:\n{}", list(.0))]
    Invalid(Vec<Problem>),
    /// A secret cannot be kept secret.
    #[error("{0}")]
    Secret(String),
}

/// The host's own part of a configuration that says how requests are let in.
const AUTH: &str = "auth";
/// The one that says what is done with personal data, whatever the connector.
const PERSONAL: &str = "personal_data";

/// Whether a setting of the command line is of a part of the configuration.
fn is_of(name: &str, key: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Takes a part of the host's out of a configuration, with what the command line sets of it.
fn take(name: &str, given: &mut Sources) -> Result<Value, Problem> {
    let Sources { value, settings, outside } = given;
    let place = format!("/{name}");
    outside.retain(|(pointer, _)| *pointer != place && !pointer.starts_with(&format!("{place}/")));
    let mut part = value.as_object_mut().and_then(|members| members.shift_remove(name)).unwrap_or_default();
    for (key, text) in settings.iter().filter(|(key, _)| is_of(name, key)) {
        let mut at = &mut part;
        for step in key.split('.').skip(1) {
            if at.is_null() {
                *at = Value::Object(serde_json::Map::new());
            }
            let Value::Object(members) = at else {
                return Err(Problem { place, reason: format!("{key} is set below something that has no keys") });
            };
            at = members.entry(step).or_insert(Value::Null);
        }
        *at = Value::String(text.clone());
    }
    settings.retain(|(key, _)| !is_of(name, key));
    Ok(part)
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Checks what the user gave against the connector's schema.
    ///
    /// # Errors
    ///
    /// Every value that does not fit, with its place and reason.
    pub fn new(given: Sources, schema: &str) -> Result<Self, ConfigError> {
        Self::with_schemes(given, schema, &[])
    }

    /// The same for a connector whose description has schemes of authentication: then `auth` is the host's, and the connector
    /// sees nothing of it.
    ///
    /// # Errors
    ///
    /// Every value that does not fit, with its place and reason.
    pub fn with_schemes(given: Sources, schema: &str, schemes: &[Scheme]) -> Result<Self, ConfigError> {
        let schema = validate::Schema::parse(schema)?;
        let mut given = given;
        let settings = given.settings.len();
        // Where its key comes from is read in a file; the command line has no place for it.
        given.settings.retain(|(key, _)| !is_of(PERSONAL, key));
        let is_set = given.settings.len() < settings;
        let key =
            given.outside.iter().find(|(pointer, _)| pointer == "/personal_data/key").map(|(_, from)| from.clone());
        let mut own = |name: &str, is_ours: bool| match is_ours {
            true => take(name, &mut given).map_err(|problem| ConfigError::Invalid(vec![problem])),
            false => Ok(Value::Null),
        };
        let auth = own(AUTH, !schemes.is_empty())?;
        let on_drift = own(on_drift::KEY, !schema.has(on_drift::KEY))?;
        let personal = own(PERSONAL, true)?;
        let Sources { mut value, settings, outside } = given;
        for setting in &settings {
            schema.apply(&mut value, setting).map_err(|problem| ConfigError::Invalid(vec![problem]))?;
        }
        let given = value.clone();
        schema.fill_defaults(&mut value);
        let hidden = Secrets::default();
        let auth = Choice::read(schemes, &auth, &hidden);
        // What the user wrote counts: a default is no use of a property, though schemas may speak of what else its use
        // needs. Only a property that is required and has a default is fulfilled by that.
        let mut problems = schema.problems(&given);
        if !problems.is_empty() && schema.problems(&value).is_empty() {
            problems.clear();
        }
        let auth = auth.unwrap_or_else(|wrong| {
            problems.extend(wrong);
            None
        });
        let on_drift = OnDrift::read(&on_drift).unwrap_or_else(|wrong| {
            problems.extend(wrong);
            OnDrift::default()
        });
        let personal = match is_set {
            true => {
                let reason = "write it into a configuration file (--config), not with --set".to_owned();
                Err(vec![Problem { place: format!("/{PERSONAL}"), reason }])
            }
            false => personal::read(&personal, key.as_deref()),
        };
        let personal = personal.unwrap_or_else(|wrong| {
            problems.extend(wrong);
            None
        });
        if !problems.is_empty() {
            return Err(ConfigError::Invalid(problems));
        }
        let places = schema.secret_places(&value);
        let mut warnings = Vec::new();
        for (pointer, name) in &outside {
            if !places.iter().any(|place| pointer == place) {
                warnings.push(format!(
                    "{pointer} comes from {name}, and the connector does not declare it as a secret: it will see the value"
                ));
            }
        }
        let (given, _) = secrets::split(given, &places, Secrets::default()).map_err(ConfigError::Secret)?;
        let (visible, secrets) = secrets::split(value, &places, hidden).map_err(ConfigError::Secret)?;
        let secret_places = places.iter().map(|place| validate::general_place(place)).collect();
        Ok(Self { visible, secrets, given, secret_places, on_drift, auth, personal, warnings })
    }

    /// Returns a digest of what the connector reads by: everything but the secrets, which may be renewed at any time. What is
    /// done with personal data counts too, and its key: records hashed by another one are other records.
    pub fn digest(&self) -> String {
        use sha2::Digest;
        let mut text = canonical(&self.visible);
        if let Some(personal) = &self.personal {
            text.push_str(&canonical(&serde_json::json!([personal.settings.streams, personal.settings.fingerprint])));
        }
        crate::engine::cache::hex(sha2::Sha256::digest(text.as_bytes()).as_slice())
    }
}

/// Writes a value with its keys in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object", "additionalProperties": false, "required": ["org"],
        "properties": {
            "org": {"type": "string"},
            "per_page": {"type": "integer", "default": 100},
            "auth": {"type": "object", "properties": {"token": {"type": "string", "writeOnly": true}}}
        }}"#;

    fn config(value: Value) -> Result<Config, ConfigError> {
        Config::new(Sources { value, ..Sources::default() }, SCHEMA)
    }

    #[test]
    fn defaults_are_filled_in_and_secrets_taken_out() {
        let config = config(json!({"org": "acme", "auth": {"token": "s3cret-value"}})).unwrap();
        assert_eq!(config.visible["per_page"], 100);
        let placeholder = config.visible["auth"]["token"].as_str().unwrap();
        assert!(!placeholder.contains("s3cret"), "{placeholder}");
        assert!(!format!("{config:?}").replace("given", "").contains("\"visible\": s3cret"));
        assert_eq!(config.secrets.redact("it is s3cret-value!"), "it is __secret.auth.token__!");
    }

    #[test]
    fn a_new_secret_is_the_same_configuration_and_a_new_value_is_not() {
        let one = config(json!({"org": "acme", "auth": {"token": "s3cret-one"}})).unwrap();
        let two = config(json!({"auth": {"token": "s3cret-two"}, "org": "acme", "per_page": 100})).unwrap();
        let other = config(json!({"org": "other"})).unwrap();
        assert_eq!(one.digest(), two.digest());
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn a_default_is_no_use_of_a_property_but_fulfils_a_requirement() {
        let schema = r#"{
            "type": "object", "required": ["size"], "dependentRequired": {"encoded": ["param"]},
            "properties": {
                "size": {"type": "integer", "default": 10},
                "encoded": {"type": "boolean", "default": false},
                "param": {"type": "string"}
            }}"#;
        let config = |value| Config::new(Sources { value, ..Sources::default() }, schema);
        assert_eq!(config(json!({"size": 1})).unwrap().visible, json!({"size": 1, "encoded": false}));
        assert_eq!(config(json!({"param": "p"})).unwrap().visible["size"], 10);
        let error = config(json!({"size": 1, "encoded": true})).unwrap_err().to_string();
        assert!(error.ends_with("  \"param\" is a required property"), "{error}");
    }

    #[test]
    fn every_problem_is_listed_with_its_place() {
        let error = config(json!({"ogr": "acme", "per_page": "many"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the configuration does not fit the connector:\n  \
             /per_page: \"many\" is not of type \"integer\"\n  \
             unknown key \"ogr\"; did you mean \"org\"?\n  \
             \"org\" is a required property"
        );
    }
}
