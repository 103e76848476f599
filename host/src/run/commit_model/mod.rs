//! A model of commits: the real [`Folder`] and the real plan, on a file system and a state store that can die at any step
//! and forget whatever they have not been asked to keep.
//!
//! A life is one process: it recovers, goes on from the state, and ends or dies. The test lives through every crash point
//! of small histories, and through random ones of long histories, and looks at what a reader would see after each death.
//! `world` is what it lives in, and `store` the state in it.

mod store;
mod world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use self::world::{Machine, Tables, World};
use super::commit::{CommitError, Folder};
use super::plan::{self, Wishes};
use crate::state::{
    BatchMode, BatchStatus, Commit, Part, PartStatus, Read, ReadEnd, ReadProgress, ReadStatus, StateStore,
};

const OUT: &str = "/out";
const STREAM: &str = "s";

const BATCH_ENDS: [BatchStatus; 4] =
    [BatchStatus::Complete, BatchStatus::Lacking, BatchStatus::Broken, BatchStatus::Preview];

/// How one reading of the stream turns out, and how it comes about.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// How it ends.
    end: ReadEnd,
    /// Whether each of its commits has a dead letter.
    letters: bool,
    /// Asked for with `--full`.
    full: bool,
    commits: u64,
    parts: u64,
}

const SOUND: Reading = Reading { end: ReadEnd::Complete, letters: false, full: false, commits: 1, parts: 1 };
const BROKEN: Reading = Reading { end: ReadEnd::Broken, ..SOUND };
const LACKING: Reading = Reading { end: ReadEnd::Lacking, letters: true, ..SOUND };

/// A history of readings, and what is to be seen in the end.
#[derive(Debug, Clone)]
struct History {
    incremental: bool,
    readings: Vec<Reading>,
}

impl History {
    /// A reading that is broken and was not closed by the process that made it is followed by one more.
    fn reading(&self, batch: i64) -> Reading {
        usize::try_from(batch - 1).ok().and_then(|place| self.readings.get(place)).copied().unwrap_or(SOUND)
    }

    /// Lives until the history is over; an error is a death.
    fn live(&self, machine: &Machine, life: usize) -> Result<(), CommitError> {
        let mut state = machine.clone();
        let folder = Folder::on(Arc::new(machine.clone()), Path::new(OUT), STREAM)?;
        let parts = state.parts(STREAM)?;
        folder.recover(&parts, &mut state, false)?;
        let mut written = 0;
        loop {
            let newest = state.newest_batch(STREAM)?;
            let goes_on = newest.as_ref().is_some_and(|batch| batch.status == BatchStatus::Open);
            let closed = newest.map_or(0, |batch| batch.id - i64::from(goes_on));
            if !goes_on && closed >= self.readings.len() as i64 {
                return Ok(());
            }
            let full = self.reading(closed + 1).full && !goes_on;
            let wishes = Wishes { full, preview: false, incremental: self.incremental, same_run: true };
            let plan = plan::plan(&mut state, STREAM, &[None], wishes)
                .map_err(|_| CommitError::Missing { path: PathBuf::new() })?;
            let reading = self.reading(plan.batch.id);
            for read in &plan.reads {
                let from: u64 = read.checkpoint.as_deref().map_or(0, |checkpoint| checkpoint.parse().unwrap());
                for number in from..reading.commits {
                    let mut parts = Vec::new();
                    for part in 0..reading.parts {
                        let name = format!("part-{life:03}-{written:03}");
                        written += 1;
                        let first = u64::try_from(plan.batch.id).unwrap() * 1_000 + (number * reading.parts + part) * 2;
                        machine
                            .write_part(&folder.temporary(&name), &[first, first + 1])
                            .map_err(|source| CommitError::Io { path: PathBuf::new(), source })?;
                        let status = if plan.batch.staged { PartStatus::Staged } else { PartStatus::Visible };
                        parts.push(part_of(&name, plan.batch.id, status));
                    }
                    if reading.letters {
                        let name = format!("_dead-{life:03}-{written:03}");
                        written += 1;
                        let letter = u64::try_from(plan.batch.id).unwrap() * 1_000 + number;
                        machine
                            .write_part(&folder.temporary(&name), &[letter])
                            .map_err(|source| CommitError::Io { path: PathBuf::new(), source })?;
                        parts.push(Part { records: 0, ..part_of(&name, plan.batch.id, PartStatus::Visible) });
                    }
                    let end = reading.end;
                    let watermark = Some(format!("w{}", plan.batch.id)).filter(|_| end == ReadEnd::Complete);
                    let progress = ReadProgress {
                        read: read.id,
                        checkpoint: Some((number + 1).to_string()),
                        end: Some((end, watermark)).filter(|_| number + 1 == reading.commits),
                        ..ReadProgress::default()
                    };
                    folder.commit(&commit_of(parts, vec![progress]), &mut state)?;
                }
            }
            let reads = state.reads(plan.batch.id)?;
            let any = |status: ReadStatus| reads.iter().any(|read| read.status == status);
            let status = match () {
                () if any(ReadStatus::Broken) => BatchStatus::Broken,
                () if any(ReadStatus::Lacking) => BatchStatus::Lacking,
                () => BatchStatus::Complete,
            };
            folder.close(STREAM, &plan.batch, status, &mut state)?;
        }
    }

    /// The records and dead letters that are to be seen in the end: of the last full reading that adds up and of all that do
    /// since, where a lacking one is replaced by the next; what is broken is seen while nothing replaces it and it was
    /// never hidden, and its letters in any case.
    fn wanted(&self, world: &World) -> [Vec<u64>; 2] {
        let Tables { batches, .. } = world.now();
        let mut wanted: Vec<(bool, Vec<u64>, Vec<u64>)> = Vec::new();
        for batch in batches {
            let reading = self.reading(batch.id);
            let first = u64::try_from(batch.id).unwrap() * 1_000;
            let records: Vec<u64> = (0..reading.commits * reading.parts * 2).map(|n| first + n).collect();
            let letters: Vec<u64> = (0..reading.commits).map(|n| first + n).filter(|_| reading.letters).collect();
            let complete = reading.end == ReadEnd::Complete;
            match (reading.end, batch.mode) {
                (ReadEnd::Broken, _) if batch.staged => wanted.push((false, Vec::new(), letters)),
                (ReadEnd::Broken, _) => wanted.push((false, records, letters)),
                (_, BatchMode::Full) => wanted = vec![(complete, records, letters)],
                (_, BatchMode::Delta) => {
                    wanted.retain(|(complete, ..)| *complete);
                    wanted.push((complete, records, letters));
                }
            }
        }
        let mut records: Vec<u64> = wanted.iter().flat_map(|(_, records, _)| records.clone()).collect();
        let mut letters: Vec<u64> = wanted.into_iter().flat_map(|(_, _, letters)| letters).collect();
        records.sort_unstable();
        letters.sort_unstable();
        [records, letters]
    }

    fn ends_well(&self, world: &World) -> Result<(), String> {
        world.check()?;
        let (seen, wanted) = ([world.seen("part-"), world.seen("_dead-")], self.wanted(world));
        if seen != wanted {
            return Err(format!("{seen:?} are to be seen, not {wanted:?}"));
        }
        let staged = world.now().parts.iter().filter(|part| part.status == PartStatus::Staged).count();
        let hidden = world.live.keys().filter(|path| path.to_string_lossy().ends_with(".tmp")).count();
        if hidden != staged {
            return Err(format!("{hidden} temporary files are left, and {staged} are staged"));
        }
        Ok(())
    }
}

fn part_of(name: &str, batch: i64, status: PartStatus) -> Part {
    let (stream, name, run) = (STREAM.to_owned(), name.to_owned(), "r".to_owned());
    Part { stream, name, batch, run, records: 2, bytes: 16, status }
}

fn commit_of(parts: Vec<Part>, reads: Vec<ReadProgress>) -> Commit {
    let (connection, run, stream) = ("c".to_owned(), "r".to_owned(), STREAM.to_owned());
    Commit { connection, run, stream, parts, reads, schema: None }
}

/// Lives on from a world; returns what is left after at most `left` steps, and whether the history came to its end.
fn live(history: &History, from: &World, life: usize, left: usize) -> (World, bool) {
    let machine = Machine(Arc::new(Mutex::new(World { left, steps: 0, ..from.clone() })));
    let ended = match history.live(&machine, life) {
        Ok(()) => true,
        Err(CommitError::Missing { path }) if path.as_os_str().is_empty() => false,
        Err(CommitError::Missing { path }) => panic!("{} is missing", path.display()),
        Err(_) => false,
    };
    (machine.world().clone(), ended)
}

/// Everything that a death can leave: a killed process leaves all, a power failure any of what was not synced.
fn aftermaths(world: &World) -> Vec<World> {
    let mut all = vec![world.clone()];
    for kept in 0..1u32 << world.pending.len().min(6) {
        for transactions in 1..=world.tables.len() {
            let mut after = world.clone();
            after.lose_power(kept, transactions);
            all.push(after);
        }
    }
    all
}

/// Dies at every step of a history, in every way, `deaths` times in a row; returns how many deaths that were.
fn every_death(history: &History, from: &World, deaths: usize, life: usize) -> Result<u64, String> {
    let mut count = 0;
    for left in 0.. {
        let (dead, ended) = live(history, from, life, left);
        if ended {
            history.ends_well(&dead).map_err(|why| format!("{why}, in the life {life}"))?;
            return Ok(count);
        }
        for after in aftermaths(&dead) {
            count += 1;
            after.check().map_err(|why| format!("{why}, after {left} steps of the life {life}"))?;
            if deaths > 1 {
                count += every_death(history, &after, deaths - 1, life + 1)?;
            } else {
                let (end, ended) = live(history, &after, life + 1, usize::MAX);
                assert!(ended);
                history.ends_well(&end).map_err(|why| format!("{why}, after {left} steps of the life {life}"))?;
            }
        }
    }
    Ok(count)
}

fn history(incremental: bool, readings: &[Reading]) -> History {
    History { incremental, readings: readings.to_vec() }
}

#[test]
fn every_death_of_small_histories_loses_and_doubles_nothing() {
    let wide = Reading { commits: 2, parts: 2, ..SOUND };
    let again = Reading { full: true, ..wide };
    let mut deaths = 0;
    for (incremental, readings) in [
        (false, vec![wide]),
        (false, vec![SOUND, wide]),
        (false, vec![BROKEN, SOUND]),
        (false, vec![SOUND, BROKEN, SOUND]),
        (true, vec![SOUND, wide, SOUND]),
        (true, vec![SOUND, BROKEN, wide]),
        (true, vec![SOUND, BROKEN, BROKEN, SOUND]),
        (true, vec![SOUND, SOUND, again]),
        (false, vec![LACKING, LACKING, SOUND]),
        (true, vec![SOUND, LACKING, Reading { commits: 2, ..LACKING }, SOUND]),
        (true, vec![SOUND, Reading { letters: true, ..BROKEN }, LACKING, Reading { full: true, ..LACKING }]),
    ] {
        let history = history(incremental, &readings);
        deaths += every_death(&history, &World::new(), 1, 0).unwrap_or_else(|why| panic!("{why}: {history:?}"));
    }
    assert!(deaths > 1_000, "{deaths} deaths");
}

#[test]
fn every_second_death_while_recovering_from_a_first_loses_and_doubles_nothing() {
    let mut deaths = 0;
    for (incremental, readings) in
        [(false, vec![SOUND, SOUND]), (false, vec![BROKEN, SOUND]), (true, vec![SOUND, BROKEN]), (true, vec![LACKING])]
    {
        let history = history(incremental, &readings);
        deaths += every_death(&history, &World::new(), 2, 0).unwrap_or_else(|why| panic!("{why}: {history:?}"));
    }
    assert!(deaths > 10_000, "{deaths} deaths");
}

#[test]
fn random_deaths_of_long_histories_lose_and_double_nothing() {
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut reading = || Reading {
            end: *random.choice(&[ReadEnd::Complete, ReadEnd::Complete, ReadEnd::Lacking, ReadEnd::Broken]).unwrap(),
            letters: random.bool(),
            full: random.u8(..) < 40,
            commits: random.u64(1..4),
            parts: random.u64(1..3),
        };
        let readings: Vec<Reading> = (0..6).map(|_| reading()).collect();
        let history = history(random.bool(), &readings);
        let mut world = World::new();
        for life in 0.. {
            let left = if life < 12 { random.usize(..60) } else { usize::MAX };
            let (after, ended) = live(&history, &world, life, left);
            if ended {
                history.ends_well(&after).unwrap_or_else(|why| panic!("{why}, seed {seed}"));
                break;
            }
            world = after;
            if random.bool() {
                let transactions = random.usize(1..=world.tables.len());
                world.lose_power(random.u32(..), transactions);
            }
            world.check().unwrap_or_else(|why| panic!("{why}, seed {seed}, life {life}"));
        }
    }
}

#[test]
fn a_protocol_that_forgets_a_sync_is_found_out() {
    let history = history(false, &[SOUND, SOUND]);
    let without_folders = World { ignore_folder_syncs: true, ..World::new() };
    let why = every_death(&history, &without_folders, 1, 0).unwrap_err();
    assert!(why.starts_with("part-000-000 is committed and lost"), "{why}");
    let without_files = World { ignore_file_syncs: true, ..World::new() };
    let why = every_death(&history, &without_files, 1, 0).unwrap_err();
    assert!(why.starts_with("part-000-000 is committed and torn"), "{why}");
}

#[test]
fn the_model_of_the_state_answers_as_the_real_one() {
    for seed in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let mut real = crate::state::Sqlite::open(&folder.path().join("_state.db")).unwrap();
        real.begin_run(&crate::state::tests::run("c"), "digest", &[STREAM.to_owned()]).unwrap();
        let mut model = Machine(Arc::new(Mutex::new(World::new())));
        let mut random = fastrand::Rng::with_seed(seed);
        for number in 0..8 {
            let mode = if random.bool() { BatchMode::Full } else { BatchMode::Delta };
            let staged = random.bool();
            let end = *random.choice([ReadEnd::Complete, ReadEnd::Lacking, ReadEnd::Broken].iter()).unwrap();
            let unread = Read {
                id: 0,
                partition: None,
                since: None,
                checkpoint: None,
                watermark: None,
                status: ReadStatus::Unfinished,
            };
            let status = *random.choice(BATCH_ENDS.iter()).unwrap();
            let stores: [&mut dyn StateStore; 2] = [&mut real, &mut model];
            let mut answers = Vec::new();
            for state in stores {
                let (batch, reads) = state.open_batch(STREAM, mode, staged, std::slice::from_ref(&unread)).unwrap();
                let part_status = if staged { PartStatus::Staged } else { PartStatus::Visible };
                let progress = ReadProgress {
                    read: reads[0].id,
                    checkpoint: Some(number.to_string()),
                    end: Some((end, Some(format!("w{number}")))),
                    ..ReadProgress::default()
                };
                let part = part_of(&format!("part-{number}"), batch.id, part_status);
                state.commit(&commit_of(vec![part], vec![progress])).unwrap();
                state.close_batch(STREAM, &batch, status).unwrap();
                if number % 3 == 2 {
                    for part in state.parts(STREAM).unwrap() {
                        state.forget_part(STREAM, &part.name).unwrap();
                    }
                }
                answers.push((
                    state.newest_batch(STREAM).unwrap(),
                    state.reads(batch.id).unwrap(),
                    state.parts(STREAM).unwrap(),
                    state.watermarks(STREAM).unwrap(),
                ));
            }
            assert_eq!(answers[0], answers[1], "seed {seed}");
        }
    }
}
