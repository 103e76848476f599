//! Where a value is found in a response, and where it goes in a request.

use serde_json::Value;

use super::{PageError, excerpt};
use crate::{Request, ResponseView};

/// Where a value goes in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A query parameter of this name, which takes the place of others of the name.
    Query(String),
    /// An RFC 6901 pointer into the JSON body; objects on the way are made as needed.
    Body(String),
}

impl Place {
    /// Puts a value in its place.
    ///
    /// # Errors
    /// [`PageError::Body`] where the body is no JSON object or the pointer leads through something
    /// else.
    pub fn put(&self, request: Request, value: Value) -> Result<Request, PageError> {
        match self {
            Self::Query(name) => Ok(request.set_query(name, plain(&value))),
            Self::Body(pointer) => put_in_body(request, pointer, value),
        }
    }
}

/// A text that starts with a slash is a pointer into the body, another one a query parameter.
impl From<&str> for Place {
    fn from(text: &str) -> Self {
        if text.starts_with('/') { Self::Body(text.to_owned()) } else { Self::Query(text.to_owned()) }
    }
}

impl From<String> for Place {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

fn put_in_body(request: Request, pointer: &str, value: Value) -> Result<Request, PageError> {
    let wrong = || PageError::Body(pointer.to_owned());
    let mut body = match request.body.as_deref() {
        None | Some([]) => Value::Object(serde_json::Map::new()),
        Some(text) => serde_json::from_slice(text).map_err(|_| wrong())?,
    };
    let mut slot = &mut body;
    for name in pointer.strip_prefix('/').ok_or_else(wrong)?.split('/') {
        let name = name.replace("~1", "/").replace("~0", "~");
        if slot.is_null() {
            *slot = Value::Object(serde_json::Map::new());
        }
        slot = slot.as_object_mut().ok_or_else(wrong)?.entry(name).or_insert(Value::Null);
    }
    *slot = value;
    Ok(request.json(&body)?)
}

/// Where a value is found in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An RFC 6901 pointer into the body.
    Body(String),
    /// The first value of a header.
    Header(String),
}

/// A text that starts with a slash is a pointer, another one a header's name.
impl From<&str> for Source {
    fn from(text: &str) -> Self {
        if text.starts_with('/') { Self::Body(text.to_owned()) } else { Self::Header(text.to_owned()) }
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Body(pointer) => write!(f, "value at {pointer:?}"),
            Self::Header(name) => write!(f, "header {name}"),
        }
    }
}

impl Source {
    /// Reads the value; none where it is absent, `null` or an empty text.
    ///
    /// # Errors
    /// [`PageError::Response`] where the body is not JSON.
    pub fn value(&self, response: &dyn ResponseView) -> Result<Option<Value>, PageError> {
        let value = match self {
            Self::Body(pointer) => match response.json_text(pointer)? {
                Some(text) => parse(&text)?,
                None => return Ok(None),
            },
            Self::Header(name) => match response.header(name) {
                Some(text) => Value::String(text),
                None => return Ok(None),
            },
        };
        Ok(match value {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            value => Some(value),
        })
    }

    /// Reads a whole number, also one that is written as a text; none where it is absent or
    /// negative, which some APIs write for "not counted".
    ///
    /// # Errors
    /// [`PageError::Unexpected`] where the value is something else.
    pub fn number(&self, response: &dyn ResponseView) -> Result<Option<u64>, PageError> {
        let Some(value) = self.value(response)? else { return Ok(None) };
        let text = plain(&value);
        match (text.parse::<u64>(), text.parse::<i64>()) {
            (Ok(number), _) => Ok(Some(number)),
            (_, Ok(_)) => Ok(None),
            _ => {
                Err(PageError::Unexpected { what: self.to_string(), expected: "a whole number", value: excerpt(&text) })
            }
        }
    }
}

/// The JSON value of a text that the host cut out of a response. A number that would change on its
/// way through 64 bits becomes a text.
pub(super) fn parse(text: &str) -> Result<Value, PageError> {
    let text = text.trim();
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Number(number)) if number.to_string() == text => Ok(Value::Number(number)),
        _ if is_number => Ok(Value::String(text.to_owned())),
        Ok(value) => Ok(value),
        Err(e) => {
            Err(PageError::Unexpected { what: format!("value ({e})"), expected: "readable", value: excerpt(text) })
        }
    }
}

/// A value as it stands in a query: a text without its quotes, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Reply;

    #[test]
    fn a_value_goes_to_a_pointer_in_the_body_beside_what_is_there() {
        let place = Place::Body("/page/a~1b".into());
        let request = place.put(Request::post("http://a/").body(r#"{"filter":1}"#), json!("t")).unwrap();
        assert_eq!(request.body.unwrap(), br#"{"filter":1,"page":{"a/b":"t"}}"#);
        let request = place.put(Request::post("http://a/"), json!(5)).unwrap();
        assert_eq!(request.body.unwrap(), br#"{"page":{"a/b":5}}"#);
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        let place = Place::Body("/a/b".into());
        for body in ["[]", "x", r#"{"a":1}"#] {
            let error = place.put(Request::post("http://a/").body(body), json!(1)).unwrap_err();
            assert_eq!(error, PageError::Body("/a/b".into()));
        }
    }

    #[test]
    fn a_number_that_names_a_page_is_never_rounded() {
        for text in ["1", "-1.5", "1700000000.123456789", "340282366920938463463374607431768211456", "1e999", "1.0"] {
            assert_eq!(plain(&parse(text).unwrap()), text);
        }
    }

    #[test]
    fn a_number_is_read_from_a_number_a_text_or_a_header() {
        let reply = Reply::json(r#"{"a":7,"b":"8","c":-1,"d":null,"e":"x"}"#).with_header("x-total", "9");
        let number = |source: &str| Source::from(source).number(&reply);
        assert_eq!(number("/a").unwrap(), Some(7));
        assert_eq!(number("/b").unwrap(), Some(8));
        assert_eq!(number("/c").unwrap(), None);
        assert_eq!(number("/d").unwrap(), None);
        assert_eq!(number("X-Total").unwrap(), Some(9));
        assert_eq!(number("/e").unwrap_err().to_string(), "value at \"/e\" is not a whole number: x");
    }
}
