//! A run's archive as a script: what was called in which order, what was answered, and what came of it.

use std::collections::HashMap;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::ReplayError;
use crate::capability::heard::Heard;
use crate::http::archive::{Archive, Bodies, Entry, Lines};
use crate::http::tape::{Tape, key_of};
use crate::run::recording::{CallNote, CommitNote, SessionNote, StreamNote};

/// A run as it was recorded. Holds a few dozen bytes an exchange and a page; bodies stay on disk.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) sessions: Vec<Session>,
    pub(crate) lines: Lines,
    pub(crate) bodies: Bodies,
}

/// One process's part in the run.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) note: SessionNote,
    pub(crate) calls: Vec<Call>,
    pub(crate) streams: Vec<StreamScript>,
}

/// A call of the connector and everything that it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) label: String,
    /// Which of the session's readings of streams it belongs to, of which one stream may have several; none before the first.
    pub(crate) stream: Option<usize>,
    pub(crate) note: CallNote,
    pub(crate) exchanges: Vec<(u128, u64)>,
    pub(crate) heard: Heard,
}

/// A stream in a session: how it was written, and its commits.
#[derive(Debug)]
pub(crate) struct StreamScript {
    pub(crate) name: String,
    pub(crate) note: StreamNote,
    pub(crate) commits: Vec<CommitNote>,
}

impl Script {
    /// Reads the archive in a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, ReplayError> {
        if !folder.join("manifest.jsonl").exists() {
            return Err(ReplayError::NoArchive(folder.to_owned()));
        }
        let mut reader = Archive::read(folder)?;
        let (lines, bodies) = (reader.lines(), reader.bodies());
        let mut sessions: Vec<Session> = Vec::new();
        let mut newest: HashMap<String, usize> = HashMap::new();
        loop {
            let place = reader.place();
            let Some(entry) = reader.next() else { break };
            let entry = entry?;
            let seq = entry.seq();
            let lost = |what: &str| ReplayError::Script { line: seq, reason: what.to_owned() };
            match entry {
                Entry::Note(note) if note.kind == "session" => {
                    let note = parse(note.value, seq)?;
                    sessions.push(Session { note, calls: Vec::new(), streams: Vec::new() });
                    newest.clear();
                }
                _ if sessions.is_empty() => return Err(ReplayError::Older(folder.to_owned())),
                entry => {
                    let session = sessions.last_mut().ok_or_else(|| lost("it is of no session"))?;
                    session.take(entry, place, &mut newest)?;
                }
            }
        }
        if sessions.is_empty() {
            return Err(ReplayError::Older(folder.to_owned()));
        }
        Ok(Self { sessions, lines, bodies })
    }

    /// The call that made the pages of a read beyond those of earlier sessions, and how many of them count: up to where
    /// the next session went on, or where the state says that commits ended.
    pub(crate) fn accepted(&self, session: usize, call: &Call, committed: Option<u64>) -> u64 {
        let Some(read) = &call.note.read else { return 0 };
        let later = self.sessions.iter().skip(session + 1).flat_map(|session| &session.calls);
        let next = later.filter_map(|call| call.note.read.as_ref()).find(|later| later.id == read.id);
        let end = next.map(|next| next.pages).or(committed).unwrap_or(u64::MAX);
        end.saturating_sub(read.pages)
    }

    /// Makes the tape of a call.
    pub(crate) fn tape(&self, call: &Call) -> Tape {
        Tape::new(&call.label, call.exchanges.iter().copied(), self.lines.clone(), self.bodies.clone())
    }
}

impl Session {
    fn take(&mut self, entry: Entry, place: u64, newest: &mut HashMap<String, usize>) -> Result<(), ReplayError> {
        let seq = entry.seq();
        let no_call = || ReplayError::Script { line: seq, reason: "it belongs to no call".to_owned() };
        match entry {
            Entry::Exchange(exchange) => {
                let call = newest.get(&exchange.read).and_then(|at| self.calls.get_mut(*at)).ok_or_else(no_call)?;
                call.exchanges.push((key_of(&exchange), place));
            }
            Entry::Note(note) => match note.kind.as_str() {
                "call" => {
                    newest.insert(note.read.clone(), self.calls.len());
                    let call: CallNote = parse(note.value, seq)?;
                    let of = call.read.as_ref().map(|read| read.stream.as_str());
                    let stream = self.streams.iter().rposition(|stream| Some(stream.name.as_str()) == of);
                    let (exchanges, heard) = (Vec::new(), Heard::default());
                    self.calls.push(Call { label: note.read, stream, note: call, exchanges, heard });
                }
                "heard" => {
                    let call = newest.get(&note.read).and_then(|at| self.calls.get_mut(*at)).ok_or_else(no_call)?;
                    call.heard.extend(parse(note.value, seq)?);
                }
                "stream" => {
                    let commits = Vec::new();
                    self.streams.push(StreamScript { name: note.read, note: parse(note.value, seq)?, commits });
                }
                "commit" => {
                    let mut commit: CommitNote = parse(note.value, seq)?;
                    for (label, heard) in std::mem::take(&mut commit.heard) {
                        let call = newest.get(&label).and_then(|at| self.calls.get_mut(*at)).ok_or_else(no_call)?;
                        call.heard.extend(heard);
                    }
                    let stream = self.streams.iter_mut().rfind(|stream| stream.name == note.read);
                    stream.ok_or_else(no_call)?.commits.push(commit);
                }
                // Of a later host; what it tells is more than what this one needs.
                _ => {}
            },
        }
        Ok(())
    }

    /// The call of a function with a label.
    pub(crate) fn call(&self, function: &str, label: &str) -> Option<&Call> {
        self.calls.iter().find(|call| call.note.function == function && call.label == label)
    }
}

fn parse<T: DeserializeOwned>(value: serde_json::Value, line: u64) -> Result<T, ReplayError> {
    serde_json::from_value(value).map_err(|error| ReplayError::Script { line, reason: error.to_string() })
}
