//! The first request of a stream.

use connector_sdk::pages::Place;
use connector_sdk::{Request, Result};
use serde_json::Value;

use crate::config::{Config, Incremental, StreamConfig, Verb};
use crate::template;

/// Builds the request for a stream's first page.
pub(crate) fn build(
    config: &Config,
    stream: &StreamConfig,
    parent: Option<&Value>,
    since: Option<&str>,
) -> Result<Request> {
    let url = join(&config.base_url, &template::fill_path(&stream.path, parent)?);
    let mut request = match stream.method {
        Verb::Get => Request::get(url),
        // A stream only reads, also where it is asked for with a body.
        Verb::Post => Request::post(url).reads(),
    };
    let headers = config.headers.iter().filter(|(name, _)| !contains(&stream.headers, name)).chain(&stream.headers);
    for (name, value) in headers {
        request = request.header(name, template::fill(value, parent)?);
    }
    if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
        request = request.header("Accept", "application/json");
    }
    let query = config.query.iter().filter(|(name, _)| !stream.query.contains_key(*name)).chain(&stream.query);
    for (name, value) in query {
        // A list is the same parameter several times.
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            request = request.query(name, template::plain(&template::fill_value(value, parent)?));
        }
    }
    if let Some(body) = &stream.body {
        request = request.json(&template::fill_value(body, parent)?)?;
    }
    if let Some(incremental) = &stream.incremental {
        request = from_watermark(request, incremental, since)?;
    }
    Ok(request)
}

fn from_watermark(request: Request, incremental: &Incremental, since: Option<&str>) -> Result<Request> {
    let Some(param) = &incremental.param else { return Ok(request) };
    let start = || incremental.start.as_ref().map(template::plain);
    let Some(value) = since.map(str::to_owned).or_else(start) else { return Ok(request) };
    let text = incremental.format.replace("{value}", &value);
    Ok(Place::from(param.as_str()).put(request, Value::String(text))?)
}

fn contains(headers: &std::collections::BTreeMap<String, String>, name: &str) -> bool {
    headers.keys().any(|n| n.eq_ignore_ascii_case(name))
}

/// Puts a path behind the base URL, with one slash between them; a whole URL stays as it is.
fn join(base: &str, path: &str) -> String {
    if path.starts_with("https://") || path.starts_with("http://") {
        return path.to_owned();
    }
    if path.is_empty() {
        return base.to_owned();
    }
    format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use connector_sdk::parse_config;
    use serde_json::json;

    use super::*;

    fn request(config: Value, parent: Option<Value>, since: Option<&str>) -> Request {
        let config: Config = parse_config(&config.to_string()).unwrap();
        config.validate().unwrap();
        build(&config, config.streams.last().unwrap(), parent.as_ref(), since).unwrap()
    }

    #[test]
    fn base_url_and_path_meet_in_one_slash() {
        for base in ["https://a/v1", "https://a/v1/"] {
            for path in ["x", "/x"] {
                assert_eq!(join(base, path), "https://a/v1/x");
            }
        }
        assert_eq!(join("https://a/v1.json", ""), "https://a/v1.json");
    }

    #[test]
    fn a_streams_own_headers_and_query_win_over_those_of_all() {
        let request = request(
            json!({
                "base_url": "https://a", "headers": {"X-A": "1", "accept": "text/json"}, "query": {"a": 1, "b": true},
                "streams": [{"name": "s", "path": "s", "headers": {"x-a": "2"}, "query": {"a": ["x y", 2]}}]
            }),
            None,
            None,
        );
        assert_eq!(request.full_url(), "https://a/s?b=true&a=x%20y&a=2");
        assert_eq!(request.headers, [("accept".into(), "text/json".into()), ("x-a".into(), "2".into())]);
    }

    #[test]
    fn an_incremental_read_starts_at_the_watermark_or_the_start() {
        let config = json!({"base_url": "https://a", "streams": [{
            "name": "s", "path": "s",
            "incremental": {"cursor_field": "t", "param": "_since", "format": "\"{value}\"", "start": 5}
        }]});
        assert_eq!(request(config.clone(), None, None).full_url(), "https://a/s?_since=%225%22");
        assert_eq!(request(config, None, Some("9")).full_url(), "https://a/s?_since=%229%22");
    }

    #[test]
    fn a_parents_fields_are_filled_in_everywhere() {
        let config = json!({"base_url": "https://a", "streams": [
            {"name": "p", "path": "p"},
            {"name": "s", "path": "p/{parent.id}/s", "method": "POST", "query": {"q": "{parent.id}"},
             "headers": {"X-P": "p{parent.id}"}, "body": {"p": "{parent.id}"}, "parent": {"stream": "p"},
             "incremental": {"cursor_field": "t", "param": "/from"}}
        ]});
        let request = request(config, Some(json!({"id": 7})), Some("w"));
        assert_eq!(request.full_url(), "https://a/p/7/s?q=7");
        assert_eq!(request.headers[0], ("X-P".into(), "p7".into()));
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        assert_eq!(body, json!({"from": "w", "p": 7}));
    }
}
