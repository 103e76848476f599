//! What budgets are called: so that all who pay with the same key find the same one, users can read it, and what a connector
//! calls its own is its own.

use std::sync::{Arc, PoisonError};

use url::Url;

use super::{Bucket, Budgets, Shared};
use crate::http::{Error, Policy, budget_name};

/// What stands before the key that pays.
const OF_KEY: &str = " of key ";
/// Longest name that a connector can give to a budget, in bytes: it is kept, and shown to users.
const MAX_NAME_BYTES: usize = 128;
/// Reads of which it is remembered what they were paid from.
const MAX_READS: usize = 1024;

/// The connector whose word is taken.
pub(super) struct Speaker {
    /// The beginning of its digest.
    connector: String,
    /// The APIs of which it may speak.
    policy: Arc<Policy>,
}

impl Speaker {
    /// Tells whether a name is that of an API which the connector may ask, or one of the API's own budgets.
    fn may_mean(&self, name: &str) -> bool {
        let api = name.split(' ').next().unwrap_or_default();
        let urls = ["https", "http"].into_iter().filter_map(|scheme| Url::parse(&format!("{scheme}://{api}/")).ok());
        let urls = urls.filter(|url| budget_name(url) == api);
        !name.contains(OF_KEY) && urls.into_iter().any(|url| self.policy.allows(&url).is_ok())
    }
}

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

/// A budget's name without the connector whose own it is. No host has an `@`, so that none is taken for a connector's.
pub(super) fn without_speaker(id: &str) -> &str {
    let own = id.strip_prefix('@').and_then(|rest| rest.split_once(' '));
    own.map_or(id, |(_, name)| name)
}

impl Shared {
    /// The connector that asks.
    pub(super) fn connector(&self) -> &str {
        self.speaker.get().map_or("", |speaker| &speaker.connector)
    }
}

impl Budgets {
    /// Takes the names of a connection's keys, in the order in which its user wrote them down.
    pub(in crate::http) fn know_keys(&self, keys: Vec<String>) {
        // Whoever is first is right: a connection has one list of keys.
        let _ = self.shared.keys.set(keys);
    }

    /// Takes the connector that speaks of budgets, by the beginning of its digest, and the APIs that it may ask.
    pub(in crate::http) fn know_speaker(&self, connector: &str, policy: Arc<Policy>) {
        // Whoever is first is right: a client has one connector.
        let _ = self.shared.speaker.set(Speaker { connector: connector.to_owned(), policy });
    }

    fn keys(&self) -> &[String] {
        self.shared.keys.get().map_or(&[], Vec::as_slice)
    }

    /// How a budget is called before users: by the place of its key where there are several, and without it where there is
    /// nothing to tell apart.
    pub(in crate::http) fn shown(&self, id: &str) -> String {
        let id = without_speaker(id);
        let Some((api, key)) = id.rsplit_once(OF_KEY) else { return id.to_owned() };
        let keys = self.keys();
        match keys.iter().position(|own| own == key).filter(|_| keys.len() > 1) {
            Some(place) => format!("{api}{OF_KEY}{}", place + 1),
            None => api.to_owned(),
        }
    }

    /// Names the budget that a connector means in a read: an API that it may ask stands for the budget from which its requests
    /// there are paid, and any other name is the connector's own, for the key that pays.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the name is too long.
    pub(super) fn of_connector(&self, read: &str, name: &str) -> Result<String, Error> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::Invalid(format!(
                "the name of a budget is longer than {MAX_NAME_BYTES} bytes (rule budget-name)"
            )));
        }
        let Some(speaker) = self.shared.speaker.get() else { return Ok(name.to_owned()) };
        let paid = self.shared.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let of_read = paid.get(read).or_else(|| paid.get(""));
        let is_api = speaker.may_mean(name);
        if let Some(id) = of_read.and_then(|of_read| of_read.get(if is_api { name } else { "" })) {
            let key = id.rsplit_once(OF_KEY).map(|(_, key)| key);
            return Ok(if is_api { id.clone() } else { own(speaker, name, key) });
        }
        drop(paid);
        // Nothing was paid so far. Of several keys the first is as good as any.
        let key = self.keys().first().map(String::as_str);
        Ok(if is_api { budget_id(name, None, key) } else { own(speaker, name, key) })
    }

    /// Remembers what a read was paid from: what an API's name stands for, and which key pays.
    pub(super) fn pays(&self, read: &str, bucket: &Bucket) {
        let plain = bucket.name.rsplit_once(OF_KEY).map_or(bucket.name.as_str(), |(plain, _)| plain);
        let mut paid = self.shared.paid.lock().unwrap_or_else(PoisonError::into_inner);
        if paid.len() >= MAX_READS {
            paid.clear();
        }
        // Only where there are several does it matter whose request it was.
        for read in [Some(""), Some(read).filter(|_| self.keys().len() > 1)].into_iter().flatten() {
            let known = paid.get(read);
            let known = |name: &str| known.and_then(|known| known.get(name)).is_some_and(|id| *id == bucket.name);
            if known(plain) && known("") {
                continue;
            }
            let of_read = paid.entry(read.to_owned()).or_default();
            for name in [plain, ""] {
                of_read.insert(name.to_owned(), bucket.name.clone());
            }
        }
    }
}

/// Names a budget that is a connector's own.
fn own(speaker: &Speaker, name: &str, key: Option<&str>) -> String {
    budget_id(format!("@{} {name}", speaker.connector), None, key)
}
