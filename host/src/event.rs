//! What happens during a run, told to whoever shows it. The library prints nothing; the command line turns these into
//! progress lines, log lines or JSON.

use std::borrow::Cow;
use std::time::Duration;

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Steps of a computation.
    Trace,
    /// What an author needs to find a fault.
    Debug,
    /// What a user may want to know.
    Info,
    /// Something that may need attention.
    Warn,
    /// Something that failed.
    Error,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A read began: a stream, or one partition of it.
    ReadStarted {
        /// Stream, or `stream/partition`.
        read: String,
        /// Whether it goes on from a checkpoint.
        resumed: bool,
    },
    /// A page was accepted.
    Page {
        /// Stream, or `stream/partition`.
        read: String,
        /// Records in the page.
        records: u64,
        /// Records the API says the whole read has.
        total: Option<u64>,
    },
    /// A request is about to leave the host.
    Requesting {
        /// Stream, or `stream/partition`.
        read: String,
    },
    /// A request was answered, by whatever status.
    Answered {
        /// Stream, or `stream/partition`.
        read: String,
        /// Bytes of the body as received.
        bytes: u64,
    },
    /// A request is going to be sent again.
    Retrying {
        /// Stream, or `stream/partition`.
        read: String,
        /// Why, in words, with secrets redacted.
        reason: String,
        /// How long the host waits before it.
        delay: Duration,
    },
    /// A request waits for a budget.
    Waiting {
        /// Stream, or `stream/partition`.
        read: String,
        /// The budget's name, as a host name.
        budget: String,
        /// When it goes on, in milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// A part became visible.
    Committed {
        /// The stream.
        stream: String,
        /// Records in the part.
        records: u64,
    },
    /// A connector crashed, reached a limit, or used the contract as it must not; its call ends with it.
    Crashed {
        /// Stream, or `stream/partition`.
        read: String,
        /// How, in words, with secrets redacted.
        error: String,
    },
    /// A read ended.
    ReadEnded {
        /// Stream, or `stream/partition`.
        read: String,
        /// Why it ended early, where it did.
        error: Option<String>,
    },
    /// A line of a log: the connector's or the host's own.
    Log {
        /// Who speaks: the connector's name, or `host`.
        target: String,
        /// How serious it is.
        level: Level,
        /// The text, with secrets redacted.
        message: String,
        /// Structured values.
        fields: Vec<(String, String)>,
    },
}

/// Somebody who is told what happens. Called from any thread, often: it must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// Takes one event.
    fn observe(&self, event: Event);
}

/// An observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: Event) {}
}

/// Escapes what would steer a terminal or forge a line: control characters, line breaks, and marks that turn the
/// direction of writing around. For texts that a connector or a server wrote.
pub fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if steers(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}
