//! What budgets are called: so that all who pay with the same key find the same one, and users can read it.

use super::Budgets;

/// What stands before the key that pays.
const OF_KEY: &str = " of key ";

/// Names a budget: the API (its host, with the port where it is not the scheme's own), the server's own name for it where it
/// has several, and the key that pays for it, if any. `key` must be the same for the same key in every process, and reveal
/// nothing of it ([`crate::auth::payer`]).
pub fn budget_id(api: impl Into<String>, resource: Option<&str>, key: Option<&str>) -> String {
    let mut id = api.into();
    for (part, mark) in [(resource, " "), (key, OF_KEY)] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            id.push_str(mark);
            id.push_str(part);
        }
    }
    id
}

impl Budgets {
    /// Takes the names of a connection's keys, in the order in which its user wrote them down.
    pub(in crate::http) fn know_keys(&self, keys: Vec<String>) {
        // Whoever is first is right: a connection has one list of keys.
        let _ = self.shared.keys.set(keys);
    }

    /// How a budget is called before users: by the place of its key where there are several, and without it where there is
    /// nothing to tell apart.
    pub(in crate::http) fn shown(&self, id: &str) -> String {
        let Some((api, key)) = id.rsplit_once(OF_KEY) else { return id.to_owned() };
        let keys = self.shared.keys.get().map_or(&[][..], Vec::as_slice);
        match keys.iter().position(|own| own == key).filter(|_| keys.len() > 1) {
            Some(place) => format!("{api}{OF_KEY}{}", place + 1),
            None => api.to_owned(),
        }
    }
}
