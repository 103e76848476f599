//! Who knows of a budget: all clients of a process, by a [`Pool`], and other processes, by a [`Store`] behind it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::state::State;

/// Where nothing is known of a budget, other processes are asked about it no more often than this.
const LOOK_MS: u64 = 100;

/// Keeps states of budgets where other processes find them.
pub trait Store: Send + Sync {
    /// Reads a state, lets it be changed, and writes it back, with nobody else in between. The state is blank where there is
    /// none yet.
    ///
    /// # Errors
    /// Why it cannot be, in words. Whether the change was made is not known then.
    fn update(&self, name: &str, change: &mut dyn FnMut(&mut State)) -> Result<(), String>;
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

    /// Changes what is known. What comes second says why others could not be told; the change was made here even so.
    pub(super) fn update<T>(
        &self,
        process: &str,
        now_ms: u64,
        mut change: impl FnMut(&mut State) -> T,
    ) -> (T, Result<(), String>) {
        let mut copy = self.copy();
        let Some(store) = &self.store else { return (change(&mut copy.state), Ok(())) };
        if now_ms.saturating_sub(copy.looked_ms) < LOOK_MS && copy.state.is_blank() {
            // As long as there is nothing to tell, nobody is asked and nobody is told.
            let mut tried = copy.state.clone();
            let value = change(&mut tried);
            if tried.is_blank() {
                copy.state = tried;
                return (value, Ok(()));
            }
        }
        copy.looked_ms = now_ms;
        let own = copy.state.clone();
        let mut value = None;
        let shared = store.update(&self.name, &mut |state| {
            state.keep_own(&own, process);
            value = Some(change(state));
            copy.state = state.clone();
        });
        match value {
            Some(value) => (value, shared),
            None => (change(&mut copy.state), shared),
        }
    }
}
