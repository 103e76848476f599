//! The two transactions of the commit protocol: a commit, and the end of a batch. Their order among renames and syncs is in
//! `run/commit.rs`.

use rusqlite::params;

use super::borders::{forget_borders, write_border};
use super::rows::signed;
use super::{Batch, BatchMode, BatchStatus, Commit, ReadEnd, ReadStatus, Sqlite, StateError, schemas};

impl Sqlite {
    /// Closes a batch, and says what becomes of its parts and of those that it replaces.
    pub(super) fn write_close(&mut self, stream: &str, batch: &Batch, status: BatchStatus) -> Result<(), StateError> {
        let error = self.error();
        let transaction = self.begin()?;
        let close = || {
            transaction.execute("UPDATE batches SET status = ?2 WHERE id = ?1", params![batch.id, status.to_text()])?;
            if !matches!(status, BatchStatus::Complete | BatchStatus::Lacking) {
                return Ok(());
            }
            let replaced = match batch.mode {
                BatchMode::Full => "status != 'replaced'",
                BatchMode::Delta => "status IN ('lacking', 'broken', 'preview')",
            };
            transaction.execute(
                &format!(
                    "UPDATE parts SET status = 'obsolete' WHERE stream = ?1 AND batch != ?2 AND batch IN
                     (SELECT id FROM batches WHERE stream = ?1 AND {replaced})"
                ),
                params![stream, batch.id],
            )?;
            transaction.execute(
                &format!("UPDATE batches SET status = 'replaced' WHERE stream = ?1 AND id != ?2 AND {replaced}"),
                params![stream, batch.id],
            )?;
            transaction
                .execute("UPDATE parts SET status = 'visible' WHERE batch = ?1 AND status = 'staged'", [batch.id])?;
            forget_borders(&transaction, stream)
        };
        close().map_err(&error)?;
        transaction.commit().map_err(&error)
    }

    /// Writes a commit, whole or not at all.
    pub(super) fn write_commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        let error = self.error();
        let transaction = self.begin()?;
        let write = || {
            for part in &commit.parts {
                transaction.prepare_cached("INSERT INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
                    params![
                        part.stream,
                        part.name,
                        part.batch,
                        part.run,
                        signed(part.records),
                        signed(part.bytes),
                        part.status.to_text(),
                    ],
                )?;
            }
            for progress in &commit.reads {
                for page in &progress.pages {
                    transaction
                        .prepare_cached("INSERT INTO pages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?
                        .execute(params![
                            progress.read,
                            signed(page.seq),
                            page.url,
                            page.status,
                            signed(page.bytes),
                            signed(page.records),
                            page.checkpoint,
                            page.total.map(signed),
                            page.hash,
                            signed(page.refused),
                            serde_json::to_string(&page.checks).unwrap_or_default(),
                        ])?;
                }
                if let Some(checkpoint) = &progress.checkpoint {
                    transaction.execute(
                        "UPDATE reads SET checkpoint = ?2 WHERE id = ?1",
                        params![progress.read, checkpoint],
                    )?;
                }
                if let Some((end, watermark)) = &progress.end {
                    let status = match end {
                        ReadEnd::Complete => ReadStatus::Complete,
                        ReadEnd::Lacking => ReadStatus::Lacking,
                        ReadEnd::Broken => ReadStatus::Broken,
                    };
                    transaction.execute(
                        "UPDATE reads SET status = ?2, watermark = ?3 WHERE id = ?1",
                        params![progress.read, status.to_text(), watermark],
                    )?;
                }
                if let Some(border) = &progress.border {
                    write_border(&transaction, &commit.stream, progress, border)?;
                }
                for (key, value) in &progress.storage {
                    match value {
                        Some(value) => transaction.execute(
                            "INSERT OR REPLACE INTO storage VALUES (?1, ?2, ?3)",
                            params![commit.connection, key, value],
                        )?,
                        None => transaction.execute(
                            "DELETE FROM storage WHERE connection = ?1 AND key = ?2",
                            params![commit.connection, key],
                        )?,
                    };
                }
            }
            if let Some(schema) = &commit.schema {
                transaction.execute(
                    "UPDATE streams SET schema = ?2 WHERE name = ?1",
                    params![commit.stream, schema.columns],
                )?;
                if let Some(version) = &schema.version {
                    schemas::put(&transaction, &commit.stream, &commit.run, version)?;
                }
            }
            let records: u64 = commit.parts.iter().map(|part| part.records).sum();
            transaction.execute(
                "UPDATE runs SET records = records + ?2 WHERE id = ?1",
                params![commit.run, signed(records)],
            )?;
            Ok(())
        };
        write().map_err(&error)?;
        transaction.commit().map_err(&error)
    }
}
