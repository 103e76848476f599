//! A connection's keys, which take turns: the one with the most budget left goes next; one whose budget is spent rests until
//! its reset; one that is answered with 401 is taken out.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Refusal, Secret};
use crate::event::{Event, Level, Observer};
use crate::http::Budgets;

/// The keys of one connection.
pub(crate) struct Keys {
    keys: Vec<Secret>,
    state: Mutex<State>,
    observer: Arc<dyn Observer>,
}

struct State {
    refused: Vec<bool>,
    /// How often each was picked, so that keys of which nothing is known take turns.
    picked: Vec<u64>,
}

impl Keys {
    pub(crate) fn new(keys: Vec<Secret>, observer: Arc<dyn Observer>) -> Self {
        let state = Mutex::new(State { refused: vec![false; keys.len()], picked: vec![0; keys.len()] });
        Self { keys, state, observer }
    }

    /// Names the budget of a key: each has its own, where there are several.
    pub(crate) fn budget(&self, host: &str, key: usize) -> String {
        if self.keys.len() > 1 { format!("{host} key {}", key + 1) } else { host.to_owned() }
    }

    /// Picks the key for a request: the one with the most left; where all are spent, the one that is full again first, for
    /// which the request then waits in its budget.
    pub(crate) fn pick(&self, host: &str, budgets: &Budgets) -> Result<usize, Refusal> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |key: usize| {
            let budget = budgets.status(&self.budget(host, key));
            // What nobody knows may be anything: it is tried before keys that are known to be near their end.
            match (budget.remaining, budget.reset_at_ms) {
                (Some(0), Some(reset)) => (0, u64::MAX - reset),
                (Some(remaining), _) => (u64::from(remaining), 0),
                (None, _) => (u64::MAX, 0),
            }
        };
        let usable = (0..self.keys.len()).filter(|key| !state.refused.get(*key).copied().unwrap_or(true));
        let picked = usable.max_by_key(|key| {
            let (remaining, reset) = left(*key);
            (remaining, reset, u64::MAX - state.picked.get(*key).copied().unwrap_or(0), usize::MAX - *key)
        });
        let Some(key) = picked else {
            let all = if self.keys.len() > 1 { format!("all {} keys", self.keys.len()) } else { "the key".to_owned() };
            return Err(Refusal::new(
                format!("{host} has refused {all} with 401"),
                "give the connection a key that is valid",
            ));
        };
        if let Some(count) = state.picked.get_mut(key) {
            *count += 1;
        }
        Ok(key)
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.refused.get_mut(key).is_none_or(|refused| std::mem::replace(refused, true));
        let left = state.refused.iter().filter(|refused| !**refused).count();
        drop(state);
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
