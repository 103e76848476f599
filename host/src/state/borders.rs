//! What is kept of the records around a watermark, so that two readings that meet there have each of them once.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{KeptBorder, ReadEnd, ReadProgress, Sqlite, StateError};

/// The newest watermark of each partition is the last of these: a later read of the same partition comes later.
pub(super) const WATERMARKS: &str = "
    SELECT reads.partition, reads.watermark FROM reads JOIN batches ON reads.batch = batches.id
    WHERE batches.stream = ?1 AND batches.status = 'complete' AND reads.status = 'complete' AND reads.watermark IS NOT NULL
    ORDER BY reads.id";

impl Sqlite {
    /// What is kept of the borders of a read.
    pub(super) fn kept_border(&self, read: i64) -> Result<KeptBorder, StateError> {
        let row = self.row(
            "SELECT batches.stream, reads.partition, reads.since FROM reads JOIN batches ON reads.batch = batches.id
             WHERE reads.id = ?1",
            [read],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?)),
        )?;
        let Some((stream, partition, since)) = row else { return Ok(KeptBorder::default()) };
        let kept = |place: String| {
            self.row("SELECT border FROM borders WHERE stream = ?1 AND place = ?2", [&stream, &place], |row| row.get(0))
        };
        let before = match &since {
            Some(since) => kept(at_mark(partition.as_ref(), since))?,
            None => None,
        };
        Ok(KeptBorder { before, so_far: kept(under_way(read))?, since })
    }
}

/// Where the border of a read under way is kept.
fn under_way(read: i64) -> String {
    format!("read {read}")
}

/// Where the border is kept of a read that ended with a watermark.
fn at_mark(partition: Option<&String>, watermark: &str) -> String {
    serde_json::json!([partition, watermark]).to_string()
}

pub(super) fn write_border(
    connection: &Connection,
    stream: &str,
    progress: &ReadProgress,
    border: &[u8],
) -> rusqlite::Result<()> {
    let mut place = under_way(progress.read);
    if let Some((end, watermark)) = &progress.end {
        connection.execute("DELETE FROM borders WHERE stream = ?1 AND place = ?2", [stream, &place])?;
        let (ReadEnd::Complete, Some(watermark)) = (end, watermark) else { return Ok(()) };
        let partition: Option<String> =
            connection.query_row("SELECT partition FROM reads WHERE id = ?1", [progress.read], |row| row.get(0))?;
        place = at_mark(partition.as_ref(), watermark);
    }
    connection.execute("INSERT OR REPLACE INTO borders VALUES (?1, ?2, ?3)", params![stream, place, border])?;
    Ok(())
}

/// Removes borders at which no read starts any more.
pub(super) fn forget_borders(connection: &Connection, stream: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(WATERMARKS)?;
    let marks = statement.query_map([stream], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let marks: HashMap<Option<String>, String> = marks.collect::<rusqlite::Result<_>>()?;
    let needed: Vec<String> = marks.iter().map(|(partition, mark)| at_mark(partition.as_ref(), mark)).collect();
    let mut statement = connection.prepare("SELECT place FROM borders WHERE stream = ?1")?;
    let places = statement.query_map([stream], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    for place in places.iter().filter(|place| !needed.contains(place)) {
        connection.execute("DELETE FROM borders WHERE stream = ?1 AND place = ?2", [stream, place])?;
    }
    Ok(())
}
