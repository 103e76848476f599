//! The scheme that a user picks, and the values that the user gives: `auth: { SCHEME: … }` of a configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::scheme::{Kind, Parameter, Scheme};
use super::{Secret, Secrets};
use crate::config::{Problem, nearest};

/// More keys than any connection has; each costs a search in every text that is redacted.
const MAX_KEYS: usize = 100;

/// A scheme with all its values.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The scheme's name.
    pub scheme: String,
    /// What the host does.
    pub kind: Kind,
    pub(crate) values: BTreeMap<&'static str, String>,
    pub(crate) secrets: BTreeMap<&'static str, Vec<Secret>>,
    /// Names of the values that the user gave.
    given: BTreeSet<&'static str>,
}

impl Choice {
    /// Reads what stands at `auth`. The secrets in it are put among `secrets`, so that they are redacted everywhere.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its place.
    pub fn read(schemes: &[Scheme], auth: &Value, secrets: &Secrets) -> Result<Option<Self>, Vec<Problem>> {
        let problem = |reason: String| vec![Problem { place: "/auth".to_owned(), reason }];
        let names: Vec<String> = schemes.iter().map(|scheme| scheme.name.clone()).collect();
        let picked = match auth {
            Value::Null => return Ok(None),
            Value::Object(picked) if picked.len() == 1 => picked.iter().next(),
            Value::Object(picked) if picked.is_empty() => return Ok(None),
            Value::Object(_) => return Err(problem(format!("pick one of: {}", names.join(", ")))),
            Value::String(name) if names.contains(name) => {
                return Err(problem(format!("write `{name}: {{ … }}`, with its values")));
            }
            _ => {
                return Err(problem(format!(
                    "write the name of a scheme and its values; one of: {}",
                    names.join(", ")
                )));
            }
        };
        let Some((name, given)) = picked else { return Ok(None) };
        let Some(scheme) = schemes.iter().find(|scheme| scheme.name == *name) else {
            let hint = match nearest(name, &names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("the connector knows: {}", names.join(", ")),
            };
            return Err(problem(format!("unknown scheme {name:?}; {hint}")));
        };
        Reading { scheme, secrets, problems: Vec::new(), place: format!("/auth/{name}") }.read(given).map(Some)
    }

    /// A value; empty where there is none.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A value, where there is one.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        Some(self.value(name)).filter(|value| !value.is_empty())
    }

    /// A secret, where there is one.
    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name).and_then(|keys| keys.first())
    }

    /// All values of a secret that may have several.
    pub(crate) fn keys(&self, name: &str) -> Vec<Secret> {
        self.secrets.get(name).cloned().unwrap_or_default()
    }

    /// Whether the user gave a value, and not the connector.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// Replaces values of the connector's by what they are once the configuration is filled in.
    pub(crate) fn fill<E>(&mut self, mut fill: impl FnMut(&str) -> Result<String, E>) -> Result<(), E> {
        for (name, value) in &mut self.values {
            if !self.given.contains(name) && value.contains('{') && self.kind != Kind::Hmac {
                *value = fill(value)?;
            }
        }
        Ok(())
    }
}

struct Reading<'a> {
    scheme: &'a Scheme,
    secrets: &'a Secrets,
    problems: Vec<Problem>,
    place: String,
}

impl Reading<'_> {
    fn read(mut self, given: &Value) -> Result<Choice, Vec<Problem>> {
        let kind = self.scheme.kind;
        let parameters = kind.parameters();
        let mut choice = Choice {
            scheme: self.scheme.name.clone(),
            kind,
            values: BTreeMap::new(),
            secrets: BTreeMap::new(),
            given: BTreeSet::new(),
        };
        for parameter in &parameters {
            let fixed = self.scheme.fixed.get(parameter.name).map(String::as_str);
            let value = fixed.unwrap_or(parameter.default);
            if fixed.is_some() || !value.is_empty() {
                choice.values.insert(parameter.name, value.to_owned());
            }
        }
        match (given, kind.short()) {
            (Value::Object(members), _) => {
                for (name, value) in members {
                    match parameters.iter().find(|parameter| parameter.name == name) {
                        Some(parameter) => {
                            let place = format!("{}/{name}", self.place);
                            self.take(*parameter, value, &place, &mut choice);
                        }
                        None => self.unknown(name, &parameters),
                    }
                }
            }
            (Value::Null, _) => {}
            (value, Some(short)) => {
                let place = self.place.clone();
                for parameter in parameters.iter().filter(|parameter| parameter.name == short) {
                    self.take(*parameter, value, &place, &mut choice);
                }
            }
            _ => {
                let reason = format!("write its values: {}", names(&parameters));
                self.problems.push(Problem { place: self.place.clone(), reason });
            }
        }
        if self.problems.is_empty() {
            for parameter in parameters.iter().filter(|parameter| parameter.required) {
                let there = choice.values.contains_key(parameter.name) || choice.secrets.contains_key(parameter.name);
                if !there {
                    let reason = format!("{} is required: {}", parameter.name, parameter.meaning);
                    self.problems.push(Problem { place: self.place.clone(), reason });
                }
            }
        }
        if self.problems.is_empty() { Ok(choice) } else { Err(self.problems) }
    }

    fn unknown(&mut self, name: &str, parameters: &[Parameter]) {
        let known: Vec<String> = parameters.iter().map(|parameter| parameter.name.to_owned()).collect();
        let hint = match nearest(name, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are: {}", known.join(", ")),
        };
        self.problems.push(Problem { place: self.place.clone(), reason: format!("unknown key {name:?}; {hint}") });
    }

    fn take(&mut self, parameter: Parameter, value: &Value, place: &str, choice: &mut Choice) {
        let mut wrong = |reason: String| self.problems.push(Problem { place: place.to_owned(), reason });
        if parameter.secret {
            let texts: Vec<&Value> = match value {
                Value::Array(values) if parameter.many => values.iter().collect(),
                value => vec![value],
            };
            if texts.is_empty() || texts.len() > MAX_KEYS {
                return wrong(format!("a list of keys has 1 to {MAX_KEYS}"));
            }
            let mut values = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                let Value::String(text) = text else {
                    return wrong("a secret is a text; write it in quotes".to_owned());
                };
                if text.is_empty() {
                    return wrong("a secret cannot be empty".to_owned());
                }
                if parameter.name != "private_key" && text.chars().any(char::is_control) {
                    return wrong("the secret holds a line break or another control character".to_owned());
                }
                let name = place.trim_start_matches('/').replace('/', ".");
                let name = if texts.len() > 1 { format!("{name}.{}", index + 1) } else { name };
                self.secrets.insert(&name, Secret::new(text.as_str()));
                values.push(Secret::new(text.as_str()));
            }
            choice.secrets.insert(parameter.name, values);
        } else {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return wrong(format!("{} is a text: {}", parameter.name, parameter.meaning)),
            };
            if !parameter.choices.is_empty() && !parameter.choices.contains(&text.as_str()) {
                return wrong(format!("{text:?} is not one of: {}", parameter.choices.join(", ")));
            }
            if text.chars().any(char::is_control) && parameter.name != "template" {
                return wrong(format!("{} holds a control character", parameter.name));
            }
            choice.values.insert(parameter.name, text);
        }
        choice.given.insert(parameter.name);
    }
}

fn names(parameters: &[Parameter]) -> String {
    parameters.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schemes() -> Vec<Scheme> {
        let scheme = |name: &str, kind, fixed: &[(&str, &str)]| Scheme {
            name: name.to_owned(),
            kind,
            fixed: fixed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        vec![
            scheme("bearer", Kind::Bearer, &[]),
            scheme("header", Kind::ApiKey, &[("in", "header")]),
            scheme("app", Kind::ClientCredentials, &[("token_url", "https://{site}.example/token")]),
        ]
    }

    fn read(auth: Value) -> Result<Option<Choice>, String> {
        Choice::read(&schemes(), &auth, &Secrets::default())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn a_text_alone_is_the_secret_and_a_list_is_many() {
        let choice = read(json!({"bearer": "one"})).unwrap().unwrap();
        assert_eq!(choice.keys("token"), [Secret::new("one")]);
        assert_eq!(choice.value("prefix"), "Bearer");
        let choice = read(json!({"header": {"name": "X-Key", "value": ["one", "two"]}})).unwrap().unwrap();
        assert_eq!(choice.keys("value").len(), 2);
        assert!(read(json!({})).unwrap().is_none() && read(Value::Null).unwrap().is_none());
    }

    #[test]
    fn what_the_connector_knows_is_filled_in_unless_the_user_says_otherwise() {
        let mut choice = read(json!({"app": {"client_id": "c", "client_secret": "s"}})).unwrap().unwrap();
        choice.fill(|text| Ok::<_, ()>(text.replace("{site}", "acme"))).unwrap();
        assert_eq!(choice.value("token_url"), "https://acme.example/token");
        assert!(!choice.is_given("token_url"));
        let choice = read(json!({"app": {"client_id": "c", "token_url": "https://mine/"}})).unwrap().unwrap();
        assert!(choice.is_given("token_url") && choice.value("token_url") == "https://mine/");
    }

    #[test]
    fn every_mistake_is_named_with_its_place_and_no_secret() {
        for (auth, reason) in [
            (json!({"baerer": "SECRET"}), "/auth: unknown scheme \"baerer\"; did you mean \"bearer\"?"),
            (json!({"bearer": "SECRET", "app": {}}), "/auth: pick one of: bearer, header, app"),
            (json!("bearer"), "/auth: write `bearer: { … }`, with its values"),
            (json!("SECRET"), "/auth: write the name of a scheme and its values; one of: bearer, header, app"),
            (json!({"bearer": 12}), "/auth/bearer: a secret is a text; write it in quotes"),
            (json!({"bearer": ""}), "/auth/bearer: a secret cannot be empty"),
            (json!({"bearer": []}), "/auth/bearer: a list of keys has 1 to 100"),
            (
                json!({"bearer": "SECRET\nx"}),
                "/auth/bearer: the secret holds a line break or another control character",
            ),
            (
                json!({"header": {"name": "X", "vlaue": "SECRET"}}),
                "/auth/header: unknown key \"vlaue\"; did you mean \"value\"?",
            ),
            (
                json!({"header": "SECRET"}),
                "/auth/header: name is required: name of the header, query parameter or cookie",
            ),
            (
                json!({"app": {"client_id": "c", "client_auth": "bsaic"}}),
                "/auth/app/client_auth: \"bsaic\" is not one of: basic, post, private_key_jwt, client_secret_jwt, none",
            ),
            (
                json!({"app": {"client_id": ["c"]}}),
                "/auth/app/client_id: client_id is a text: the client's name at the API",
            ),
        ] {
            assert_eq!(read(auth).unwrap_err(), reason);
        }
    }
}
