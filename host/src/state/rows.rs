//! Rows of the state file's tables: what enums, counts, runs and reads are written as, and how they are read.

use rusqlite::{Connection, Row, params};

use super::{BatchMode, BatchStatus, PageChecks, PartStatus, Read, ReadStatus, Run, RunStatus};

/// Pairs an enum with the texts that stand for it in the file.
macro_rules! stored_as {
    ($type:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        impl $type {
            pub(super) fn to_text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            pub(super) fn from_text(text: &str) -> rusqlite::Result<Self> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(rusqlite::Error::InvalidParameterName(other.to_owned())),
                }
            }
        }
    };
}

stored_as!(RunStatus { Running = "running", Interrupted = "interrupted", Ended = "ended" });
stored_as!(BatchMode { Full = "full", Delta = "delta" });
stored_as!(BatchStatus {
    Open = "open",
    Complete = "complete",
    Lacking = "lacking",
    Broken = "broken",
    Preview = "preview",
    Replaced = "replaced",
});
stored_as!(ReadStatus {
    Unfinished = "unfinished",
    Complete = "complete",
    Lacking = "lacking",
    Broken = "broken",
    Gone = "gone",
});
stored_as!(PartStatus { Visible = "visible", Staged = "staged", Obsolete = "obsolete" });

/// SQLite's integers are signed; every count of ours stays far below the border.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

pub(super) fn read_of(row: &Row<'_>) -> rusqlite::Result<Read> {
    let partition: Option<String> = row.get(1)?;
    let context: Option<String> = row.get(2)?;
    Ok(Read {
        id: row.get(0)?,
        partition: partition.map(|id| (id, context.unwrap_or_default())),
        since: row.get(3)?,
        checkpoint: row.get(4)?,
        watermark: row.get(5)?,
        status: ReadStatus::from_text(&row.get::<_, String>(6)?)?,
    })
}

pub(super) fn checks_of(text: &str) -> rusqlite::Result<PageChecks> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(8, rusqlite::types::Type::Text, Box::new(error)))
}

pub(super) fn insert_read(connection: &Connection, batch: i64, read: &Read) -> rusqlite::Result<Read> {
    let (partition, context) = match &read.partition {
        Some((id, context)) => (Some(id), Some(context)),
        None => (None, None),
    };
    connection.execute(
        "INSERT INTO reads (batch, partition, context, since, checkpoint, watermark, status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![batch, partition, context, read.since, read.checkpoint, read.watermark, read.status.to_text()],
    )?;
    Ok(Read { id: connection.last_insert_rowid(), ..read.clone() })
}

pub(super) fn insert_run(connection: &Connection, run: &Run) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO runs
         (id, connection, connector, started_ms, ended_ms, status, verdict, records, \"full\")
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET ended_ms = ?5, status = ?6, verdict = ?7, records = ?8, \"full\" = ?9",
        params![
            run.id,
            run.connection,
            run.connector,
            signed(run.started_ms),
            run.ended_ms.map(signed),
            run.status.to_text(),
            run.verdict,
            signed(run.records),
            run.full,
        ],
    )?;
    Ok(())
}
