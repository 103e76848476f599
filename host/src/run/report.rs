//! What a run leaves to be read by people and machines: `OUT/_runs/RUN/report.json`.

use serde::{Deserialize, Serialize};

use super::tally::{PartReport, Traffic};
use super::verdict::Finding;
use crate::schema::Change;
use crate::schema::drift::Policy;

/// Version of the report's form.
pub const FORM: u32 = 1;

/// The report of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub form: u32,
    /// The run's id.
    pub run: String,
    /// Whether it went on from an interrupted or killed one.
    pub resumed: bool,
    /// The connection.
    pub connection: String,
    /// The connector.
    pub connector: ConnectorReport,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_ms: u64,
    /// Time from reading the connector's file to the first request, in milliseconds; none where it made no request.
    pub first_request_ms: Option<u64>,
    /// The verdict of the whole run, with reasons.
    #[serde(flatten)]
    pub finding: Finding,
    /// Requests of the whole run.
    pub traffic: Traffic,
    /// What the host warned of, such as a key that the API refuses; at most 100 different texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Each stream.
    pub streams: Vec<StreamReport>,
}

/// The connector of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectorReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its component.
    pub digest: String,
}

/// One stream in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// What the run read of it.
    pub mode: String,
    /// Its verdict, with reasons.
    #[serde(flatten)]
    pub finding: Finding,
    /// Pages taken in this run and the runs that it went on from.
    pub pages: u64,
    /// Records taken in this run and the runs that it went on from.
    pub records: u64,
    /// Records that could not be stored, in this run and the runs that it went on from.
    #[serde(default)]
    pub dead_letters: u64,
    /// The files in the stream's folder that they are in; the next reading removes those that it replaces.
    #[serde(default)]
    pub dead_letter_files: Vec<String>,
    /// Its requests in this run.
    pub traffic: Traffic,
    /// What to do about drift.
    #[serde(default)]
    pub on_drift: Policy,
    /// What its records were found to differ in from those of the complete readings before.
    #[serde(default)]
    pub drift: Vec<Change>,
    /// Parts that this run committed.
    pub parts: Vec<PartReport>,
    /// Each of its reads.
    pub reads: Vec<ReadEntry>,
}

/// One read in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadEntry {
    /// The partition; none where the stream has none.
    pub partition: Option<String>,
    /// Its verdict, with reasons.
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether it went on from a checkpoint.
    pub resumed: bool,
    /// Pages.
    pub pages: u64,
    /// Records.
    pub records: u64,
    /// Records that could not be stored.
    #[serde(default)]
    pub dead_letters: u64,
    /// Watermark from which it read.
    pub watermark_before: Option<String>,
    /// Watermark that it returned; none where it is not complete.
    pub watermark_after: Option<String>,
}

impl StreamReport {
    /// Whether a field that no record had is one that the stream does not have: all of it was read, from the beginning.
    pub(crate) fn is_telling(&self) -> bool {
        let whole = self.finding.verdict != super::Verdict::Incomplete && self.mode == "full";
        whole && self.records > 0 && self.reads.iter().all(|read| !read.resumed)
    }
}

impl Report {
    /// Returns the number of dead letters of all streams.
    pub fn dead_letters(&self) -> u64 {
        self.streams.iter().map(|stream| stream.dead_letters).sum()
    }

    /// Returns the number of records of all streams.
    pub fn records(&self) -> u64 {
        self.streams.iter().map(|stream| stream.records).sum()
    }
}
