//! `storage`: a small key-value store of one connection. A write becomes durable together with the next committed page
//! of the read that wrote it, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{HasData, Linker};

use crate::engine::bindings::ingest::connector::storage::{self, Error};
use crate::engine::guest::Guest;

/// What a connection has stored and committed; shared by its reads.
#[derive(Debug, Clone, Default)]
pub struct Committed(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

/// One write: the key, and the value or its removal.
pub type Write = (String, Option<Vec<u8>>);

impl Committed {
    /// Starts from what the state store holds.
    pub fn new(entries: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(entries)))
    }

    /// Takes over writes that have just become durable.
    pub fn apply(&self, writes: &[Write]) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

/// State of the `storage` interface: the committed entries, under this read's own writes.
#[derive(Debug)]
pub struct StorageCtx {
    committed: Committed,
    own: BTreeMap<String, Option<Vec<u8>>>,
    pending: Vec<Write>,
    quota_bytes: u64,
}

impl StorageCtx {
    /// Makes a view of `committed` that may grow to `quota_bytes` of keys and values.
    pub fn new(committed: Committed, quota_bytes: u64) -> Self {
        Self { committed, own: BTreeMap::new(), pending: Vec::new(), quota_bytes }
    }

    /// Takes the writes that no page has taken yet, oldest first.
    pub fn take_pending(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.pending)
    }

    /// Returns a value as this read sees it.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.own.get(key).map_or_else(|| self.committed.get(key), Clone::clone)
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
        let entries = self.committed.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn a_read_sees_its_own_writes_and_others_only_committed_ones() {
        let committed = Committed::default();
        let mut one = StorageCtx::new(committed.clone(), 100);
        let two = StorageCtx::new(committed.clone(), 100);
        one.put("a".into(), Some(b"1".to_vec())).unwrap();
        assert_eq!(one.get("a"), Some(b"1".to_vec()));
        assert_eq!(two.get("a"), None);
        committed.apply(&one.take_pending());
        assert_eq!(two.get("a"), Some(b"1".to_vec()));
        assert!(one.take_pending().is_empty());
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
