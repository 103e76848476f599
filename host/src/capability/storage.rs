//! `storage`: a small key-value store of one connection. A write becomes durable together with the next committed page
//! of the read that wrote it, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{HasData, Linker};

use super::heard;
use crate::engine::bindings::ingest::connector::storage::{self, Error};
use crate::engine::guest::Guest;

/// What a connection has stored and committed; shared by its reads.
#[derive(Debug, Clone, Default)]
pub struct Committed(Arc<Mutex<Arc<Entries>>>);

/// Keys and values.
type Entries = BTreeMap<String, Vec<u8>>;

/// One write: the key, and the value or its removal.
pub type Write = (String, Option<Vec<u8>>);

impl Committed {
    /// Starts from what the state store holds.
    pub fn new(entries: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(entries))))
    }

    /// Takes over writes that have just become durable.
    pub fn apply(&self, writes: &[Write]) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = Arc::make_mut(&mut guard);
        for (key, value) in writes {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
    }

    /// The entries as they are now.
    fn entries(&self) -> Arc<Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// State of the `storage` interface: the entries that were committed when the read began, under the read's own writes. So
/// what a read sees does not hang on how far others have come, and a replay sees the same.
#[derive(Debug)]
pub struct StorageCtx {
    committed: Committed,
    /// As it was when the read began.
    before: Arc<Entries>,
    /// Keys of `before` that were read, and those of them that no page has taken yet.
    read: BTreeSet<String>,
    heard: Vec<(String, String)>,
    own: BTreeMap<String, Option<Vec<u8>>>,
    pending: Vec<Write>,
    quota_bytes: u64,
}

impl StorageCtx {
    /// Makes a view of `committed` that may grow to `quota_bytes` of keys and values.
    pub fn new(committed: Committed, quota_bytes: u64) -> Self {
        let before = committed.entries();
        Self {
            committed,
            before,
            read: BTreeSet::new(),
            heard: Vec::new(),
            own: BTreeMap::new(),
            pending: Vec::new(),
            quota_bytes,
        }
    }

    /// Takes the writes that no page has taken yet, oldest first.
    pub fn take_pending(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.pending)
    }

    /// Takes the values that were read since the last call and that the read had not written itself, each once.
    pub(crate) fn take_heard(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.heard)
    }

    /// Returns a value as this read sees it.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        if let Some(own) = self.own.get(key) {
            return own.clone();
        }
        let value = self.before.get(key)?;
        if self.read.insert(key.to_owned()) {
            self.heard.push(heard::stored(key, value));
        }
        Some(value.clone())
    }

    /// Writes or removes a value.
    ///
    /// # Errors
    ///
    /// When the store would pass its quota.
    pub fn put(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), Error> {
        if let Some(value) = &value
            && self.bytes_without(&key).saturating_add((key.len() + value.len()) as u64) > self.quota_bytes
        {
            return Err(Error::Quota(self.quota_bytes));
        }
        // Nothing to remove, nothing to remember: a loop over ever new keys must not grow the list.
        if value.is_none() && self.get(&key).is_none() {
            return Ok(());
        }
        // Only the last write of a key counts: a loop over one key must not grow the list.
        self.pending.retain(|(pending, _)| *pending != key);
        self.own.insert(key.clone(), value.clone());
        self.pending.push((key, value));
        Ok(())
    }

    fn bytes_without(&self, key: &str) -> u64 {
        let entries = self.committed.entries();
        let committed = entries.iter().filter(|(name, _)| *name != key && !self.own.contains_key(*name));
        let own = self.own.iter().filter(|(name, _)| *name != key);
        committed.map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>()
            + own.map(|(name, value)| (name.len() + value.as_ref().map_or(0, Vec::len)) as u64).sum::<u64>()
    }
}

/// A borrowed view of [`StorageCtx`].
pub struct StorageView<'a>(pub(crate) &'a mut StorageCtx);

impl storage::Host for StorageView<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        Ok(Ok(self.0.get(&key)))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.0.put(key, Some(value)))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.0.put(key, None))
    }
}

struct Storage;

impl HasData for Storage {
    type Data<'a> = StorageView<'a>;
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    storage::add_to_linker::<_, Storage>(linker, |guest| StorageView(&mut guest.called().storage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_sees_its_own_writes_and_what_was_committed_when_it_began() {
        let committed = Committed::default();
        let mut one = StorageCtx::new(committed.clone(), 100);
        let mut two = StorageCtx::new(committed.clone(), 100);
        one.put("a".into(), Some(b"1".to_vec())).unwrap();
        assert_eq!(one.get("a"), Some(b"1".to_vec()));
        assert_eq!(two.get("a"), None);
        committed.apply(&one.take_pending());
        assert_eq!(two.get("a"), None);
        let mut three = StorageCtx::new(committed, 100);
        assert_eq!((three.get("a"), three.get("a")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
        assert_eq!(three.take_heard(), [("a".to_owned(), "MQ==".to_owned())]);
        assert!(three.take_heard().is_empty() && one.take_pending().is_empty());
    }

    #[test]
    fn a_removed_key_is_gone_and_gives_its_room_back() {
        let mut ctx = StorageCtx::new(Committed::new([("a".into(), vec![0; 90])].into()), 100);
        assert!(matches!(ctx.put("b".into(), Some(vec![0; 20])), Err(Error::Quota(100))));
        ctx.put("a".into(), None).unwrap();
        assert_eq!(ctx.get("a"), None);
        ctx.put("b".into(), Some(vec![0; 20])).unwrap();
        assert_eq!(ctx.take_pending().len(), 2);
    }

    #[test]
    fn removing_what_is_not_there_leaves_no_trace() {
        let mut ctx = StorageCtx::new(Committed::default(), 100);
        ctx.put("a".into(), None).unwrap();
        assert!(ctx.take_pending().is_empty() && ctx.own.is_empty());
    }

    #[test]
    fn writing_one_key_again_keeps_only_the_last_write() {
        let mut ctx = StorageCtx::new(Committed::default(), 100);
        for value in 0..50u8 {
            ctx.put("k".into(), Some(vec![value])).unwrap();
        }
        assert_eq!(ctx.take_pending(), [("k".to_owned(), Some(vec![49]))]);
    }
}
