//! What a connection's configuration says at `personal_data`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Key;
use super::rules::{Action, Rules};
use crate::auth::Secret;
use crate::config::{Problem, nearest};

/// Shorter keys can be found by trying.
const MIN_KEY_BYTES: usize = 16;

const PLACE: &str = "/personal_data";

/// What is done with which fields, as runs note it for their replays: without the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// By the stream's name; `*` for every stream.
    pub streams: BTreeMap<String, Fields>,
    /// Where the key comes from, as `${env:NAME}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Tells keys apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The connection, whose stored secrets the key may be among.
    #[serde(default)]
    pub connection: String,
    /// Whether the archive's bodies are treated too.
    #[serde(default)]
    pub redact_archive: bool,
}

/// Paths of fields by what is done with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Fields that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Fields in whose place their HMAC-SHA-256 stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hash: Vec<String>,
    /// Fields in whose place `***` stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
}

impl Fields {
    pub(super) fn all(&self) -> impl Iterator<Item = (Action, &String)> {
        let drop = self.drop.iter().map(|path| (Action::Drop, path));
        let mask = self.mask.iter().map(|path| (Action::Mask, path));
        let hash = self.hash.iter().map(|path| (Action::Hash, path));
        drop.chain(mask).chain(hash)
    }
}

/// What was given: the settings, and the key itself.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) settings: Settings,
    pub(crate) key: Option<Secret>,
}

/// Reads what stands at `personal_data`. `reference` is where the key came from, if it came from outside.
///
/// # Errors
/// Everything that is wrong with it, with its place. No value is quoted.
pub(crate) fn read(value: &Value, reference: Option<&str>) -> Result<Option<Given>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut problem = |place: String, reason: &str| {
        problems.push(Problem { place: format!("{PLACE}{place}"), reason: reason.to_owned() });
    };
    if value.is_null() {
        return Ok(None);
    }
    let mut settings = Settings::default();
    let mut key = None;
    match value.as_object() {
        None => problem(String::new(), "write `key` and `streams` below it"),
        Some(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("key", Value::String(text)) if reference.is_none() || text.len() < MIN_KEY_BYTES => {
                        let reason = match reference {
                            None => {
                                "the key is a secret; write where it is, as ${env:NAME}, ${file:PATH} or ${secret:NAME}"
                            }
                            Some(_) => {
                                "the key is shorter than 16 bytes and could be guessed; make one with `openssl rand -hex 32`"
                            }
                        };
                        problem("/key".to_owned(), reason);
                    }
                    ("key", Value::String(text)) => {
                        settings.key = reference.map(str::to_owned);
                        settings.fingerprint = Some(Key::new(text).fingerprint());
                        key = Some(Secret::new(text.as_str()));
                    }
                    ("key", _) => problem("/key".to_owned(), "a key is a text"),
                    ("streams", Value::Object(streams)) => {
                        for (stream, fields) in streams {
                            let place = format!("/streams/{stream}");
                            let read = fields_of(fields, |inner, reason| problem(format!("{place}{inner}"), reason));
                            settings.streams.insert(stream.clone(), read);
                        }
                    }
                    ("streams", _) => {
                        problem("/streams".to_owned(), "write the names of streams below it, or * for all")
                    }
                    (other, _) => problem(String::new(), &unknown(other, &["key", "streams"])),
                }
            }
        }
    }
    let hashed = settings.streams.values().any(|fields| !fields.hash.is_empty());
    if problems.is_empty() && hashed && key.is_none() {
        let reason = "fields are to be hashed, and there is no key; write where it is, as `key: ${env:NAME}`";
        problems.push(Problem { place: PLACE.to_owned(), reason: reason.to_owned() });
    }
    if problems.is_empty() { Ok(Some(Given { settings, key })) } else { Err(problems) }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
    match nearest(name, &known) {
        Some(near) => format!("unknown key {name:?}; did you mean {near:?}?"),
        None => format!("unknown key {name:?}; known are {}", known.join(", ")),
    }
}

fn fields_of(value: &Value, mut problem: impl FnMut(String, &str)) -> Fields {
    let mut fields = Fields::default();
    let Some(members) = value.as_object() else {
        problem(String::new(), "write lists of fields below it: drop, hash, mask");
        return fields;
    };
    let mut seen = Vec::new();
    for (name, member) in members {
        let (action, paths) = match name.as_str() {
            "drop" => (Action::Drop, &mut fields.drop),
            "hash" => (Action::Hash, &mut fields.hash),
            "mask" => (Action::Mask, &mut fields.mask),
            other => {
                problem(String::new(), &unknown(other, &["drop", "hash", "mask"]));
                continue;
            }
        };
        let Some(items) = member.as_array() else {
            problem(format!("/{name}"), "write a list of fields, as [email, owner.email]");
            continue;
        };
        for item in items {
            match item.as_str() {
                Some(path) if seen.contains(&path) => problem(format!("/{name}"), "a field is listed twice"),
                Some(path) => {
                    if let Err(reason) = Rules::default().add(action, path, true) {
                        problem(format!("/{name}"), &format!("{path:?} is no path of a field: {reason}"));
                    }
                    seen.push(path);
                    paths.push(path.to_owned());
                }
                None => problem(format!("/{name}"), "the path of a field is a text, as owner.email"),
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: &Value, reference: Option<&str>) -> Vec<String> {
        read(value, reference).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_is_told_with_its_place_and_no_value() {
        let secret = "0123456789abcdef0123";
        let hash = json!({"key": secret, "streams": {"users": {"hash": ["email"]}}});
        assert_eq!(
            problems(&hash, None),
            [
                "/personal_data/key: the key is a secret; write where it is, as ${env:NAME}, ${file:PATH} or ${secret:NAME}"
            ]
        );
        let given = read(&hash, Some("${env:KEY}")).unwrap().unwrap();
        assert_eq!(given.settings.key.as_deref(), Some("${env:KEY}"));
        assert!(!format!("{given:?}").contains(secret));
        assert_eq!(
            problems(&json!({"streams": {"users": {"hash": ["email"]}}}), None),
            ["/personal_data: fields are to be hashed, and there is no key; write where it is, as `key: ${env:NAME}`"]
        );
        let wrong = json!({"key": "short", "streem": 1, "streams": {
            "a": [], "b": {"dorp": []}, "c": {"drop": "x"}, "d": {"drop": ["x", 1], "mask": ["x", "a..b", ""]}}});
        assert_eq!(
            problems(&wrong, Some("${env:KEY}")),
            [
                "/personal_data/key: the key is shorter than 16 bytes and could be guessed; make one with `openssl rand -hex 32`",
                "/personal_data: unknown key \"streem\"; did you mean \"streams\"?",
                "/personal_data/streams/a: write lists of fields below it: drop, hash, mask",
                "/personal_data/streams/b: unknown key \"dorp\"; did you mean \"drop\"?",
                "/personal_data/streams/c/drop: write a list of fields, as [email, owner.email]",
                "/personal_data/streams/d/drop: the path of a field is a text, as owner.email",
                "/personal_data/streams/d/mask: a field is listed twice",
                "/personal_data/streams/d/mask: \"a..b\" is no path of a field: a name in it is empty",
                "/personal_data/streams/d/mask: \"\" is no path of a field: a name in it is empty",
            ]
        );
    }
}
