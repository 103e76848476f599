//! Servers with several budgets: which of them a request counts against, by what the server has said of such requests.

use std::sync::PoisonError;

use url::Url;

use super::{Budgets, budget_id};
use crate::http::budget_name;

/// Paths of which it is remembered to which of a server's budgets they belong.
const MAX_ROUTES: usize = 1024;

impl Budgets {
    /// Names the budget that a request to a URL counts against, by what the server has said of such requests.
    pub fn of_url(&self, url: &Url, key: Option<&str>) -> String {
        let api = budget_name(url);
        let routes = self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.is_empty() {
            return budget_id(api, None, key);
        }
        let resource = routes.get(&(api.clone(), route(url))).cloned();
        drop(routes);
        budget_id(api, resource.as_deref(), key)
    }

    /// Takes the server's word that requests to such a URL count against a budget of this name.
    pub(in crate::http) fn routed(&self, url: &Url, resource: &str) {
        let mut routes = self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (budget_name(url), route(url));
        if routes.len() < MAX_ROUTES || routes.contains_key(&place) {
            routes.insert(place, resource.to_owned());
        }
    }
}

/// The part of a path by which servers tell their budgets apart: its first word that is no version or `api`.
fn route(url: &Url) -> String {
    let dull = |word: &str| {
        word.is_empty()
            || word == "api"
            || word.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    };
    url.path_segments().and_then(|mut words| words.find(|word| !dull(word))).unwrap_or_default().to_owned()
}
