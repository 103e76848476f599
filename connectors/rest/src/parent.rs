//! Substreams: one partition for each record of the parent stream.

use std::collections::{BTreeMap, BTreeSet};

use connector_sdk::{Error, Partition, Result, info, url};
use serde_json::{Map, Value};

use crate::config::{Config, StreamConfig};
use crate::template::{lookup, path, plain};

/// Lists the partitions of a stream; none where it has no parent.
pub(crate) fn partitions(config: &Config, stream: &StreamConfig) -> Result<Vec<Partition>> {
    let contexts = contexts(config, stream)?;
    if let Some(parent) = &stream.parent {
        info!("{} partitions", contexts.len(); stream = stream.name, parent = parent.stream);
    }
    contexts.into_iter().map(|(id, context)| Partition::new(id).context(&context)).collect()
}

/// The fields of each parent that a stream and those below it need, by partition id.
fn contexts(config: &Config, stream: &StreamConfig) -> Result<BTreeMap<String, Value>> {
    let Some(parent) = &stream.parent else { return Ok(BTreeMap::new()) };
    let parent = config.stream(&parent.stream)?;
    let mut found = BTreeMap::new();
    if parent.parent.is_none() {
        for record in config.pages(parent, None, None)?.collect::<Value>()? {
            let (id, context) = context(config, stream, parent, &record)?;
            found.insert(id, context);
        }
        return Ok(found);
    }
    for (above, grandparent) in contexts(config, parent)? {
        for mut record in config.pages(parent, Some(&grandparent), None)?.collect::<Value>()? {
            if let Value::Object(fields) = &mut record {
                fields.insert("parent".into(), grandparent.clone());
            }
            let (id, context) = context(config, stream, parent, &record)?;
            found.insert(format!("{above}/{id}"), context);
        }
    }
    Ok(found)
}

/// Takes from a parent's record its identity and the fields that are needed, at their places.
fn context(config: &Config, stream: &StreamConfig, parent: &StreamConfig, record: &Value) -> Result<(String, Value)> {
    let mut context = Value::Object(Map::new());
    let needed = needed(config, stream);
    for path in &needed {
        let value = lookup(record, path).map_err(|e| e.context(format!("stream {}", parent.name)))?;
        put(&mut context, path, value.clone());
    }
    let key: Vec<Vec<String>> = match parent.primary_key.is_empty() {
        false => parent.primary_key.iter().map(|field| vec![field.clone()]).collect(),
        true => needed.into_iter().filter(|path| path.first().is_none_or(|first| first != "parent")).collect(),
    };
    let mut id = Vec::new();
    for path in &key {
        id.push(plain(lookup(record, path).map_err(|e| e.context(format!("stream {}", parent.name)))?));
    }
    let id = match id.as_slice() {
        [] => return Err(Error::config(format!("stream {} uses no field of its parent", stream.name))),
        [one] => one.clone(),
        several => several.iter().map(|part| url::encode_segment(part)).collect::<Vec<_>>().join("/"),
    };
    Ok((id, context))
}

/// The fields of the parent's record that a stream needs, also for the streams below it.
fn needed(config: &Config, stream: &StreamConfig) -> BTreeSet<Vec<String>> {
    let mut paths: BTreeSet<Vec<String>> = stream.placeholders().into_iter().collect();
    if let Some(parent) = &stream.parent {
        paths.extend(parent.copy.values().map(|field| path(field)));
    }
    let children = config.streams.iter().filter(|s| s.parent.as_ref().is_some_and(|p| p.stream == stream.name));
    for child in children {
        for path in needed(config, child) {
            if let Some((first, rest)) = path.split_first()
                && first == "parent"
                && !rest.is_empty()
            {
                paths.insert(rest.to_vec());
            }
        }
    }
    paths
}

fn put(context: &mut Value, path: &[String], value: Value) {
    let mut slot = context;
    for segment in path {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        let Value::Object(fields) = slot else { return };
        slot = fields.entry(segment.clone()).or_insert(Value::Null);
    }
    *slot = value;
}

#[cfg(test)]
mod tests {
    use connector_sdk::parse_config;
    use serde_json::json;

    use super::*;

    fn config() -> Config {
        let config = json!({"base_url": "https://a", "streams": [
            {"name": "orgs", "path": "orgs", "primary_key": ["id"]},
            {"name": "repos", "path": "o/{parent.login}", "primary_key": ["id"], "parent": {"stream": "orgs"}},
            {"name": "issues", "path": "r/{parent.owner.name}/{parent.name}", "parent": {
                "stream": "repos", "copy": {"org": "parent.slug", "repo_id": "id"}}}
        ]});
        parse_config(&config.to_string()).unwrap()
    }

    #[test]
    fn a_partition_holds_what_it_and_those_below_it_need_and_no_more() {
        let config = config();
        config.validate().unwrap();
        let orgs = config.stream("orgs").unwrap();
        let org = json!({"id": 1, "login": "a", "slug": "s", "other": "x"});
        let (id, of_repos) = context(&config, config.stream("repos").unwrap(), orgs, &org).unwrap();
        assert_eq!((id.as_str(), &of_repos), ("1", &json!({"login": "a", "slug": "s"})));

        let repos = config.stream("repos").unwrap();
        let repo = json!({"id": 7, "name": "n", "owner": {"name": "o", "x": 1}, "parent": of_repos});
        let (id, of_issues) = context(&config, config.stream("issues").unwrap(), repos, &repo).unwrap();
        assert_eq!(id, "7");
        assert_eq!(of_issues, json!({"id": 7, "name": "n", "owner": {"name": "o"}, "parent": {"slug": "s"}}));
    }

    #[test]
    fn a_parent_without_a_needed_field_is_named() {
        let config = config();
        let (orgs, repos) = (config.stream("orgs").unwrap(), config.stream("repos").unwrap());
        let error = context(&config, repos, orgs, &json!({"id": 1, "slug": "s"})).unwrap_err();
        assert_eq!(error, Error::data("stream orgs: a parent's record has no field login"));
    }
}
