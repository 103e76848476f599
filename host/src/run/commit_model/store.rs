//! The state store of the model.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::world::{Machine, Tables};
use crate::state::{
    Batch, BatchMode, BatchStatus, Commit, PageEntry, Part, PartStatus, Read, ReadEnd, ReadStatus, Run, SchemaVersion,
    StateError, StateStore,
};

/// The same answers as `Sqlite` gives, as far as plans and commits ask; a test compares the two.
impl StateStore for Machine {
    fn newest_batch(&mut self, _: &str) -> Result<Option<Batch>, StateError> {
        Ok(self.world().now().batches.last().cloned())
    }

    fn open_batch(
        &mut self,
        _: &str,
        mode: BatchMode,
        staged: bool,
        reads: &[Read],
    ) -> Result<(Batch, Vec<Read>), StateError> {
        let mut world = self.step()?;
        let id = world.now().batches.len() as i64 + 1;
        let first = world.now().reads.len() as i64 + 1;
        let batch = Batch { id, mode, status: BatchStatus::Open, staged };
        let reads: Vec<Read> = (first..).zip(reads).map(|(id, read)| Read { id, ..read.clone() }).collect();
        world.transact(false, |tables| {
            tables.batches.push(batch.clone());
            tables.reads.extend(reads.iter().map(|read| (id, read.clone())));
        });
        Ok((batch, reads))
    }

    fn watermarks(&mut self, _: &str) -> Result<HashMap<Option<String>, String>, StateError> {
        let world = self.world();
        let Tables { batches, reads, .. } = world.now();
        let complete = |id: i64| batches.iter().any(|batch| batch.id == id && batch.status == BatchStatus::Complete);
        let reads = reads.iter().filter(|(batch, read)| complete(*batch) && read.status == ReadStatus::Complete);
        Ok(reads
            .filter_map(|(_, read)| Some((read.partition.clone().map(|(id, _)| id), read.watermark.clone()?)))
            .collect())
    }

    fn reads(&mut self, batch: i64) -> Result<Vec<Read>, StateError> {
        Ok(self.world().now().reads.iter().filter(|(of, _)| *of == batch).map(|(_, read)| read.clone()).collect())
    }

    fn close_batch(&mut self, _: &str, batch: &Batch, status: BatchStatus) -> Result<(), StateError> {
        self.step()?.transact(true, |tables| {
            let shows = matches!(status, BatchStatus::Complete | BatchStatus::Lacking);
            let mut replaced = BTreeSet::new();
            for other in &mut tables.batches {
                if other.id == batch.id {
                    other.status = status;
                    continue;
                }
                let goes = match batch.mode {
                    BatchMode::Full => other.status != BatchStatus::Replaced,
                    BatchMode::Delta => {
                        matches!(other.status, BatchStatus::Lacking | BatchStatus::Broken | BatchStatus::Preview)
                    }
                };
                if shows && goes {
                    other.status = BatchStatus::Replaced;
                    replaced.insert(other.id);
                }
            }
            for part in &mut tables.parts {
                if replaced.contains(&part.batch) {
                    part.status = PartStatus::Obsolete;
                } else if shows && part.batch == batch.id && part.status == PartStatus::Staged {
                    part.status = PartStatus::Visible;
                }
            }
        });
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        self.step()?.transact(true, |tables| {
            tables.parts.extend(commit.parts.iter().cloned());
            tables.parts.sort_by(|a, b| a.name.cmp(&b.name));
            for progress in &commit.reads {
                let Some((_, read)) = tables.reads.iter_mut().find(|(_, read)| read.id == progress.read) else {
                    continue;
                };
                read.checkpoint = progress.checkpoint.clone().or(read.checkpoint.take());
                if let Some((end, watermark)) = &progress.end {
                    read.status = match end {
                        ReadEnd::Complete => ReadStatus::Complete,
                        ReadEnd::Lacking => ReadStatus::Lacking,
                        ReadEnd::Broken => ReadStatus::Broken,
                    };
                    read.watermark = watermark.clone().or(read.watermark.take());
                }
            }
        });
        Ok(())
    }

    fn parts(&mut self, _: &str) -> Result<Vec<Part>, StateError> {
        Ok(self.world().now().parts.clone())
    }

    fn forget_part(&mut self, _: &str, name: &str) -> Result<(), StateError> {
        self.step()?.transact(false, |tables| {
            tables.parts.retain(|part| part.name != name || part.status != PartStatus::Obsolete);
        });
        Ok(())
    }

    // None of these is asked for by what is modelled.
    fn config_digest(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn begin_run(&mut self, _: &Run, _: &str, _: &[String]) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn put_run(&mut self, _: &Run) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn runs(&mut self) -> Result<Vec<Run>, StateError> {
        panic!("not modelled")
    }
    fn owner(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn streams(&mut self, _: &str) -> Result<Vec<String>, StateError> {
        panic!("not modelled")
    }
    fn schema(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn known_schema(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn put_known_schema(&mut self, _: &str, _: &str, _: &SchemaVersion) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn schema_versions(&mut self, _: &str) -> Result<Vec<SchemaVersion>, StateError> {
        panic!("not modelled")
    }
    fn put_read(&mut self, _: i64, _: &Read) -> Result<Read, StateError> {
        panic!("not modelled")
    }
    fn drop_read(&mut self, _: i64) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn pages(&mut self, _: i64) -> Result<Vec<PageEntry>, StateError> {
        panic!("not modelled")
    }
    fn page_count(&mut self, _: i64) -> Result<u64, StateError> {
        panic!("not modelled")
    }
    fn record_counts(&mut self, _: i64) -> Result<(u64, u64), StateError> {
        panic!("not modelled")
    }
    fn storage(&mut self, _: &str) -> Result<BTreeMap<String, Vec<u8>>, StateError> {
        panic!("not modelled")
    }
}
