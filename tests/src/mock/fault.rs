//! Faults by script: which request, and what goes wrong with it.

use std::time::Duration;

use super::{encode::Encoding, paging::Twist, request::Received};

/// What `Retry-After` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryAfter {
    /// The header is missing.
    #[default]
    None,
    /// Seconds from now.
    Seconds(u64),
    /// An HTTP date so many seconds from now, by the server's clock.
    Date(u64),
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This status with a small JSON body, instead of the page.
    Status(u16, RetryAfter),
    /// This status and these headers, without a body: a redirect, for example.
    Headers(u16, Vec<(&'static str, String)>),
    /// This whole response: status, content type, body.
    Body(u16, &'static str, String),
    /// Status 200 and `{"error": …}` instead of the page.
    ErrorBody,
    /// Status 200 and an HTML page, as a proxy or a login form answers.
    Html,
    /// Status 200 and `{}`.
    EmptyObject,
    /// The page in this encoding, whether the request accepts it or not.
    Encode(Encoding),
    /// The body in chunks of so many bytes with a pause before each.
    Drip(usize, Duration),
    /// A pause before the headers.
    Delay(Duration),
    /// The connection ends after so many bytes of the body, short of the promised length.
    Cut(usize),
    /// The connection ends without an answer.
    HangUp,
    /// The body ends after so many bytes, and the promised length agrees.
    Truncate(usize),
    /// The page keeps at most so many records; what follows depends on the pagination.
    Short(usize),
    /// The total is off by so much.
    Total(i64),
}

/// An action and the requests that it meets.
///
/// A rule counts the requests that match its path and its text, so that a script says the same
/// however many requests are in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    path: Option<String>,
    containing: Option<String>,
    first: u64,
    last: u64,
    every: u64,
    action: Action,
}

impl Rule {
    /// The `nth` request that matches, from 1, and no other.
    #[must_use]
    pub fn on(nth: u64, action: Action) -> Self {
        Self { path: None, containing: None, first: nth, last: nth, every: 1, action }
    }

    /// All requests that match, from the first.
    #[must_use]
    pub fn always(action: Action) -> Self {
        Self { last: u64::MAX, ..Self::on(1, action) }
    }

    /// Every `nth` request that matches.
    #[must_use]
    pub fn every(nth: u64, action: Action) -> Self {
        Self { every: nth.max(1), first: nth.max(1), ..Self::always(action) }
    }

    /// So many requests in a row, beginning with the one named.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { last: self.first.saturating_add(count).saturating_sub(1), ..self }
    }

    /// Only requests whose path begins so.
    #[must_use]
    pub fn path(self, prefix: impl Into<String>) -> Self {
        Self { path: Some(prefix.into()), ..self }
    }

    /// Only requests whose decoded query or body contains this text, `offset=300` for example.
    #[must_use]
    pub fn containing(self, text: impl Into<String>) -> Self {
        Self { containing: Some(text.into()), ..self }
    }

    fn matches(&self, request: &Received) -> bool {
        let path = self.path.as_ref().is_none_or(|prefix| request.path.starts_with(prefix));
        path && self.containing.as_ref().is_none_or(|text| {
            let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            query.join("&").contains(text) || String::from_utf8_lossy(&request.body).contains(text.as_str())
        })
    }
}

/// The rules of a server and how often each has matched.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<(Rule, u64)>,
}

impl Script {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into_iter().map(|rule| (rule, 0)).collect() }
    }

    /// Counts a request and returns what happens to it, in the order of the rules.
    pub(super) fn actions(&mut self, request: &Received) -> Vec<Action> {
        let mut actions = Vec::new();
        for (rule, count) in &mut self.rules {
            if rule.matches(request) {
                *count += 1;
                if *count >= rule.first && *count <= rule.last && (*count - rule.first).is_multiple_of(rule.every) {
                    actions.push(rule.action.clone());
                }
            }
        }
        actions
    }
}

/// What the actions do to the choice of rows.
pub(super) fn twist(actions: &[Action]) -> Twist {
    let mut twist = Twist::default();
    for action in actions {
        match action {
            Action::Short(keep) => twist.keep = Some(*keep),
            Action::Total(delta) => twist.total_delta += delta,
            _ => {}
        }
    }
    twist
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str) -> Received {
        Received {
            number: 1,
            method: "GET".into(),
            path: "/items".into(),
            raw_query: query.into(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: Vec::new(),
            body: bytes::Bytes::new(),
            status: None,
        }
    }

    #[test]
    fn rules_count_what_matches_them_alone() {
        let mut script = Script::new(vec![
            Rule::on(2, Action::Html),
            Rule::on(1, Action::EmptyObject).containing("offset=300"),
            Rule::every(3, Action::HangUp),
            Rule::always(Action::ErrorBody).path("/other"),
        ]);
        let seen: Vec<_> = ["", "a=b", "offset=300&limit=1", "offset=300"]
            .iter()
            .map(|query| script.actions(&request(query)))
            .collect();
        assert_eq!(seen, [vec![], vec![Action::Html], vec![Action::EmptyObject, Action::HangUp], vec![]]);
    }

    #[test]
    fn a_row_of_failures_has_an_end() {
        let mut script = Script::new(vec![Rule::on(2, Action::HangUp).times(2)]);
        let seen: Vec<_> = (0..5).map(|_| script.actions(&request("")).len()).collect();
        assert_eq!(seen, [0, 1, 1, 0, 0]);
    }
}
