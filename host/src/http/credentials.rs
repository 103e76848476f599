//! The very last step before a request leaves: values take the place of their placeholders.
//!
//! Invariant: only [`fill`] turns a placeholder into a value, and what it returns goes to the transport and nowhere else.
//! The archive, the log and errors are written from the request as it was before.

use std::borrow::Cow;

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use url::Url;

use super::Error;
use super::request::Template;
use super::transport::Outgoing;
use crate::auth::{Form, Secrets};

/// Makes the request that is sent: placeholders in header values, the query and the body become values.
pub(super) fn fill(template: &Template, secrets: &Secrets) -> Result<Outgoing, Error> {
    template.check_placeholders(secrets)?;
    let mut headers = HeaderMap::with_capacity(template.headers.len());
    for (name, value) in &template.headers {
        let malformed = || Error::Invalid(format!("the value of header {name} can't be sent (rule header-value)"));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
        let filled = fill_header(value, secrets);
        // A value with a line break (a key file with a newline at its end) is refused here.
        let mut header_value = HeaderValue::from_bytes(filled.as_bytes()).map_err(|_| malformed())?;
        header_value.set_sensitive(filled != *value);
        headers.append(header, header_value);
    }
    let body = match &template.body {
        Some(body) if secrets.stand_in(body) => Some(fill_body(body, template.header(CONTENT_TYPE.as_str()), secrets)),
        body => body.clone(),
    };
    Ok(Outgoing { method: template.method.clone(), url: fill_url(&template.url, secrets)?, headers, body })
}

/// Names who pays for a request: the values of the secrets that stand in it. None where it holds none.
pub(super) fn payer(template: &Template, secrets: &Secrets) -> Option<String> {
    if !secrets.any() {
        return None;
    }
    let mut texts: Vec<Cow<'_, [u8]>> = vec![Cow::Borrowed(template.url.as_str().as_bytes())];
    for (_, value) in &template.headers {
        texts.push(Cow::Borrowed(value.as_bytes()));
        texts.extend(basic(value).map(|inner| Cow::Owned(inner.into_bytes())));
    }
    texts.extend(template.body.as_ref().map(|body| Cow::Borrowed(body.as_ref())));
    let mut values = secrets.standing_in(&texts);
    values.sort_unstable();
    (!values.is_empty()).then(|| crate::auth::payer(values.iter().map(String::as_str)))
}

/// Tells whether a header's value holds a placeholder, plain or inside Basic credentials.
pub(super) fn header_holds_secret(value: &str, secrets: &Secrets) -> bool {
    secrets.stand_in(value.as_bytes()) || basic(value).is_some_and(|inner| secrets.stand_in(inner.as_bytes()))
}

fn fill_header(value: &str, secrets: &Secrets) -> String {
    // A connector that does Basic authentication by itself encodes the placeholder (RFC 7617).
    match basic(value) {
        Some(inner) if secrets.stand_in(inner.as_bytes()) => {
            format!("Basic {}", STANDARD.encode(secrets.fill(&inner, Form::Plain).as_bytes()))
        }
        _ => secrets.fill(value, Form::Plain).into_owned(),
    }
}

fn basic(value: &str) -> Option<String> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()
}

fn fill_url(url: &Url, secrets: &Secrets) -> Result<Url, Error> {
    let Some(query) = url.query().filter(|query| secrets.stand_in(query.as_bytes())) else {
        return Ok(url.clone());
    };
    let before = url.as_str().split('?').next().unwrap_or_default();
    Url::parse(&format!("{before}?{}", secrets.fill(query, Form::Percent)))
        .map_err(|_| Error::Invalid("the URL is malformed once its secrets are put in (rule url-syntax)".to_owned()))
}

fn fill_body(body: &Bytes, content_type: Option<&str>, secrets: &Secrets) -> Bytes {
    // Not text, so nothing that a connector wrote a placeholder into.
    let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let form = match kind.as_str() {
        "application/x-www-form-urlencoded" => Form::Percent,
        kind if kind.ends_with("/json") || kind.ends_with("+json") => Form::Json,
        _ => Form::Plain,
    };
    Bytes::from(secrets.fill(text, form).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;
    use crate::http::Request;
    use crate::http::request::Bases;

    const VALUE: &str = "s3cr:et/+%~\"";

    fn filled(request: &Request) -> Outgoing {
        let secrets = Secrets::default();
        secrets.insert("k", Secret::new(VALUE));
        fill(&Template::of(request, 1024, &Bases::default()).unwrap(), &secrets).unwrap()
    }

    fn header(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn a_header_gets_the_plain_value_and_is_sensitive() {
        let headers = header("Authorization", "Bearer __secret.k__");
        let outgoing = filled(&Request { headers, ..Request::get("https://a.example") });
        let value = outgoing.headers.get("authorization").unwrap();
        assert_eq!(value, format!("Bearer {VALUE}").as_str());
        assert!(value.is_sensitive());
        assert!(!format!("{:?}", outgoing.headers).contains("s3cr"));
    }

    #[test]
    fn basic_credentials_made_by_the_connector_are_filled_inside() {
        let headers = header("authorization", &format!("Basic {}", STANDARD.encode("user:__secret.k__")));
        let outgoing = filled(&Request { headers, ..Request::get("https://a.example") });
        let expected = format!("Basic {}", STANDARD.encode(format!("user:{VALUE}")));
        assert_eq!(outgoing.headers.get("authorization").unwrap(), expected.as_str());
    }

    #[test]
    fn a_query_gets_the_encoded_value_and_its_rest_is_left_alone() {
        let outgoing = filled(&Request::get("https://a.example/x?n=1%2C2&k=__secret.k__"));
        assert_eq!(outgoing.url.as_str(), "https://a.example/x?n=1%2C2&k=s3cr%3Aet%2F%2B%25~%22");
    }

    #[test]
    fn a_body_gets_the_value_in_its_own_form() {
        for (kind, body, expected) in [
            ("application/json; charset=utf-8", r#"{"k":"__secret.k__"}"#, r#"{"k":"s3cr:et/+%~\""}"#),
            ("application/x-www-form-urlencoded", "k=__secret.k__", "k=s3cr%3Aet%2F%2B%25~%22"),
            ("text/plain", "k=__secret.k__", "k=s3cr:et/+%~\""),
        ] {
            let outgoing = filled(&Request {
                body: Some(Bytes::from(body)),
                headers: header("content-type", kind),
                ..Request::get("https://a.example")
            });
            assert_eq!(outgoing.body.unwrap(), expected);
        }
    }

    #[test]
    fn a_value_with_a_line_break_is_refused_without_showing_it() {
        let secrets = Secrets::default();
        secrets.insert("k", Secret::new("value\nHost: evil"));
        let request = Request { headers: header("x-key", "__secret.k__"), ..Request::get("https://a.example") };
        let error = fill(&Template::of(&request, 1024, &Bases::default()).unwrap(), &secrets).unwrap_err().to_string();
        assert!(error.contains("x-key") && !error.contains("evil"), "{error}");
    }
}
