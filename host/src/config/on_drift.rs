//! What to do about drift, as a configuration's `on_drift` or flags say it: for all streams, or one by one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Problem, nearest};
use crate::schema::drift::Policy;

/// The name of the host's own key in configurations.
pub(super) const KEY: &str = "on_drift";

/// Stands for all streams that are not named.
const ALL: &str = "*";

/// What to do about drift in each stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDrift {
    all: Option<Policy>,
    streams: BTreeMap<String, Policy>,
}

impl OnDrift {
    /// Makes a policy of pairs of a stream, or none for all, and what to do; a later one counts.
    pub fn new(pairs: impl IntoIterator<Item = (Option<String>, Policy)>) -> Self {
        let mut all = Self::default();
        for (stream, policy) in pairs {
            match stream {
                Some(stream) if stream != ALL => drop(all.streams.insert(stream, policy)),
                _ => all.all = Some(policy),
            }
        }
        all
    }

    /// Reads `on_drift: warn`, or `on_drift: {issues: fail, "*": warn}`.
    pub(super) fn read(value: &Value) -> Result<Self, Vec<Problem>> {
        let policy = |place: String, value: &Value| {
            let text = value.as_str().unwrap_or_default();
            text.parse::<Policy>().map_err(|_| {
                let names = Policy::NAMES.map(str::to_owned);
                let near = nearest(text, &names).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
                Problem { place, reason: format!("{value} is none of evolve, warn and fail{near}") }
            })
        };
        match value {
            Value::Null => Ok(Self::default()),
            Value::Object(streams) => {
                let mut problems = Vec::new();
                let mut pairs = Vec::new();
                for (stream, value) in streams {
                    match policy(format!("/{KEY}/{}", crate::json::escape(stream)), value) {
                        Ok(policy) => pairs.push((Some(stream.clone()), policy)),
                        Err(problem) => problems.push(problem),
                    }
                }
                if problems.is_empty() { Ok(Self::new(pairs)) } else { Err(problems) }
            }
            value => Ok(Self::new([(None, policy(format!("/{KEY}"), value).map_err(|problem| vec![problem])?)])),
        }
    }

    /// Returns this under what flags say: a flag for all streams counts for those that are named here, too.
    #[must_use]
    pub fn over(&self, flags: &Self) -> Self {
        let mut streams = if flags.all.is_some() { BTreeMap::new() } else { self.streams.clone() };
        streams.extend(flags.streams.clone());
        Self { all: flags.all.or(self.all), streams }
    }

    /// Returns what to do about a stream.
    #[must_use]
    pub fn of(&self, stream: &str) -> Policy {
        self.streams.get(stream).copied().or(self.all).unwrap_or_default()
    }

    /// Returns a stream that is named here, and is none of those there are.
    #[must_use]
    pub fn other_than(&self, known: &[String]) -> Option<String> {
        self.streams.keys().find(|stream| !known.contains(stream)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_count_before_the_file_and_names_before_all() {
        use Policy::{Evolve, Fail, Warn};
        let file = OnDrift::read(&json!({"a": "fail", "*": "warn"})).unwrap();
        assert_eq!((file.of("a"), file.of("b"), OnDrift::default().of("a")), (Fail, Warn, Evolve));
        let flags = OnDrift::new([(Some("b".to_owned()), Fail)]);
        assert_eq!(
            (file.over(&flags).of("a"), file.over(&flags).of("b"), file.over(&flags).of("c")),
            (Fail, Fail, Warn)
        );
        let flags = OnDrift::new([(None, Evolve)]);
        assert_eq!((file.over(&flags).of("a"), file.over(&flags).of("b")), (Evolve, Evolve));
        assert_eq!(OnDrift::read(&json!("fail")).unwrap().of("a"), Fail);
        assert_eq!(file.other_than(&["b".to_owned()]).as_deref(), Some("a"));
        let problems = OnDrift::read(&json!({"a": "warm", "b/c": 1})).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "/on_drift/a: \"warm\" is none of evolve, warn and fail; did you mean \"warn\"?",
                "/on_drift/b~1c: 1 is none of evolve, warn and fail"
            ]
        );
    }
}
