//! `ceiling URL OUT.parquet`: reads the mock API as fast as a native program can.

use std::io::Write;
use std::path::PathBuf;

use bench::fetch::Way;
use bench::read::read;
use bench::records::{Large, Small};
use clap::Parser;
use url::Url;

/// Reads the records of a mock API into a Parquet file.
#[derive(Parser)]
struct Arguments {
    /// URL of the list.
    url: Url,
    /// The file to write.
    out: PathBuf,
    /// Records of 2 KB instead of 150 bytes.
    #[arg(long)]
    large: bool,
    /// Reads by offset and total with so many requests in flight, instead of cursors one after the other.
    #[arg(long)]
    in_flight: Option<u64>,
    /// Records of a page, by offset.
    #[arg(long, default_value_t = 100)]
    limit: u64,
}

fn main() -> anyhow::Result<()> {
    keep_memory();
    let Arguments { url, out, large, in_flight, limit } = Arguments::parse();
    let way = in_flight.map_or(Way::Cursor, |in_flight| Way::Offset { limit, in_flight });
    let count = if large { read::<Large>(url, way, &out)? } else { read::<Small>(url, way, &out)? };
    writeln!(std::io::stdout(), "{count} records")?;
    Ok(())
}

/// Has the allocator keep what is freed. Left alone, it gives the memory of each row group back to the system and takes it
/// again, page by page: a sixth of the whole time.
fn keep_memory() {
    const KEPT_BYTES: i32 = 256 << 20;
    const MAPPED_BYTES: i32 = 32 << 20;
    #[expect(unsafe_code, reason = "the C library's allocator has no other way to be told")]
    // SAFETY: both settings only take a number, and nothing else runs yet.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
    }
}
