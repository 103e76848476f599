//! Reading a configuration: the file's syntax, `${env:NAME}`, `${file:PATH}` and `${secret:NAME}` in its texts, and `--set` on top.

use serde_json::{Map, Value};

use crate::auth::store::StoreError;

/// A configuration as its user gave it, before the connector's schema is known.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file's content, with values from outside filled in.
    pub value: Value,
    /// Settings of the command line: the path of a key with dots, and its text.
    pub settings: Vec<(String, String)>,
    /// Places, as JSON pointers, whose values came from outside, and from where.
    pub outside: Vec<(String, String)>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The values may hold secrets; which ones, only the connector's schema tells.
        formatter.debug_struct("Sources").field("outside", &self.outside).finish_non_exhaustive()
    }
}

/// Where values outside of the configuration come from.
pub trait Source {
    /// Returns the value of an environment variable.
    fn env(&self, name: &str) -> Option<String>;
    /// Returns the content of a file.
    fn file(&self, path: &str) -> std::io::Result<String>;
    /// Returns a value that is stored for the connection.
    ///
    /// # Errors
    /// Why the store cannot be used.
    fn secret(&self, name: &str) -> Result<Option<String>, StoreError>;
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file's name does not say what it is.
    #[error("cannot tell the format of a configuration from its name: {0}")]
    Format(String),
    /// The file is malformed.
    #[error("{file} cannot be read as {format}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// Name of the format.
        format: &'static str,
        /// Where and why.
        reason: String,
    },
    /// The file does not hold keys and values.
    #[error("a configuration holds keys and values, and this one is {0}")]
    NotAnObject(&'static str),
    /// An environment variable is not set.
    #[error("the environment variable {name} is not set, and the configuration asks for it at {place}")]
    Env {
        /// The variable.
        name: String,
        /// Place in the configuration.
        place: String,
    },
    /// A file of a value cannot be read.
    #[error("cannot read {path}, which the configuration asks for at {place}")]
    File {
        /// The file.
        path: String,
        /// Place in the configuration.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// No such value is stored.
    #[error("no value {name} is stored for the connection, and the configuration asks for it at {place}")]
    Secret {
        /// The value's name.
        name: String,
        /// Place in the configuration.
        place: String,
    },
    /// Stored values cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A `${…}` that is none of these.
    #[error("unknown source of a value: {text} at {place}")]
    Unknown {
        /// The text.
        text: String,
        /// Place in the configuration.
        place: String,
    },
    /// A setting of the command line without a value.
    #[error("a setting is written KEY=VALUE, and this is not: {0}")]
    Setting(String),
}

/// Reads a configuration: the text of a file and its name, if there is one, and the settings of the command line.
///
/// # Errors
///
/// When the file is malformed, or a value from outside is missing.
pub fn load(file: Option<(&str, &str)>, settings: &[String], source: &dyn Source) -> Result<Sources, LoadError> {
    let mut value = match file {
        Some((name, text)) => parse(name, text)?,
        None => Value::Object(Map::new()),
    };
    let kind = match &value {
        Value::Object(_) => None,
        Value::Null => {
            // An empty YAML file is one without keys.
            value = Value::Object(Map::new());
            None
        }
        Value::Array(_) => Some("a list"),
        _ => Some("a single value"),
    };
    if let Some(kind) = kind {
        return Err(LoadError::NotAnObject(kind));
    }
    let mut outside = Vec::new();
    fill(&mut value, "", source, &mut outside)?;
    let mut filled = Vec::with_capacity(settings.len());
    for setting in settings {
        let (key, text) = setting.split_once('=').ok_or_else(|| LoadError::Setting(setting.clone()))?;
        let place = format!("/{}", key.replace('.', "/"));
        let (text, from) = expand(text, &place, source)?;
        if let Some(from) = from {
            outside.push((place, from));
        }
        filled.push((key.to_owned(), text));
    }
    Ok(Sources { value, settings: filled, outside })
}

/// Looks a value up by its reference again, as `${env:NAME}`, for a replay.
///
/// # Errors
///
/// When it is not there.
pub fn look_up(reference: &str, source: &dyn Source) -> Result<String, LoadError> {
    Ok(expand(reference, "/personal_data/key", source)?.0)
}

fn parse(name: &str, text: &str) -> Result<Value, LoadError> {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let syntax = |format, reason: String| LoadError::Syntax { file: name.to_owned(), format, reason };
    match extension.to_ascii_lowercase().as_str() {
        "json" => serde_json::from_str(text).map_err(|error| syntax("JSON", error.to_string())),
        "yaml" | "yml" => {
            let options = serde_saphyr::options! { with_snippet: false };
            serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax("YAML", yaml_reason(&error)))
        }
        "toml" => toml::from_str(text).map_err(|error| syntax("TOML", toml_reason(text, &error))),
        _ => Err(LoadError::Format(name.to_owned())),
    }
}

/// Says where and why without repeating a line of the file: it may hold a secret, and which ones do, only the
/// connector's schema tells.
fn yaml_reason(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    // The library's own advice is for programmers.
    text.replace(", set DuplicateKeyPolicy in Options if acceptable", "")
}

/// The same for TOML.
fn toml_reason(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    format!("line {}, column {column}: {message}", before.matches('\n').count() + 1)
}

fn fill(
    value: &mut Value,
    place: &str,
    source: &dyn Source,
    outside: &mut Vec<(String, String)>,
) -> Result<(), LoadError> {
    match value {
        Value::String(text) => {
            let (expanded, from) = expand(text, place, source)?;
            if let Some(from) = from {
                *text = expanded;
                outside.push((place.to_owned(), from));
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, item)| fill(item, &format!("{place}/{index}"), source, outside)),
        Value::Object(members) => members.iter_mut().try_for_each(|(name, member)| {
            fill(member, &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), source, outside)
        }),
        _ => Ok(()),
    }
}

/// Replaces every `${…}` of a text. Returns where values came from, if any did.
fn expand(text: &str, place: &str, source: &dyn Source) -> Result<(String, Option<String>), LoadError> {
    let mut expanded = String::new();
    let mut from = None;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((reference, behind)) = after.split_once('}') else { break };
        expanded.push_str(before);
        let value = match reference.split_once(':') {
            Some(("env", name)) => {
                source.env(name).ok_or_else(|| LoadError::Env { name: name.to_owned(), place: place.to_owned() })?
            }
            Some(("file", path)) => {
                let content = source.file(path).map_err(|error| LoadError::File {
                    path: path.to_owned(),
                    place: place.to_owned(),
                    source: error,
                })?;
                // Editors end files with a line break that is no part of a token.
                content
                    .strip_suffix('\n')
                    .map(|line| line.strip_suffix('\r').unwrap_or(line))
                    .unwrap_or(&content)
                    .to_owned()
            }
            Some(("secret", name)) => source
                .secret(name)?
                .ok_or_else(|| LoadError::Secret { name: name.to_owned(), place: place.to_owned() })?,
            _ => {
                return Err(LoadError::Unknown { text: format!("${{{reference}}}"), place: place.to_owned() });
            }
        };
        expanded.push_str(&value);
        from = Some(format!("${{{reference}}}"));
        rest = behind;
    }
    expanded.push_str(rest);
    Ok((expanded, from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Fixed;

    impl Source for Fixed {
        fn env(&self, name: &str) -> Option<String> {
            (name == "TOKEN").then(|| "t0ken".to_owned())
        }

        fn file(&self, path: &str) -> std::io::Result<String> {
            if path == "/secret" { Ok("from-file\n".to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) }
        }

        fn secret(&self, name: &str) -> Result<Option<String>, StoreError> {
            Ok((name == "token").then(|| "st0red".to_owned()))
        }
    }

    fn value(name: &str, text: &str) -> Value {
        load(Some((name, text)), &[], &Fixed).unwrap().value
    }

    #[test]
    fn the_three_formats_say_the_same() {
        let expected = json!({"org": "acme", "repos": ["a", "b"], "auth": {"token": "t0ken"}, "n": 3});
        assert_eq!(value("c.yaml", "org: acme\nrepos: [a, b]\nauth:\n  token: ${env:TOKEN}\nn: 3\n"), expected);
        assert_eq!(
            value("c.toml", "org = 'acme'\nrepos = ['a', 'b']\nn = 3\n[auth]\ntoken = '${env:TOKEN}'\n"),
            expected
        );
        assert_eq!(
            value("c.json", r#"{"org":"acme","repos":["a","b"],"auth":{"token":"${env:TOKEN}"},"n":3}"#),
            expected
        );
    }

    #[test]
    fn values_from_outside_are_known_by_their_place() {
        let sources = load(Some(("c.yml", "a:\n  - x: pre-${file:/secret}-post\n")), &[], &Fixed).unwrap();
        assert_eq!(sources.value, json!({"a": [{"x": "pre-from-file-post"}]}));
        assert_eq!(sources.outside, [("/a/0/x".to_owned(), "${file:/secret}".to_owned())]);
    }

    #[test]
    fn each_mistake_says_where_it_is() {
        let error = |name, text| load(Some((name, text)), &[], &Fixed).unwrap_err().to_string();
        assert_eq!(
            error("c.yaml", "a: ${env:NOPE}"),
            "the environment variable NOPE is not set, and the configuration asks for it at /a"
        );
        assert_eq!(error("c.yaml", "a: ${file:/nope}"), "cannot read /nope, which the configuration asks for at /a");
        assert_eq!(
            error("c.yaml", "a: ${secret:nope}"),
            "no value nope is stored for the connection, and the configuration asks for it at /a"
        );
        assert_eq!(value("c.yaml", "a: ${secret:token}"), json!({"a": "st0red"}));
        assert_eq!(error("c.yaml", "a: ${vault:x}"), "unknown source of a value: ${vault:x} at /a");
        assert_eq!(error("c.ini", ""), "cannot tell the format of a configuration from its name: c.ini");
        assert_eq!(error("c.json", "[1]"), "a configuration holds keys and values, and this one is a list");
        assert_eq!(
            load(None, &["org".to_owned()], &Fixed).unwrap_err().to_string(),
            "a setting is written KEY=VALUE, and this is not: org"
        );
    }
}
