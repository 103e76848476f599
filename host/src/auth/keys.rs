//! A connection's keys, which take turns: each has budgets of its own, of which a request takes the one with the most left; a
//! key whose budget is spent rests until its reset; one that is answered with 401 is taken out.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Refusal, Secret};
use crate::event::{Event, Level, Observer};

/// The keys of one connection.
pub(crate) struct Keys {
    keys: Vec<Secret>,
    /// What the budgets of each are called.
    names: Vec<String>,
    refused: Mutex<Vec<bool>>,
    observer: Arc<dyn Observer>,
}

/// One of a connection's keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Key {
    /// Its place among them.
    pub(crate) index: usize,
    /// What its budgets are called; none where nobody pays.
    pub(crate) name: Option<String>,
}

impl Keys {
    pub(crate) fn new(keys: Vec<Secret>, observer: Arc<dyn Observer>) -> Self {
        let refused = Mutex::new(vec![false; keys.len()]);
        let names = keys.iter().map(|key| super::payer([key.expose()])).collect();
        Self { keys, names, refused, observer }
    }

    /// What the budgets of each are called.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The keys that may be used for a request to a host.
    pub(crate) fn usable(&self, host: &str) -> Result<Vec<Key>, Refusal> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.keys.len();
        let usable = (0..all).filter(|index| !refused.get(*index).copied().unwrap_or(true));
        let keys: Vec<Key> = usable.map(|index| Key { index, name: self.names.get(index).cloned() }).collect();
        if keys.is_empty() {
            let which = if all > 1 { format!("all {all} keys") } else { "the key".to_owned() };
            return Err(Refusal::new(
                format!("{host} has refused {which} with 401"),
                "give the connection a key that is valid",
            ));
        }
        Ok(keys)
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: usize) -> &str {
        self.keys.get(key).map(Secret::expose).unwrap_or_default()
    }

    /// Takes a key out that was answered with 401. Tells whether another is left. A connection's only key stays: each of its
    /// requests shows the API's own answer.
    pub(crate) fn refuse(&self, host: &str, key: usize) -> bool {
        if self.keys.len() < 2 {
            return false;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused.get_mut(key).is_none_or(|refused| std::mem::replace(refused, true));
        let left = refused.iter().filter(|refused| !**refused).count();
        drop(refused);
        if !known {
            let (number, all) = (key + 1, self.keys.len());
            let message =
                format!("{host} refuses key {number} of {all} with 401; it is not used any more, {left} are left");
            self.observer.observe(Event::Log {
                target: "host".to_owned(),
                level: Level::Warn,
                message,
                fields: Vec::new(),
            });
        }
        left > 0
    }
}
