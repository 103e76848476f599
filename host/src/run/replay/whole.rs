//! What a connector makes of everything that a run recorded: each read from its beginning to its end, over all sessions.
//! For trying another version of a connector, and for making tables anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::exact::{failure, stream_folder};
use super::player::{PlayEnd, Player};
use super::script::Call;
use super::{Recorded, ReplayError};
use crate::capability::output::Emitted;
use crate::engine::bindings::exports::ingest::connector::source::SyncMode;
use crate::record::Survey;
use crate::run::seam::Edge;
use crate::run::verdict::plural;
use crate::run::{Format, deadletter, sinks};
use crate::schema::Schema;
use crate::sink::Sink;
use crate::state::PageChecks;

/// A partition: its id and its context; none for the whole stream.
type Partition = Option<(String, String)>;

/// What a connector made of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Made {
    /// Each stream that was recorded and that the connector has.
    pub streams: Vec<StreamMade>,
    /// What could not be played, in words.
    pub left_out: Vec<String>,
}

/// One stream that was made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StreamMade {
    /// Its name.
    pub name: String,
    /// The fields that tell its records apart.
    pub primary_key: Vec<String>,
    /// Pages.
    pub pages: u64,
    /// Records.
    pub records: u64,
    /// The schema that the connector declares.
    #[serde(skip)]
    pub declared: Option<String>,
    /// The field that orders its records, where it can be read incrementally.
    #[serde(skip)]
    pub cursor_field: Option<String>,
    /// Files, in order.
    pub files: Vec<PathBuf>,
}

/// One recorded read over all sessions: the call as it began, with everything that it was answered since.
pub(crate) fn merged(recorded: &Recorded, stream: &str) -> Vec<Call> {
    let mut order: Vec<String> = Vec::new();
    let mut calls: BTreeMap<String, Call> = BTreeMap::new();
    for call in recorded.script.sessions.iter().flat_map(|session| &session.calls) {
        if call.note.read.as_ref().is_none_or(|read| read.stream != stream) {
            continue;
        }
        match calls.get_mut(&call.label) {
            Some(first) => {
                first.exchanges.extend(&call.exchanges);
                first.heard.extend(call.heard.clone());
            }
            None => {
                order.push(call.label.clone());
                calls.insert(call.label.clone(), call.clone());
            }
        }
    }
    order.iter().filter_map(|label| calls.remove(label)).collect()
}

impl Recorded {
    /// Lets a connector (the one that made the run, if `connector` is none) make the run's streams anew, as JSON lines in
    /// `folder`.
    ///
    /// # Errors
    ///
    /// At the first request that was not recorded, and when a read fails.
    pub async fn make(&self, connector: Option<&Path>, folder: &Path) -> Result<Made, ReplayError> {
        let mut made = Made::default();
        for name in self.streams() {
            let folder = stream_folder(folder, &name)?;
            let names = (0..).map(move |number| folder.join(format!("{number:05}.jsonl")));
            let mut stream = StreamMade { name: name.clone(), ..StreamMade::default() };
            let Some(player) = self.open_stream(connector, &mut stream, &mut made.left_out).await? else { continue };
            let key = stream.primary_key.clone();
            let mut sink =
                sinks::open(sinks::limits(player.engine()), Schema::default(), key, Format::JsonLines, names);
            let survey = Survey::new(&stream.primary_key, None);
            let mut edges: BTreeMap<String, Edge> = BTreeMap::new();
            let mut refused = 0;
            let append = |_: &Partition, label: &str, mut emitted| {
                let edge = edges.entry(label.to_owned()).or_default();
                append(&mut sink, edge, &survey, label, &mut emitted, &mut refused)
            };
            self.read_all(&player, &mut stream, &mut made.left_out, false, append).await?;
            if refused > 0 {
                made.left_out.push(format!("{name}: {} cannot be stored", plural(refused, "record")));
            }
            stream.files = sink.seal()?.into_iter().map(|file| file.path).collect();
            made.streams.push(stream);
        }
        Ok(made)
    }

    /// Opens the connector for one stream; none where it does not have it.
    pub(crate) async fn open_stream(
        &self,
        connector: Option<&Path>,
        stream: &mut StreamMade,
        left_out: &mut Vec<String>,
    ) -> Result<Option<Arc<Player>>, ReplayError> {
        let session = self.script.sessions.last().ok_or_else(|| ReplayError::NoStream(stream.name.clone()))?;
        let path = match connector {
            Some(path) => path.to_owned(),
            None => self.connector(&session.note)?,
        };
        let described = self.describe(&path).await?;
        let player = Arc::new(Player::open(&described, &session.note, self.observer.clone(), &self.keys)?);
        let Some(call) = session.call("streams", "streams") else { return Ok(None) };
        let listed = player.streams(&self.script, call).await.map_err(|end| failure("streams", end))?;
        let Some(info) = listed.into_iter().find(|info| info.name == stream.name) else {
            left_out.push(format!("the connector has no stream {}", stream.name));
            return Ok(None);
        };
        stream.cursor_field = info.cursor_field.filter(|_| info.modes.contains(&SyncMode::Incremental));
        stream.primary_key = info.primary_key;
        stream.declared = info.schema;
        Ok(Some(player))
    }

    /// Plays every read of a stream to its end, and hands each page over. Returns the watermarks. A read that fails, or of
    /// which the recording has no end, is an error if the `whole` is wanted.
    pub(crate) async fn read_all(
        &self,
        player: &Arc<Player>,
        stream: &mut StreamMade,
        left_out: &mut Vec<String>,
        whole: bool,
        mut take: impl FnMut(&Partition, &str, Emitted) -> Result<u64, ReplayError>,
    ) -> Result<Vec<(Partition, Option<String>)>, ReplayError> {
        let mut calls = merged(self, &stream.name);
        let listing = self.script.sessions.iter().find_map(|session| session.call("partitions", &stream.name));
        if let Some(listing) = listing {
            let listed = player.partitions(&self.script, listing).await.map_err(|end| failure(&stream.name, end))?;
            for partition in listed {
                let read = calls.iter_mut().filter_map(|call| call.note.read.as_mut());
                let known = read.filter_map(|read| read.partition.as_mut()).find(|(id, _)| *id == partition.id);
                match known {
                    Some((_, context)) => *context = partition.context,
                    None => left_out.push(format!("{}/{} was not recorded", stream.name, partition.id)),
                }
            }
        }
        let mut watermarks = Vec::new();
        for call in &calls {
            let Some(mut read) = call.note.read.clone() else { continue };
            if read.pages > 0 {
                left_out.push(match read.pages {
                    1 => format!("{}: its first page is of another run", call.label),
                    pages => format!("{}: its first {pages} pages are of another run", call.label),
                });
            } else {
                read.resume = None;
            }
            let mut playing = player.read(&self.script, call, &read);
            while let Some(emitted) = playing.page().await {
                stream.pages += 1;
                stream.records += take(&read.partition, &call.label, emitted)?;
            }
            match playing.end().await {
                Ok(watermark) => watermarks.push((read.partition, watermark)),
                // A recording of a run that was stopped, or that failed.
                Err(PlayEnd::NotRecorded(difference)) if !whole && difference.recorded.is_none() => {
                    left_out.push(format!("{}: the recording ends before the read does", call.label));
                }
                Err(PlayEnd::Failed(reason)) if !whole => left_out.push(format!("{}: {reason}", call.label)),
                Err(end) => return Err(failure(&call.label, end)),
            }
        }
        Ok(watermarks)
    }
}

/// Appends what can be stored of a page, and counts what cannot be.
fn append(
    sink: &mut Box<dyn Sink>,
    edge: &mut Edge,
    survey: &Survey,
    label: &str,
    emitted: &mut Emitted,
    refused: &mut u64,
) -> Result<u64, ReplayError> {
    let seam = edge.join(survey, emitted);
    let taken = deadletter::append(&mut **sink, emitted, u64::MAX);
    let taken = taken.map_err(|error| ReplayError::Page { read: label.to_owned(), source: error.into() })?;
    let records = taken.appended.records;
    *refused += taken.refused.len() as u64;
    let last = taken.edge(survey, emitted);
    edge.pass(records + taken.refused.len() as u64, &PageChecks { seam, edge: last, ..PageChecks::default() }, None);
    Ok(records)
}

impl Recorded {
    /// Whether the run read all of a stream, and not only what was new.
    pub(crate) fn is_full(&self, stream: &str) -> bool {
        let streams = self.script.sessions.iter().flat_map(|session| &session.streams);
        streams.filter(|script| script.name == stream).all(|script| script.note.full)
    }

    /// The form of the run's parts.
    pub(crate) fn format(&self) -> Format {
        self.script.sessions.last().map_or(Format::default(), |session| session.note.format)
    }

    /// A read of the stream that an earlier run began.
    pub(crate) fn continued(&self, stream: &str) -> Option<String> {
        let went_on = |call: &Call| call.note.read.as_ref().is_some_and(|read| read.pages > 0);
        merged(self, stream).into_iter().find(went_on).map(|call| call.label)
    }

    /// The watermarks from which the run read the partitions of a stream.
    pub(crate) fn beginnings(&self, stream: &str) -> Vec<(Option<String>, Option<String>)> {
        let reads = merged(self, stream).into_iter().filter_map(|call| call.note.read);
        reads.map(|read| (read.partition.map(|(id, _)| id), read.since)).collect()
    }

    /// The watermarks that the partitions of a stream had when the run ended.
    pub(crate) fn ends(&self, stream: &str) -> Vec<(Option<String>, Option<String>)> {
        let streams = self.script.sessions.iter().flat_map(|session| &session.streams);
        let commits = streams.filter(|script| script.name == stream).flat_map(|script| &script.commits);
        let id = |label: &str| label.strip_prefix(stream)?.strip_prefix('/').map(str::to_owned);
        commits.flat_map(|commit| &commit.ended).map(|(label, mark)| (id(label), mark.clone())).collect()
    }
}
