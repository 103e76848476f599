//! `{parent.field}` in paths, queries, headers and bodies.

use connector_sdk::{Error, Result, url};
use serde_json::Value;

const OPEN: &str = "{parent.";

/// Splits a field's path, `owner.login`, into its segments.
pub(crate) fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

/// Collects the paths of all placeholders in a text.
pub(crate) fn find(text: &str, found: &mut Vec<Vec<String>>) {
    for piece in pieces(text) {
        if let Piece::Field(field) = piece {
            found.push(path(field));
        }
    }
}

/// Collects the paths of all placeholders in the texts of a value.
pub(crate) fn find_in(value: &Value, found: &mut Vec<Vec<String>>) {
    match value {
        Value::String(text) => find(text, found),
        Value::Array(items) => items.iter().for_each(|item| find_in(item, found)),
        Value::Object(members) => members.values().for_each(|member| find_in(member, found)),
        _ => {}
    }
}

/// Looks a field up in a parent's record.
pub(crate) fn lookup<'a>(parent: &'a Value, path: &[String]) -> Result<&'a Value> {
    let found = path.iter().try_fold(parent, |value, segment| value.get(segment));
    found
        .filter(|value| !value.is_null())
        .ok_or_else(|| Error::data(format!("a parent's record has no field {}", path.join("."))))
}

/// Fills in the placeholders of a URL's path, each percent-encoded as one segment. A path that is a
/// single placeholder may also stand for a whole URL.
pub(crate) fn fill_path(text: &str, parent: Option<&Value>) -> Result<String> {
    if let [Piece::Field(_)] = pieces(text).as_slice() {
        let whole = fill(text, parent)?;
        if whole.starts_with("https://") || whole.starts_with("http://") {
            return Ok(whole);
        }
    }
    fill_with(text, parent, |value| url::encode_segment(&value))
}

/// Fills in the placeholders of a text as they are.
pub(crate) fn fill(text: &str, parent: Option<&Value>) -> Result<String> {
    fill_with(text, parent, |value| value)
}

/// Fills in the placeholders of all texts of a value. A text that is nothing but a placeholder
/// becomes the field's value with its type.
pub(crate) fn fill_value(value: &Value, parent: Option<&Value>) -> Result<Value> {
    Ok(match value {
        Value::String(text) => match (pieces(text).as_slice(), parent) {
            ([Piece::Field(field)], Some(parent)) => lookup(parent, &path(field))?.clone(),
            _ => Value::String(fill(text, parent)?),
        },
        Value::Array(items) => Value::Array(items.iter().map(|i| fill_value(i, parent)).collect::<Result<_>>()?),
        Value::Object(members) => {
            let filled = members.iter().map(|(name, member)| Ok((name.clone(), fill_value(member, parent)?)));
            Value::Object(filled.collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

/// A value as text: a text without its quotes, anything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn fill_with(text: &str, parent: Option<&Value>, encode: impl Fn(String) -> String) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match (piece, parent) {
            (Piece::Text(text), _) => out.push_str(text),
            (Piece::Field(field), Some(parent)) => out.push_str(&encode(plain(lookup(parent, &path(field))?))),
            (Piece::Field(field), None) => {
                return Err(Error::config(format!("{{parent.{field}}} without a parent")));
            }
        }
    }
    Ok(out)
}

enum Piece<'a> {
    Text(&'a str),
    Field(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let Some((field, behind)) = after.split_once('}') else { break };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Field(field));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_in_a_path_is_one_encoded_segment() {
        let parent = json!({"id": 7, "owner": {"login": "a/b c"}});
        assert_eq!(fill_path("/x/{parent.owner.login}/{parent.id}", Some(&parent)).unwrap(), "/x/a%2Fb%20c/7");
    }

    #[test]
    fn a_path_that_is_one_field_may_be_a_whole_url() {
        let parent = json!({"url": "https://a/b?c=d", "id": "a/b"});
        assert_eq!(fill_path("{parent.url}", Some(&parent)).unwrap(), "https://a/b?c=d");
        assert_eq!(fill_path("{parent.id}", Some(&parent)).unwrap(), "a%2Fb");
    }

    #[test]
    fn a_field_in_a_body_keeps_its_type() {
        let parent = json!({"id": 7});
        let body = json!({"filter": {"ids": ["{parent.id}"], "text": "id:{parent.id}"}, "n": 1});
        assert_eq!(fill_value(&body, Some(&parent)).unwrap(), json!({"filter": {"ids": [7], "text": "id:7"}, "n": 1}));
    }

    #[test]
    fn a_missing_field_is_named_and_other_braces_stay() {
        let error = fill("{parent.a.b}", Some(&json!({"a": {"b": null}}))).unwrap_err();
        assert_eq!(error, Error::data("a parent's record has no field a.b"));
        assert_eq!(fill("{value} {parent.x", None).unwrap(), "{value} {parent.x");
    }
}
