//! The same again: every committed page of a run, in the order and into the parts in which it was written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::player::{PlayEnd, Player, Playing};
use super::script::{Call, Session, StreamScript};
use super::{Recorded, ReplayError, ReplayReport, Script, StreamReplay};
use crate::auth::Secrets;
use crate::engine::Engine;
use crate::run::deadletter::{self, DeadLetters};
use crate::run::preview::Countdown;
use crate::run::recording::{CommitNote, StreamNote};
use crate::run::verdict::plural;
use crate::run::{CommitError, Format, sinks};
use crate::sink::Sink;
use crate::state::{StateError, StateStore};

/// Pages that the state holds of each read of a run: what the archive has beyond them was not committed.
fn committed_pages(script: &Script, state: &mut dyn StateStore) -> Result<HashMap<i64, u64>, StateError> {
    let calls = script.sessions.iter().flat_map(|session| &session.calls);
    let ids = calls.filter_map(|call| call.note.read.as_ref()).map(|read| read.id);
    ids.map(|id| Ok((id, state.page_count(id)?))).collect()
}

impl Recorded {
    /// Plays the run as it was, into a folder: its parts get the names that they had. `state` is the output folder's.
    ///
    /// # Errors
    ///
    /// When the connector asks for something else, or fails where it did not; the first difference ends the replay.
    pub async fn replay(&self, folder: &Path, state: &mut dyn StateStore) -> Result<ReplayReport, ReplayError> {
        let committed = committed_pages(&self.script, state)?;
        let mut streams: Vec<StreamReplay> = Vec::new();
        for (at, session) in self.script.sessions.iter().enumerate() {
            let described = self.describe(&self.connector(&session.note)?).await?;
            let player = Arc::new(Player::open(&described, &session.note, self.observer.clone(), &self.keys)?);
            if let Some(call) = session.call("streams", "streams") {
                player.streams(&self.script, call).await.map_err(|end| failure("streams", end))?;
            }
            for (place, stream) in session.streams.iter().enumerate() {
                if let Some(call) = session.call("partitions", &stream.name) {
                    player.partitions(&self.script, call).await.map_err(|end| failure(&stream.name, end))?;
                }
                let replayed = match streams.iter_mut().find(|known| known.name == stream.name) {
                    Some(known) => known,
                    None => {
                        streams.push(StreamReplay { name: stream.name.clone(), ..StreamReplay::default() });
                        streams.last_mut().ok_or_else(|| ReplayError::NoStream(stream.name.clone()))?
                    }
                };
                let sink = Parts::open(player.engine(), folder, &self.run, stream, session.note.format)?;
                let script = &self.script;
                let (playing, numbers) = (HashMap::new(), HashMap::new());
                Stage { script, at, place, session, player: &player, committed: &committed, sink, playing, numbers }
                    .play(stream, replayed)
                    .await?;
            }
        }
        let same = streams.iter().all(|stream| stream.different == 0);
        Ok(ReplayReport { run: self.run.clone(), same, streams })
    }
}

pub(super) fn failure(read: &str, end: PlayEnd) -> ReplayError {
    match end {
        PlayEnd::NotRecorded(difference) => ReplayError::NotRecorded(difference),
        PlayEnd::Failed(reason) => ReplayError::Failed { read: read.to_owned(), reason },
    }
}

/// One stream of one session being played.
struct Stage<'a> {
    script: &'a Arc<Script>,
    at: usize,
    /// Which of the session's readings it is.
    place: usize,
    session: &'a Session,
    player: &'a Arc<Player>,
    committed: &'a HashMap<i64, u64>,
    sink: Parts,
    playing: HashMap<&'a str, Playing>,
    /// The number of the next page of each read.
    numbers: HashMap<String, u64>,
}

impl<'a> Stage<'a> {
    async fn play(mut self, stream: &'a StreamScript, replayed: &mut StreamReplay) -> Result<(), ReplayError> {
        let calls: HashMap<&str, (&Call, u64)> = self
            .session
            .calls
            .iter()
            .filter(|call| call.stream == Some(self.place) && call.note.read.is_some())
            .map(|call| {
                let committed = call.note.read.as_ref().and_then(|read| self.committed.get(&read.id)).copied();
                (call.label.as_str(), (call, self.script.accepted(self.at, call, committed)))
            })
            .collect();
        // Pages that are still to come of each read, over all commits.
        let mut left: HashMap<&str, u64> = HashMap::new();
        for (label, _, _) in stream.commits.iter().flat_map(|commit| &commit.pages) {
            *left.entry(label).or_default() += 1;
        }
        let mut ended: HashMap<&str, &Option<String>> = stream
            .commits
            .iter()
            .flat_map(|commit| &commit.ended)
            .map(|(label, mark)| (label.as_str(), mark))
            .collect();
        for (label, count) in &mut left {
            let accepted = calls.get(label).map_or(0, |(_, accepted)| *accepted);
            // The process died between writing its last commit down and making it, so the read did not end there.
            if accepted < *count {
                ended.remove(label);
            }
            *count = (*count).min(accepted);
        }
        for commit in &stream.commits {
            for (place, page) in commit.pages.iter().enumerate() {
                let label = page.0.as_str();
                let left_out = commit.left_out.iter().find(|(other, _)| *other == place);
                let left_out = left_out.map_or(&[] as &[u64], |(_, left_out)| left_out);
                let Some(count) = left.get_mut(label).filter(|count| **count > 0) else { continue };
                *count -= 1;
                let last = *count == 0;
                let Some((call, _)) = calls.get(label) else { continue };
                self.page(call, page, left_out, replayed).await?;
                if last {
                    self.finish(label, ended.get(label).copied(), replayed).await?;
                }
            }
            self.seal(commit, replayed)?;
        }
        // Reads without pages, of which the end is all there is.
        let without: Vec<&str> =
            calls.keys().copied().filter(|label| !left.contains_key(label) && ended.contains_key(label)).collect();
        for label in without {
            if let Some((call, _)) = calls.get(label) {
                self.begin(call)?;
                self.finish(label, ended.get(label).copied(), replayed).await?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, call: &'a Call) -> Result<&mut Playing, ReplayError> {
        let lost = || ReplayError::Failed { read: call.label.clone(), reason: "it is no read".to_owned() };
        if !self.playing.contains_key(call.label.as_str()) {
            let read = call.note.read.as_ref().ok_or_else(lost)?;
            self.playing.insert(&call.label, self.player.read(self.script, call, read));
        }
        self.playing.get_mut(call.label.as_str()).ok_or_else(lost)
    }

    async fn page(
        &mut self,
        call: &'a Call,
        (label, records, hash): &(String, u64, String),
        left_out: &[u64],
        replayed: &mut StreamReplay,
    ) -> Result<(), ReplayError> {
        let Some(mut emitted) = self.begin(call)?.page().await else {
            let playing = self.playing.remove(label.as_str());
            let ended = match playing {
                Some(playing) => playing.end().await,
                None => Ok(None),
            };
            return Err(match ended {
                Err(end) => failure(label, end),
                Ok(_) => ReplayError::Failed {
                    read: label.clone(),
                    reason: format!(
                        "it ends after {} of the stream, and more were recorded",
                        plural(replayed.pages, "page")
                    ),
                },
            });
        };
        if self.session.note.limit.is_some() {
            // A preview's page was cut where the count ended.
            let cut = Countdown::new(*records + left_out.len() as u64).cut(&mut emitted.page, 0);
            cut.map_err(|error| ReplayError::Failed { read: label.clone(), reason: error.to_string() })?;
        }
        emitted.page.leave_out = left_out.to_vec();
        let failed = |source| ReplayError::Page { read: label.clone(), source };
        // Whether they were allowed was decided when they were written.
        let taken = deadletter::append(&mut *self.sink.sink, &mut emitted, u64::MAX);
        let deadletter::Taken { appended, refused } = taken.map_err(|error| failed(error.into()))?;
        let number = self.numbers.entry(label.clone()).or_insert(call.note.read.as_ref().map_or(0, |read| read.pages));
        self.sink.dead.write(label, *number, &emitted, &refused).map_err(failed)?;
        *number += 1;
        let made = format!("{:032x}", appended.content_hash);
        if made != *hash || appended.records != *records {
            replayed.different += 1;
            let number = replayed.pages + 1;
            replayed.first_difference.get_or_insert_with(|| {
                let what = if appended.records == *records {
                    format!("its {} differ{}", plural(*records, "record"), if *records == 1 { "s" } else { "" })
                } else {
                    format!("it has {} instead of {records}", plural(appended.records, "record"))
                };
                format!("{label}: page {number} of the stream differs: {what}")
            });
        }
        replayed.pages += 1;
        replayed.records += appended.records;
        Ok(())
    }

    /// Plays a read that ended by itself to its end; drops one that did not.
    async fn finish(
        &mut self,
        label: &str,
        ended: Option<&Option<String>>,
        replayed: &mut StreamReplay,
    ) -> Result<(), ReplayError> {
        let Some(mut playing) = self.playing.remove(label) else { return Ok(()) };
        let calls = self.session.calls.iter().filter(|call| call.label == label && call.stream == Some(self.place));
        let playing_since = calls.filter_map(|call| call.note.read.as_ref()).map(|read| read.since.clone()).next_back();
        let Some(watermark) = ended else { return Ok(()) };
        let more = playing.page().await.is_some();
        let end = playing.end().await.map_err(|end| failure(label, end))?;
        // A watermark is kept only of a read that adds up, and where it goes ahead.
        let since = playing_since.filter(|since| *since == *watermark);
        if more || (watermark.is_some() && end != *watermark && since.is_none()) {
            replayed.different += 1;
            let what = if more { "it has more pages than recorded" } else { "it returns another watermark" };
            replayed.first_difference.get_or_insert_with(|| format!("{label}: {what}"));
        }
        Ok(())
    }

    fn seal(&mut self, commit: &CommitNote, replayed: &mut StreamReplay) -> Result<(), ReplayError> {
        let mut sealed = self.sink.sink.seal()?;
        if sealed.is_empty() && commit.may_be_empty {
            sealed.extend(self.sink.sink.seal_empty()?);
        }
        sealed.extend(self.sink.dead.seal()?);
        let names = sealed.iter().filter_map(|file| file.path.file_name()?.to_str().map(str::to_owned));
        replayed.files.extend(names);
        Ok(())
    }
}

/// Where the parts of a stream go.
pub(super) struct Parts {
    pub(super) sink: Box<dyn Sink>,
    dead: DeadLetters,
}

impl Parts {
    fn open(
        engine: &Engine,
        folder: &Path,
        run: &str,
        stream: &StreamScript,
        format: Format,
    ) -> Result<Self, ReplayError> {
        let StreamNote { primary_key, declared, schema, parts, dead_letters, .. } = &stream.note;
        let known = schema.as_deref();
        let (folder, extension) = (stream_folder(folder, &stream.name)?, format.extension());
        let dead_folder = folder.clone();
        let dead = deadletter::names(run, *dead_letters).map(move |name| dead_folder.join(name));
        // What was stored has no secrets, and nothing here knows any.
        let dead = DeadLetters::new(&stream.name, Secrets::default(), Box::new(dead), Vec::new());
        let mut limits = sinks::limits(engine);
        limits.max_depth = stream.note.max_json_depth.unwrap_or(limits.max_depth);
        limits.max_record_bytes = stream.note.max_record_bytes.unwrap_or(limits.max_record_bytes);
        let prefix = format!("part-{run}-");
        let names = (*parts..).map(move |number| folder.join(format!("{prefix}{number:05}.{extension}")));
        let schema = sinks::schema_of::<ReplayError>(known, declared.as_deref())?;
        Ok(Self { dead, sink: sinks::open(limits, schema, primary_key.clone(), format, names) })
    }
}

pub(super) fn stream_folder(folder: &Path, stream: &str) -> Result<PathBuf, CommitError> {
    let path = folder.join(stream);
    std::fs::create_dir_all(&path).map_err(|source| CommitError::Io { path: path.clone(), source })?;
    Ok(path)
}

impl Recorded {
    /// Compares the committed pages of the archive with the page log, and says what differs.
    pub(crate) fn against_log(&self, state: &mut dyn StateStore) -> Result<Vec<String>, StateError> {
        let committed = committed_pages(&self.script, state)?;
        let mut damage = Vec::new();
        for (at, session) in self.script.sessions.iter().enumerate() {
            let mut recorded: HashMap<&str, Vec<(u64, &str)>> = HashMap::new();
            let commits = session.streams.iter().flat_map(|stream| &stream.commits);
            for (label, records, hash) in commits.flat_map(|commit| &commit.pages) {
                recorded.entry(label).or_default().push((*records, hash));
            }
            for call in &session.calls {
                let Some(read) = &call.note.read else { continue };
                let accepted = self.script.accepted(at, call, committed.get(&read.id).copied());
                let log = state.pages(read.id)?;
                let log = log.iter().skip(usize::try_from(read.pages).unwrap_or(usize::MAX));
                let log = log.take(usize::try_from(accepted).unwrap_or(usize::MAX));
                let mut log: Vec<(u64, &str)> = log.map(|page| (page.records, page.hash.as_str())).collect();
                let mut archive = recorded.remove(call.label.as_str()).unwrap_or_default();
                // The log may go on with a later run's pages, and the archive with pages that were not committed.
                log.truncate(archive.len());
                archive.truncate(log.len());
                if archive != log {
                    let page = archive.iter().zip(&log).take_while(|(one, other)| one == other).count();
                    let number = read.pages.saturating_add(page as u64) + 1;
                    damage.push(format!("{}: page {number} of the page log is not that of the archive", call.label));
                }
            }
        }
        Ok(damage)
    }
}
