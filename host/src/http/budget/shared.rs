//! Who knows of a budget: all clients of a process, by a [`Pool`], and other processes, by a [`Store`] behind it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::state::State;

/// Where nothing is known of a budget, other processes are asked about it no more often than this.
const LOOK_MS: u64 = 100;

/// A request waits so long for a store that another process holds. Others need it for well under a millisecond: who holds it
/// for longer has been stopped, or hangs.
const HELD_MS: u64 = 5_000;
/// From then on, and where a store is broken, it is tried again no more often than this.
const ALONE_MS: u64 = 1_000;

/// Keeps states of budgets where other processes find them.
pub trait Store: Send + Sync {
    /// Reads a state, lets it be changed, and writes it back, with nobody else in between. The state is blank where there is
    /// none yet.
    ///
    /// # Errors
    /// Why it cannot be. Whether the change was made is not known then.
    fn update(&self, name: &str, change: &mut dyn FnMut(&mut State)) -> Result<(), Unshared>;
}

/// Why a store cannot be reached, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unshared {
    /// Another process holds it; a little later it may be free.
    Held(String),
    /// It cannot be used.
    Broken(String),
}

/// What came of a change.
pub(super) enum Changed<T> {
    /// It was made, and the others know.
    Told(T),
    /// It was made here alone, for a reason that is worth a warning.
    Alone(T, String),
    /// It was made here, and the others are told as soon as they can be.
    Later(T),
    /// It was not made: others hold the store, and what they know has to be known first.
    Held,
}

/// What the clients of a process know of budgets. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    process: Arc<str>,
    store: Option<Arc<dyn Store>>,
    shelves: Arc<Mutex<HashMap<String, Arc<Shelf>>>>,
    /// A request came back, whatever budget paid for it.
    returned: Arc<Notify>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("process", &self.process).field("shared", &self.store.is_some()).finish()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            process: uuid::Uuid::now_v7().to_string().into(),
            store: None,
            shelves: Arc::default(),
            returned: Arc::default(),
        }
    }
}

impl Pool {
    /// Makes a pool that shares with other processes.
    pub fn with_store(store: Arc<dyn Store>) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    pub(super) fn process(&self) -> &str {
        &self.process
    }

    pub(super) fn returned(&self) -> &Notify {
        &self.returned
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<String, Arc<Shelf>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, name: &str) -> Option<Arc<Shelf>> {
        self.shelves().get(name).cloned()
    }

    pub(super) fn shelf(&self, name: &str) -> Arc<Shelf> {
        let shelf = || Shelf {
            name: name.to_owned(),
            store: self.store.clone(),
            gate: tokio::sync::Mutex::default(),
            returned: Notify::new(),
            state: Mutex::default(),
        };
        self.shelves().entry(name.to_owned()).or_insert_with(|| Arc::new(shelf())).clone()
    }
}

/// One budget of a pool.
pub(super) struct Shelf {
    name: String,
    store: Option<Arc<dyn Store>>,
    /// Held by the one that is next in line.
    pub(super) gate: tokio::sync::Mutex<()>,
    /// A request came back.
    pub(super) returned: Notify,
    state: Mutex<Copy>,
}

#[derive(Default)]
struct Copy {
    state: State,
    looked_ms: u64,
    /// Since when the store cannot be reached.
    cut_off_ms: Option<u64>,
    /// When it was last tried since then, and what was wrong.
    tried: Option<(u64, String)>,
    /// Changes were made of which the others know nothing.
    ahead: bool,
}

impl Shelf {
    fn copy(&self) -> MutexGuard<'_, Copy> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what this process knows.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.copy().state)
    }

    /// Changes what is of no interest to other processes.
    pub(super) fn local(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.copy().state);
    }

    /// Changes what is known here, of which the others hear later.
    pub(super) fn alone<T>(&self, mut change: impl FnMut(&mut State) -> T) -> T {
        let mut copy = self.copy();
        copy.ahead = true;
        change(&mut copy.state)
    }

    /// Changes what is known. A change that is a `claim` is made only with all that others know, as long as there is hope of
    /// it; others are made in any case.
    pub(super) fn update<T>(
        &self,
        process: &str,
        now_ms: u64,
        claim: bool,
        mut change: impl FnMut(&mut State) -> T,
    ) -> Changed<T> {
        let mut copy = self.copy();
        let Some(store) = &self.store else { return Changed::Told(change(&mut copy.state)) };
        if now_ms.saturating_sub(copy.looked_ms) < LOOK_MS && copy.state.is_blank() {
            // As long as there is nothing to tell, nobody is asked and nobody is told.
            let mut tried = copy.state.clone();
            let value = change(&mut tried);
            if tried.is_blank() {
                copy.state = tried;
                return Changed::Told(value);
            }
        }
        let is_alone = |copy: &Copy| copy.cut_off_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= HELD_MS);
        if is_alone(&copy)
            && let Some((tried_ms, reason)) = copy.tried.clone()
            && now_ms.saturating_sub(tried_ms) < ALONE_MS
        {
            return Changed::Alone(change(&mut copy.state), reason);
        }
        copy.looked_ms = now_ms;
        let (own, ahead) = (copy.state.clone(), copy.ahead);
        let mut value = None;
        let shared = store.update(&self.name, &mut |state| {
            state.keep_own(&own, process);
            if ahead {
                state.catch_up(&own);
            }
            value = Some(change(state));
            copy.state = state.clone();
        });
        let reason = match (shared, value) {
            (Ok(()), Some(value)) => {
                (copy.cut_off_ms, copy.tried, copy.ahead) = (None, None, false);
                return Changed::Told(value);
            }
            (Err(Unshared::Broken(reason) | Unshared::Held(reason)), Some(value)) => {
                // It failed after the change.
                copy.ahead = true;
                return Changed::Alone(value, reason);
            }
            (Ok(()), None) => return Changed::Alone(change(&mut copy.state), "it was not asked".to_owned()),
            (Err(Unshared::Held(reason)), None) => {
                copy.cut_off_ms.get_or_insert(now_ms);
                reason
            }
            (Err(Unshared::Broken(reason)), None) => {
                // Nobody can share by it, so there is nothing to wait for.
                copy.cut_off_ms = Some(now_ms.saturating_sub(HELD_MS));
                reason
            }
        };
        copy.tried = Some((now_ms, reason.clone()));
        let alone = is_alone(&copy);
        if claim && !alone {
            return Changed::Held;
        }
        copy.ahead = true;
        let value = change(&mut copy.state);
        if alone { Changed::Alone(value, reason) } else { Changed::Later(value) }
    }
}
