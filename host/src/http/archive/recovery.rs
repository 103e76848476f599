//! What is left of an archive after a crash.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use super::reader::{Entry, parse};
use super::{BodyRef, Error, manifest_path, segment_path};

/// Bodies remembered for deduplication; the last ones of the manifest.
const LAST_BODIES: usize = 65_536;

/// What is whole.
#[derive(Default)]
pub(super) struct Found {
    /// Bytes of the manifest that are whole lines with all their bodies.
    pub manifest_bytes: u64,
    /// Number of the next line.
    pub next_seq: u64,
    /// The last segment; 0 where there is none.
    pub last_segment: u32,
    /// The bodies that are stored.
    pub bodies: Vec<BodyRef>,
}

/// Reads a manifest up to the first line that is torn or names a body that is not there.
pub(super) fn recover(folder: &Path) -> Result<Found, Error> {
    let path = manifest_path(folder);
    let failed = |error: io::Error| Error::Read { path: path.clone(), source: Arc::new(error) };
    let mut sizes = Vec::new();
    for number in 1.. {
        match segment_path(folder, number).metadata() {
            Ok(metadata) => sizes.push(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(failed(error)),
        }
    }
    let last_segment = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
    let mut found = Found { next_seq: 1, last_segment, ..Found::default() };
    let mut manifest = BufReader::new(File::open(&path).map_err(failed)?);
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let bytes = manifest.read_until(b'\n', &mut line).map_err(failed)? as u64;
        number += 1;
        if bytes == 0 {
            return Ok(found);
        }
        let Some(entry) = whole(&line) else { break };
        let bodies = match &entry {
            Entry::Exchange(exchange) => exchange.body.iter().chain(&exchange.request.body).cloned().collect(),
            Entry::Note(_) => Vec::new(),
        };
        let there = |body: &BodyRef| {
            if body.run.is_some() {
                // It was on the disk before this run began.
                return true;
            }
            let size = usize::try_from(body.segment).ok().and_then(|segment| sizes.get(segment.checked_sub(1)?));
            size.is_some_and(|size| body.offset.checked_add(body.length).is_some_and(|end| end <= *size))
        };
        if !bodies.iter().all(there) {
            // Lost with the power before a flush; no commit rests on it or on what follows.
            return Ok(found);
        }
        found.manifest_bytes += bytes;
        found.next_seq = entry.seq() + 1;
        found.bodies.extend(bodies);
        if found.bodies.len() > 2 * LAST_BODIES {
            found.bodies.drain(..LAST_BODIES);
        }
    }
    // A torn line is the last one. Whole lines after it mean that somebody else was at the file.
    let mut rest = Vec::new();
    while manifest.read_until(b'\n', &mut rest).map_err(failed)? > 0 {
        if whole(&rest).is_some() {
            return Err(Error::Damaged { path, reason: format!("line {number} is malformed") });
        }
        rest.clear();
    }
    Ok(found)
}

fn whole(line: &[u8]) -> Option<Entry> {
    parse(line.strip_suffix(b"\n")?).ok()
}
