//! The configuration, as `schema.json` describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use connector_sdk::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::template;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) base_url: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) query: BTreeMap<String, Value>,
    pub(crate) streams: Vec<StreamConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) method: Verb,
    #[serde(default)]
    pub(crate) query: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<Value>,
    #[serde(default)]
    pub(crate) records: String,
    #[serde(default)]
    pub(crate) reject: Vec<Reject>,
    #[serde(default)]
    pub(crate) null_is_empty: bool,
    #[serde(default)]
    pub(crate) one_object: bool,
    #[serde(default)]
    pub(crate) allow_repeated_pages: bool,
    #[serde(default)]
    pub(crate) never_shifts: bool,
    #[serde(default)]
    pub(crate) primary_key: Vec<String>,
    pub(crate) pagination: Option<Pagination>,
    pub(crate) total: Option<String>,
    pub(crate) in_flight: Option<usize>,
    pub(crate) cap: Option<u64>,
    #[serde(default)]
    pub(crate) tolerate: Vec<u16>,
    pub(crate) incremental: Option<Incremental>,
    pub(crate) parent: Option<Parent>,
    pub(crate) schema: Option<Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Verb {
    #[default]
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "POST")]
    Post,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Pagination {
    Offset(OffsetConfig),
    Page(PageConfig),
    Cursor(CursorConfig),
    Keyset(KeysetConfig),
    Link(LinkConfig),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OffsetConfig {
    pub(crate) offset_param: String,
    pub(crate) limit_param: String,
    pub(crate) limit: u64,
    pub(crate) first: u64,
    pub(crate) step_by_limit: bool,
    pub(crate) overlap: bool,
    pub(crate) trust_total: bool,
    pub(crate) end_statuses: Vec<u16>,
}

impl Default for OffsetConfig {
    fn default() -> Self {
        Self {
            offset_param: "offset".into(),
            limit_param: "limit".into(),
            limit: 100,
            first: 0,
            step_by_limit: false,
            overlap: true,
            trust_total: false,
            end_statuses: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PageConfig {
    pub(crate) page_param: String,
    pub(crate) first: u64,
    pub(crate) size_param: Option<String>,
    pub(crate) size: u64,
    pub(crate) total_pages: Option<String>,
    pub(crate) trust_total: bool,
    pub(crate) end_statuses: Vec<u16>,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self {
            page_param: "page".into(),
            first: 1,
            size_param: None,
            size: 100,
            total_pages: None,
            trust_total: false,
            end_statuses: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CursorConfig {
    pub(crate) token: Option<String>,
    pub(crate) param: Option<String>,
    pub(crate) already_encoded: bool,
    pub(crate) url: Option<String>,
    pub(crate) keep_query: Vec<String>,
    pub(crate) has_more: Option<String>,
    pub(crate) end_tokens: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysetConfig {
    pub(crate) field: String,
    pub(crate) param: String,
    pub(crate) tie_breaker: Option<String>,
    pub(crate) tie_breaker_param: Option<String>,
    #[serde(default)]
    pub(crate) inclusive: bool,
    pub(crate) limit_param: Option<String>,
    pub(crate) limit: Option<u64>,
    pub(crate) has_more: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LinkConfig {
    pub(crate) rel: String,
    pub(crate) keep_query: Vec<String>,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self { rel: "next".into(), keep_query: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Incremental {
    pub(crate) cursor_field: String,
    pub(crate) param: Option<String>,
    #[serde(default = "value_alone")]
    pub(crate) format: String,
    pub(crate) start: Option<Value>,
    #[serde(default)]
    pub(crate) order: Order,
    pub(crate) watermark: Option<String>,
    #[serde(default)]
    pub(crate) stop_at_watermark: bool,
    pub(crate) lookback: Option<String>,
}

/// Reads a time as 90s, 15m, 12h or 7d.
pub(crate) fn lookback(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

fn value_alone() -> String {
    "{value}".into()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    #[default]
    Any,
    Ascending,
    Descending,
}

/// What tells a 200 that is an error in truth.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reject {
    pub(crate) present: Option<String>,
    pub(crate) absent: Option<String>,
    pub(crate) equals: Option<Vec<Value>>,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) retryable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parent {
    pub(crate) stream: String,
    #[serde(default)]
    pub(crate) copy: BTreeMap<String, String>,
}

impl Config {
    /// Finds a stream.
    pub(crate) fn stream(&self, name: &str) -> Result<&StreamConfig> {
        self.streams.iter().find(|s| s.name == name).ok_or_else(|| Error::config(format!("no such stream: {name}")))
    }

    /// Finds what the types alone cannot say.
    pub(crate) fn validate(&self) -> Result<()> {
        if !self.base_url.starts_with("https://") && !self.base_url.starts_with("http://") {
            return Err(Error::config(format!("base_url must start with https:// or http://: {}", self.base_url)));
        }
        if self.streams.is_empty() {
            return Err(Error::config("streams is empty: name at least one"));
        }
        let mut names = BTreeSet::new();
        for stream in &self.streams {
            if !names.insert(&stream.name) {
                return Err(Error::config(format!("two streams have the name {}", stream.name)));
            }
            let found = self.validate_parents(stream).and_then(|()| stream.validate());
            found.map_err(|reason| Error::config(format!("stream {}: {reason}", stream.name)))?;
        }
        Ok(())
    }

    fn validate_parents(&self, stream: &StreamConfig) -> Result<(), String> {
        let mut line = vec![&stream.name];
        let mut child = stream;
        while let Some(parent) = &child.parent {
            if line.contains(&&parent.stream) {
                return Err(format!("is its own parent, by way of {}", child.name));
            }
            let found = self.streams.iter().find(|s| s.name == parent.stream);
            child = found.ok_or_else(|| format!("parent.stream names no stream: {}", parent.stream))?;
            line.push(&child.name);
        }
        Ok(())
    }
}

impl StreamConfig {
    fn validate(&self) -> Result<(), String> {
        if self.method == Verb::Get && self.body.is_some() {
            return Err("body goes with method POST".into());
        }
        if self.parent.is_none()
            && let Some(path) = self.placeholders().first()
        {
            return Err(format!("{{parent.{}}} stands for a parent's field, but there is no `parent`", path.join(".")));
        }
        if !self.records.is_empty() && !self.records.starts_with('/') {
            return Err(format!("records must be empty or a pointer that starts with a slash: {}", self.records));
        }
        if let Some(incremental) = &self.incremental {
            incremental.validate()?;
        }
        self.validate_cap()?;
        self.reject.iter().try_for_each(Reject::validate)?;
        match &self.pagination {
            Some(Pagination::Cursor(cursor)) => cursor.validate(),
            Some(Pagination::Keyset(keyset)) => keyset.validate(),
            _ => Ok(()),
        }
    }

    fn validate_cap(&self) -> Result<(), String> {
        if self.cap.is_none() {
            return Ok(());
        }
        let sorted = |incremental: &Incremental| incremental.param.is_some() && incremental.order == Order::Ascending;
        if !self.incremental.as_ref().is_some_and(sorted) || self.primary_key.len() != 1 {
            return Err(
                "cap needs `incremental` with `param` and `order: ascending`, to start anew from the last value, and \
                        a `primary_key` of one field"
                    .into(),
            );
        }
        match &self.pagination {
            Some(Pagination::Offset(_) | Pagination::Page(_) | Pagination::Link(_)) => Ok(()),
            _ => Err("cap goes with pagination by offset, page or link; the others have none".into()),
        }
    }

    /// The parent's fields that the request needs, without the leading `parent`.
    pub(crate) fn placeholders(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        template::find(&self.path, &mut found);
        self.headers.values().for_each(|text| template::find(text, &mut found));
        self.query.values().chain(&self.body).for_each(|value| template::find_in(value, &mut found));
        found
    }
}

impl Incremental {
    fn validate(&self) -> Result<(), String> {
        if !self.format.contains("{value}") {
            return Err(format!("incremental.format lacks {{value}}: {}", self.format));
        }
        if self.stop_at_watermark && self.order != Order::Descending {
            return Err("incremental.stop_at_watermark goes with order: descending".into());
        }
        if self.stop_at_watermark && self.watermark.is_some() {
            return Err("incremental.stop_at_watermark goes by the cursor field, without incremental.watermark".into());
        }
        if let Some(text) = &self.lookback
            && lookback(text).is_none()
        {
            return Err(format!("incremental.lookback is no time such as 90s, 15m, 12h or 7d: {text}"));
        }
        if self.param.is_none() && self.start.is_some() {
            return Err("incremental.start goes with incremental.param".into());
        }
        Ok(())
    }
}

impl CursorConfig {
    fn validate(&self) -> Result<(), String> {
        match (&self.token, &self.param, &self.url) {
            (Some(_), Some(param), None) if self.already_encoded && param.starts_with('/') => {
                Err("pagination.cursor.already_encoded goes with a query parameter".into())
            }
            (Some(_), Some(_), None) | (None, None, Some(_)) => Ok(()),
            _ => Err("pagination.cursor needs either `token` and `param`, or `url`".into()),
        }
    }
}

impl KeysetConfig {
    fn validate(&self) -> Result<(), String> {
        match (&self.tie_breaker, &self.tie_breaker_param, self.inclusive) {
            (None, None, false) | (Some(_), Some(_), false) => Ok(()),
            (Some(_), None, true) if self.limit_param.is_some() && self.limit.is_some() => Ok(()),
            (_, _, true) => Err("pagination.keyset.inclusive needs `tie_breaker`, `limit_param` and `limit`, and no \
                     `tie_breaker_param`"
                .into()),
            _ => {
                Err("pagination.keyset takes `tie_breaker` and `tie_breaker_param` together, or `inclusive: true`"
                    .into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use connector_sdk::parse_config;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn error(streams: Value) -> String {
        let config = json!({"base_url": "https://a", "streams": streams}).to_string();
        match parse_config::<Config>(&config).and_then(|config| config.validate()) {
            Err(Error::Config(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn schema() -> Value {
        serde_json::from_str(include_str!("schema.json")).unwrap()
    }

    /// The names that a type accepts, by its own word.
    fn fields<T: DeserializeOwned + std::fmt::Debug>(with: Value) -> BTreeSet<String> {
        let mut object = with;
        object["no such name"] = json!({});
        let error = serde_json::from_value::<T>(object).unwrap_err().to_string();
        error.split('`').skip(1).step_by(2).filter(|name| *name != "no such name").map(str::to_owned).collect()
    }

    #[test]
    fn the_schema_names_the_same_properties_as_the_types() {
        let schema = schema();
        let same = |pointer: &str, fields: BTreeSet<String>| {
            let object = schema.pointer(pointer).unwrap();
            let properties: BTreeSet<String> = object["properties"].as_object().unwrap().keys().cloned().collect();
            assert_eq!(properties, fields, "{pointer}");
            assert_eq!(object["additionalProperties"], false, "{pointer}");
        };
        same("", fields::<Config>(json!({})));
        same("/$defs/stream", fields::<StreamConfig>(json!({})));
        same("/$defs/pagination", fields::<Pagination>(json!({})));
        same("/$defs/pagination/properties/offset", fields::<OffsetConfig>(json!({})));
        same("/$defs/pagination/properties/page", fields::<PageConfig>(json!({})));
        same("/$defs/pagination/properties/cursor", fields::<CursorConfig>(json!({})));
        same("/$defs/pagination/properties/keyset", fields::<KeysetConfig>(json!({})));
        same("/$defs/pagination/properties/link", fields::<LinkConfig>(json!({})));
        same("/$defs/incremental", fields::<Incremental>(json!({})));
        same("/$defs/reject", fields::<Reject>(json!({})));
        same("/$defs/parent", fields::<Parent>(json!({})));
    }

    #[test]
    fn every_property_of_the_schema_is_described() {
        fn walk(value: &Value, at: &str) {
            if let Some(properties) = value.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    let at = format!("{at}/{name}");
                    if property.get("$ref").is_none() || property.get("title").is_some() {
                        assert!(property["title"].is_string() && property["description"].is_string(), "{at}");
                    }
                    walk(property, &at);
                }
            }
        }
        let schema = schema();
        walk(&schema, "");
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            walk(definition, name);
        }
    }

    #[test]
    fn mistakes_that_types_cannot_show_are_named() {
        for (stream, reason) in [
            (json!({"body": {}}), "stream s: body goes with method POST"),
            (
                json!({"path": "x/{parent.id}"}),
                "stream s: {parent.id} stands for a parent's field, but there is no `parent`",
            ),
            (json!({"records": "data"}), "stream s: records must be empty or a pointer that starts with a slash: data"),
            (json!({"parent": {"stream": "t"}}), "stream s: parent.stream names no stream: t"),
            (json!({"parent": {"stream": "s"}}), "stream s: is its own parent, by way of s"),
            (
                json!({"pagination": {"cursor": {"token": "/a"}}}),
                "stream s: pagination.cursor needs either `token` and `param`, or `url`",
            ),
            (
                json!({"pagination": {"keyset": {"field": "t", "param": "p", "inclusive": true}}}),
                "stream s: pagination.keyset.inclusive needs `tie_breaker`, `limit_param` and `limit`, and no `tie_breaker_param`",
            ),
            (
                json!({"pagination": {"keyset": {"field": "t", "param": "p", "tie_breaker": "i"}}}),
                "stream s: pagination.keyset takes `tie_breaker` and `tie_breaker_param` together, or `inclusive: true`",
            ),
            (
                json!({"incremental": {"cursor_field": "t", "format": "x"}}),
                "stream s: incremental.format lacks {value}: x",
            ),
            (
                json!({"incremental": {"cursor_field": "t", "stop_at_watermark": true}}),
                "stream s: incremental.stop_at_watermark goes with order: descending",
            ),
            (
                json!({"incremental": {"cursor_field": "t", "order": "descending", "stop_at_watermark": true, "watermark": "ETag"}}),
                "stream s: incremental.stop_at_watermark goes by the cursor field, without incremental.watermark",
            ),
            (
                json!({"incremental": {"cursor_field": "t", "start": 1}}),
                "stream s: incremental.start goes with incremental.param",
            ),
            (
                json!({"reject": [{"present": "/error", "absent": "/data"}]}),
                "stream s: reject needs either `present` or `absent`",
            ),
            (
                json!({"reject": [{"absent": "/data", "equals": [1]}]}),
                "stream s: reject.equals goes with reject.present",
            ),
            (
                json!({"reject": [{"present": "error"}]}),
                "stream s: reject: not a pointer that starts with a slash: error",
            ),
            (
                json!({"pagination": {"ofset": {}}}),
                "unknown variant `ofset`, expected one of `offset`, `page`, `cursor`, `keyset`, `link`",
            ),
        ] {
            let mut whole = json!({"name": "s", "path": "s"});
            whole.as_object_mut().unwrap().extend(stream.as_object().unwrap().clone());
            assert_eq!(error(json!([whole])), reason);
        }
        assert_eq!(error(json!([])), "streams is empty: name at least one");
        let twice = json!([{"name": "s", "path": "a"}, {"name": "s", "path": "b"}]);
        assert_eq!(error(twice), "two streams have the name s");
    }
    #[test]
    fn the_configurations_that_come_along_are_valid() {
        for text in [include_str!("../fixtures/kinto.json"), include_str!("../fixtures/datasette.json")] {
            // What the host keeps to itself.
            let mut config: Value = serde_json::from_str(text).unwrap();
            config.as_object_mut().unwrap().shift_remove("auth");
            parse_config::<Config>(&config.to_string()).unwrap().validate().unwrap();
        }
    }
}
