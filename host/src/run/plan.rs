//! What a run has to read of one stream: go on with an open batch, bring what is new, or read all of it.

use std::collections::HashMap;

use crate::state::{Batch, BatchMode, BatchStatus, Read, ReadStatus, StateError, StateStore};

/// What the plan depends on besides the state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// Read all of it, whatever is there.
    pub(crate) full: bool,
    /// Stop after some records: nothing of it may be taken for the whole.
    pub(crate) preview: bool,
    /// Whether the stream can be read incrementally.
    pub(crate) incremental: bool,
    /// Whether this run goes on under the id of one that was stopped in the middle.
    pub(crate) same_run: bool,
}

/// The batch that a run works on, and the reads that it has to make.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) batch: Batch,
    /// Reads to make, in order.
    pub(crate) reads: Vec<Read>,
    /// Partitions of an open batch that are not listed any more.
    pub(crate) gone: Vec<String>,
}

/// A stream that cannot be planned as wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// A preview over real data would leave it doubled.
    #[error("the output folder holds data of this stream already")]
    PreviewOverData,
    /// The state store failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Plans one stream. `partitions` is what the connector lists now: one entry of `None` for a stream without partitions.
pub(crate) fn plan(
    state: &mut dyn StateStore,
    stream: &str,
    partitions: &[Option<(String, String)>],
    wishes: Wishes,
) -> Result<Plan, PlanError> {
    let newest = state.newest_batch(stream)?;
    let has_parts = !state.parts(stream)?.is_empty();
    if wishes.preview {
        if has_parts && newest.as_ref().is_none_or(|batch| batch.status != BatchStatus::Preview) {
            return Err(PlanError::PreviewOverData);
        }
        return open(state, stream, BatchMode::Full, has_parts, fresh(partitions, &HashMap::new()));
    }
    let Some(newest) = newest else {
        return open(state, stream, BatchMode::Full, false, fresh(partitions, &HashMap::new()));
    };
    if wishes.full {
        if newest.status == BatchStatus::Open {
            state.close_batch(stream, &newest, BatchStatus::Broken)?;
        }
        return open(state, stream, BatchMode::Full, has_parts, fresh(partitions, &HashMap::new()));
    }
    let since = if wishes.incremental { state.watermarks(stream)? } else { HashMap::new() };
    let mut newest = newest;
    if newest.status == BatchStatus::Open {
        let reads = state.reads(newest.id)?;
        if reads.iter().all(|read| read.status != ReadStatus::Broken) {
            return resume(state, newest, reads, partitions, wishes);
        }
        // Its parts hold records that are not to be believed among others: what is read again must not stand beside them.
        state.close_batch(stream, &newest, BatchStatus::Broken)?;
        newest.status = BatchStatus::Broken;
    }
    match newest.status {
        BatchStatus::Complete if !since.is_empty() => {
            open(state, stream, BatchMode::Delta, false, fresh(partitions, &since))
        }
        // Its reads start again where they started; its parts stay until they are replaced.
        BatchStatus::Lacking | BatchStatus::Broken if newest.mode == BatchMode::Delta && !since.is_empty() => {
            open(state, stream, BatchMode::Delta, true, fresh(partitions, &since))
        }
        _ => open(state, stream, BatchMode::Full, has_parts, fresh(partitions, &HashMap::new())),
    }
}

fn open(
    state: &mut dyn StateStore,
    stream: &str,
    mode: BatchMode,
    staged: bool,
    reads: Vec<Read>,
) -> Result<Plan, PlanError> {
    let (batch, reads) = state.open_batch(stream, mode, staged, &reads)?;
    Ok(Plan { batch, reads, gone: Vec::new() })
}

fn resume(
    state: &mut dyn StateStore,
    batch: Batch,
    known: Vec<Read>,
    partitions: &[Option<(String, String)>],
    wishes: Wishes,
) -> Result<Plan, PlanError> {
    let mut known: HashMap<Option<String>, Read> = known.into_iter().map(|read| (partition_id(&read), read)).collect();
    let mut reads = Vec::new();
    for partition in partitions {
        let id = partition.as_ref().map(|(id, _)| id.clone());
        match known.remove(&id) {
            Some(read) if read.status == ReadStatus::Unfinished => reads.push(read),
            Some(read) if read.status == ReadStatus::Complete => {
                // Others of the batch are missing, but what this one has is complete: it may go ahead.
                if !wishes.same_run && wishes.incremental && read.watermark.is_some() {
                    let next = Read {
                        since: read.watermark.clone(),
                        checkpoint: None,
                        status: ReadStatus::Unfinished,
                        partition: partition.clone(),
                        ..read
                    };
                    reads.push(state.put_read(batch.id, &next)?);
                }
            }
            // What it has is visible beside what is to come; read again now, it would be there twice. The run after this one
            // reads all of the batch again.
            Some(read) if read.status == ReadStatus::Lacking => {}
            _ => reads.push(state.put_read(batch.id, &unread(partition.clone(), None))?),
        }
    }
    let mut gone = Vec::new();
    for (id, read) in known {
        if read.status == ReadStatus::Unfinished {
            state.drop_read(read.id)?;
            gone.extend(id);
        }
    }
    gone.sort();
    Ok(Plan { batch, reads, gone })
}

fn partition_id(read: &Read) -> Option<String> {
    read.partition.as_ref().map(|(id, _)| id.clone())
}

fn fresh(partitions: &[Option<(String, String)>], since: &HashMap<Option<String>, String>) -> Vec<Read> {
    partitions
        .iter()
        .map(|partition| {
            let id = partition.as_ref().map(|(id, _)| id.clone());
            unread(partition.clone(), since.get(&id).cloned())
        })
        .collect()
}

fn unread(partition: Option<(String, String)>, since: Option<String>) -> Read {
    // The watermark that it starts from stays the stream's own until the read brings another.
    Read { id: 0, partition, watermark: since.clone(), since, checkpoint: None, status: ReadStatus::Unfinished }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Commit, Part, PartStatus, ReadEnd, ReadProgress, Sqlite};

    const WISHES: Wishes = Wishes { full: false, preview: false, incremental: true, same_run: false };

    fn store(folder: &tempfile::TempDir) -> Sqlite {
        let mut state = Sqlite::open(&folder.path().join("_state.db")).unwrap();
        state.begin_run(&crate::state::tests::run("c"), "digest", &["s".to_owned()]).unwrap();
        state
    }

    fn partitions(ids: &[&str]) -> Vec<Option<(String, String)>> {
        ids.iter().map(|id| Some(((*id).to_owned(), String::new()))).collect()
    }

    fn commit(state: &mut Sqlite, plan: &Plan, ends: &[(usize, ReadEnd, &str)]) {
        let reads = ends
            .iter()
            .map(|(at, end, watermark)| ReadProgress {
                read: plan.reads[*at].id,
                end: Some((*end, Some((*watermark).to_owned()).filter(|_| *end == ReadEnd::Complete))),
                ..ReadProgress::default()
            })
            .collect();
        let part = Part {
            stream: "s".to_owned(),
            name: format!("part-{}", plan.batch.id),
            batch: plan.batch.id,
            run: "r".to_owned(),
            records: 1,
            bytes: 1,
            status: if plan.batch.staged { PartStatus::Staged } else { PartStatus::Visible },
        };
        let run = "r".to_owned();
        let stream = "s".to_owned();
        state
            .commit(&Commit { connection: "c".to_owned(), run, stream, parts: vec![part], reads, schema: None })
            .unwrap();
    }

    #[test]
    fn the_second_run_reads_from_the_watermarks() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &partitions(&["a", "b"]), WISHES).unwrap();
        assert_eq!((first.batch.mode, first.batch.staged, first.reads.len()), (BatchMode::Full, false, 2));
        commit(&mut state, &first, &[(0, ReadEnd::Complete, "5"), (1, ReadEnd::Complete, "7")]);
        state.close_batch("s", &first.batch, BatchStatus::Complete).unwrap();

        let second = plan(&mut state, "s", &partitions(&["b", "c"]), WISHES).unwrap();
        assert_eq!((second.batch.mode, second.batch.staged), (BatchMode::Delta, false));
        let since: Vec<Option<&str>> = second.reads.iter().map(|read| read.since.as_deref()).collect();
        assert_eq!(since, [Some("7"), None]);
        commit(&mut state, &second, &[(0, ReadEnd::Complete, "8"), (1, ReadEnd::Complete, "1")]);
        state.close_batch("s", &second.batch, BatchStatus::Complete).unwrap();

        // A partition that was not listed for a while goes on where it stopped.
        let third = plan(&mut state, "s", &partitions(&["a", "b"]), WISHES).unwrap();
        let since: Vec<Option<&str>> = third.reads.iter().map(|read| read.since.as_deref()).collect();
        assert_eq!(since, [Some("5"), Some("8")]);
    }

    #[test]
    fn a_stream_without_watermarks_is_read_again_behind_the_scenes() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &[None], WISHES).unwrap();
        commit(&mut state, &first, &[]);
        state.close_batch("s", &first.batch, BatchStatus::Complete).unwrap();
        let second = plan(&mut state, "s", &[None], WISHES).unwrap();
        assert_eq!((second.batch.mode, second.batch.staged), (BatchMode::Full, true));
    }

    #[test]
    fn an_open_batch_goes_on_with_what_is_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &partitions(&["a", "b", "x"]), WISHES).unwrap();
        commit(&mut state, &first, &[(0, ReadEnd::Complete, "5")]);

        let same = plan(&mut state, "s", &partitions(&["a", "b", "x"]), Wishes { same_run: true, ..WISHES }).unwrap();
        assert_eq!(same.batch, first.batch);
        assert_eq!(same.reads.iter().map(|read| read.id).collect::<Vec<_>>(), [first.reads[1].id, first.reads[2].id]);

        let next = plan(&mut state, "s", &partitions(&["a", "b", "n"]), WISHES).unwrap();
        let brief: Vec<_> =
            next.reads.iter().map(|read| (read.partition.clone().unwrap().0, read.since.clone())).collect();
        assert_eq!(brief, [("a".to_owned(), Some("5".to_owned())), ("b".to_owned(), None), ("n".to_owned(), None)]);
        assert_eq!(next.gone, ["x"]);
    }

    #[test]
    fn a_broken_delta_starts_again_where_it_started_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &[None], WISHES).unwrap();
        commit(&mut state, &first, &[(0, ReadEnd::Complete, "5")]);
        state.close_batch("s", &first.batch, BatchStatus::Complete).unwrap();
        let broken = plan(&mut state, "s", &[None], WISHES).unwrap();
        commit(&mut state, &broken, &[(0, ReadEnd::Broken, "")]);
        state.close_batch("s", &broken.batch, BatchStatus::Broken).unwrap();

        let again = plan(&mut state, "s", &[None], WISHES).unwrap();
        assert_eq!((again.batch.mode, again.batch.staged), (BatchMode::Delta, true));
        assert_eq!(again.reads[0].since.as_deref(), Some("5"));
        commit(&mut state, &again, &[(0, ReadEnd::Complete, "9")]);
        state.close_batch("s", &again.batch, BatchStatus::Complete).unwrap();
        let parts = state.parts("s").unwrap();
        let status = |batch: i64| parts.iter().find(|part| part.batch == batch).unwrap().status;
        assert_eq!(status(first.batch.id), PartStatus::Visible);
        assert_eq!(status(broken.batch.id), PartStatus::Obsolete);
        assert_eq!(status(again.batch.id), PartStatus::Visible);
    }

    #[test]
    fn a_batch_that_lacks_records_is_shown_and_then_replaced_by_the_next_reading() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &[None], WISHES).unwrap();
        commit(&mut state, &first, &[(0, ReadEnd::Complete, "5")]);
        state.close_batch("s", &first.batch, BatchStatus::Complete).unwrap();
        let mut before = first.batch.id;
        for end in [ReadEnd::Lacking, ReadEnd::Lacking, ReadEnd::Complete] {
            let delta = plan(&mut state, "s", &[None], WISHES).unwrap();
            assert_eq!(delta.batch.mode, BatchMode::Delta);
            assert_eq!(delta.reads[0].since.as_deref(), Some("5"));
            commit(&mut state, &delta, &[(0, end, "9")]);
            let status = if end == ReadEnd::Complete { BatchStatus::Complete } else { BatchStatus::Lacking };
            state.close_batch("s", &delta.batch, status).unwrap();
            let parts = state.parts("s").unwrap();
            let visible = parts.iter().filter(|part| part.status == PartStatus::Visible);
            assert_eq!(visible.map(|part| part.batch).collect::<Vec<_>>(), [first.batch.id, delta.batch.id]);
            assert!(
                before == first.batch.id
                    || parts.iter().all(|part| part.batch != before || part.status == PartStatus::Obsolete)
            );
            before = delta.batch.id;
        }
        let next = plan(&mut state, "s", &[None], WISHES).unwrap();
        assert_eq!((next.batch.staged, next.reads[0].since.as_deref()), (false, Some("9")));
    }

    #[test]
    fn a_full_reading_that_lacks_records_is_made_again_from_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &[None], WISHES).unwrap();
        commit(&mut state, &first, &[(0, ReadEnd::Complete, "5")]);
        state.close_batch("s", &first.batch, BatchStatus::Complete).unwrap();
        let full = plan(&mut state, "s", &[None], Wishes { full: true, ..WISHES }).unwrap();
        commit(&mut state, &full, &[(0, ReadEnd::Lacking, "")]);
        state.close_batch("s", &full.batch, BatchStatus::Lacking).unwrap();
        let again = plan(&mut state, "s", &[None], WISHES).unwrap();
        assert_eq!((again.batch.mode, again.batch.staged), (BatchMode::Full, true));
        assert_eq!(again.reads[0].since, None);
    }

    #[test]
    fn a_lacking_read_of_an_open_batch_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &partitions(&["a", "b"]), WISHES).unwrap();
        commit(&mut state, &first, &[(0, ReadEnd::Lacking, "")]);
        let next = plan(&mut state, "s", &partitions(&["a", "b"]), WISHES).unwrap();
        assert_eq!((next.batch.id, next.reads.len()), (first.batch.id, 1));
        assert_eq!(next.reads[0].id, first.reads[1].id);
    }

    #[test]
    fn an_open_batch_with_a_broken_read_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let first = plan(&mut state, "s", &partitions(&["a", "b"]), WISHES).unwrap();
        commit(&mut state, &first, &[(0, ReadEnd::Broken, "")]);

        let again = plan(&mut state, "s", &partitions(&["a", "b"]), Wishes { same_run: true, ..WISHES }).unwrap();
        assert_eq!((again.batch.mode, again.batch.staged, again.reads.len()), (BatchMode::Full, true, 2));
        commit(&mut state, &again, &[(0, ReadEnd::Complete, "1"), (1, ReadEnd::Complete, "2")]);
        state.close_batch("s", &again.batch, BatchStatus::Complete).unwrap();
        let visible = state.parts("s").unwrap().into_iter().filter(|part| part.status == PartStatus::Visible);
        assert_eq!(visible.map(|part| part.batch).collect::<Vec<_>>(), [again.batch.id]);
    }

    #[test]
    fn a_preview_never_mixes_with_data() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = store(&folder);
        let preview = Wishes { preview: true, ..WISHES };
        let first = plan(&mut state, "s", &[None], preview).unwrap();
        commit(&mut state, &first, &[]);
        state.close_batch("s", &first.batch, BatchStatus::Preview).unwrap();
        let real = plan(&mut state, "s", &[None], WISHES).unwrap();
        assert_eq!((real.batch.mode, real.batch.staged), (BatchMode::Full, true));
        state.close_batch("s", &real.batch, BatchStatus::Complete).unwrap();
        assert!(matches!(plan(&mut state, "s", &[None], preview), Err(PlanError::PreviewOverData)));
    }
}
