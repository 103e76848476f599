//! `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers: lists of items with parameters, in the form of
//! structured fields (RFC 9651), read as leniently as servers write them.

use std::collections::HashMap;

use super::learned::{Learned, after, count};

/// Reads every window: `"minute";r=7;t=30, "day";r=900;t=80000`, or `limit=100, remaining=50, reset=30` as an older draft had
/// it.
pub(super) fn windows(headers: &[(String, String)], now_ms: u64) -> Vec<(String, Learned)> {
    let field = |name: &str| -> Vec<Item> {
        let values = headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| items(value)).collect()
    };
    let policies: HashMap<String, Item> =
        field("ratelimit-policy").into_iter().map(|item| (item.name.clone(), item)).collect();
    let told = field("ratelimit");
    let older = |name: &str| told.iter().find(|item| item.name == name).and_then(|item| item.bare.clone());
    if let Some(remaining) = older("remaining") {
        let limit = older("limit").and_then(|text| count(&text));
        let reset_at_ms = older("reset").and_then(|text| after(now_ms, text.parse().ok()?));
        return vec![(String::new(), Learned { limit, remaining: count(&remaining), reset_at_ms })];
    }
    let windows = told.iter().filter_map(|item| {
        let policy = policies.get(&item.name);
        // A quota of bytes or of requests at once is none of requests; one without a unit is.
        let unit = policy.and_then(|policy| policy.parameters.get("qu")).map_or("requests", String::as_str);
        if unit != "requests" {
            return None;
        }
        let remaining = count(item.parameters.get("r")?)?;
        let limit = policy.and_then(|policy| policy.parameters.get("q")).and_then(|text| count(text));
        // Without a reset the window's length is the longest that it can last.
        let time = item.parameters.get("t").or_else(|| policy?.parameters.get("w"));
        let reset_at_ms = time.and_then(|text| after(now_ms, text.parse().ok()?));
        Some((item.name.clone(), Learned { limit, remaining: Some(remaining), reset_at_ms }))
    });
    windows.collect()
}

/// A member of a list: a name, what stands behind `=` where it is a member of a dictionary, and parameters.
#[derive(Debug, Default)]
struct Item {
    name: String,
    bare: Option<String>,
    parameters: HashMap<String, String>,
}

fn items(text: &str) -> Vec<Item> {
    let item = |text: &str| {
        let mut parts = split(text, ';').into_iter();
        let (name, bare) = pair(&parts.next()?);
        let parameters = parts.map(|part| pair(&part)).map(|(name, value)| (name, value.unwrap_or_default()));
        Some(Item { name, bare, parameters: parameters.collect() })
    };
    split(text, ',').iter().filter_map(|text| item(text)).collect()
}

fn pair(text: &str) -> (String, Option<String>) {
    let clean = |text: &str| text.trim().trim_matches('"').to_owned();
    match text.trim_start().starts_with('"') {
        true => (clean(text), None),
        false => {
            text.split_once('=').map_or_else(|| (clean(text), None), |(name, value)| (clean(name), Some(clean(value))))
        }
    }
}

/// Splits at a mark outside of quotes.
fn split(text: &str, mark: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == mark && !quoted {
            parts.push(String::new());
            continue;
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn windows_are_told_apart_by_their_policies() {
        let headers = |limit: &str, policy: &str| {
            let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            windows(&[header("RateLimit-Policy", policy), header("RateLimit", limit)], NOW)
        };
        let learned = |limit, remaining, seconds: u64| Learned {
            limit,
            remaining: Some(remaining),
            reset_at_ms: Some(NOW + seconds * 1_000),
        };
        assert_eq!(
            headers(
                r#""burst";r=3;t=2, "a;b,\"c";r=40;t=3600;pk=:cHJvZA==:"#,
                r#""burst";q=10;w=5, "a;b,\"c";q=100;w=86400;qu="requests";pk=:cHJvZA==:"#
            ),
            [("burst".to_owned(), learned(Some(10), 3, 2)), (r#"a;b,\"c"#.to_owned(), learned(Some(100), 40, 3_600))]
        );
        // Bytes are not requests, and neither are requests at once.
        assert_eq!(
            headers(r#""b";r=3;t=2, "c";r=1"#, r#""b";q=9;qu="content-bytes", "c";q=9;qu="concurrent-requests""#),
            []
        );
        // Without a reset it lasts a window at most.
        assert_eq!(headers(r#""m";r=3"#, r#""m";q=9;w=60"#), [("m".to_owned(), learned(Some(9), 3, 60))]);
        assert_eq!(headers(r#""m";r=x"#, "=;=,,"), []);
    }
}
