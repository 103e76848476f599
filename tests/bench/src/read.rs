//! The whole way: fetch, decode, encode, each on a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::anyhow;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use url::Url;

use crate::fetch::{self, Way};
use crate::records::{self, Record};
use crate::write::Writer;

/// Bytes of columns in a row group.
const ROW_GROUP_BYTES: usize = 8 << 20;
/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 65_536;

/// Reads all pages into one Parquet file; returns the number of records.
pub fn read<R: Record>(url: Url, way: Way, path: &Path) -> anyhow::Result<u64> {
    let (pages, fetching) = fetch::start(url, way)?;
    let mut writer = Writer::new(path, R::fields())?;
    // One row group waits at most.
    let (batches, queue) = sync_channel::<RecordBatch>(0);
    let encoding = thread::Builder::new().name("encode".to_owned()).spawn(move || {
        for batch in queue {
            writer.row_group(&batch)?;
        }
        writer.end()
    })?;
    let schema = Arc::new(Schema::new(R::fields()));
    let mut records = R::default();
    let mut count = 0;
    let mut hand_over = |records: &mut R| {
        let rows = records.rows();
        count += rows as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), records.arrays()?, &options)?;
        // The encoder's own error tells why it is gone.
        let _ = batches.send(batch);
        Ok::<_, anyhow::Error>(())
    };
    for page in pages {
        records::page(&mut records, &page)?;
        if records.rows() >= ROW_GROUP_ROWS || records.bytes() >= ROW_GROUP_BYTES {
            hand_over(&mut records)?;
        }
    }
    if records.rows() > 0 {
        hand_over(&mut records)?;
    }
    drop(batches);
    fetching.join().map_err(|_| anyhow!("fetching crashed"))??;
    encoding.join().map_err(|_| anyhow!("encoding crashed"))??;
    Ok(count)
}
