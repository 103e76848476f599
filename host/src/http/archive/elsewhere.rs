//! Bodies that earlier runs of the connection have stored: a full reading of data that did not change asks for the same pages
//! again, and keeps none of them twice.
//!
//! A line names such a body by the run in whose segment it lies. Nothing is copied, so the run's archive is whole only beside
//! that one; what removes archives ([`crate::run::retention`]) leaves the segments that others need.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::reader::{Bodies, Entry};
use super::writer::{Hash, from_hex};
use super::{BodyRef, Reader};

/// Smaller bodies are stored again: a line that names one elsewhere takes nearly as much, and binds a whole segment.
const MIN_BYTES: u64 = 2 * 1024;
/// Bodies remembered of earlier runs: some 20 MB of memory, while the run is under way.
const MAX_BODIES: usize = 65_536;
/// Lines that are read for them: half a second's work, once a run and beside it.
const MAX_LINES: usize = 4 * MAX_BODIES;

/// What earlier runs have stored. Looked up when the first body comes, on the archive's thread.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// The archives' folder and the runs that are still to be read, newest first.
    unread: Option<(PathBuf, Vec<String>)>,
    places: HashMap<Hash, BodyRef>,
}

impl Elsewhere {
    /// Takes the runs whose archives may be shared, newest first, beside the archive in `folder`.
    pub(super) fn new(folder: PathBuf, runs: Vec<String>) -> Self {
        Self { unread: (!runs.is_empty()).then_some((folder, runs)), places: HashMap::new() }
    }

    /// Where a body is, as received with `encoding`.
    pub(super) fn find(&mut self, hash: &Hash, size: usize, encoding: &str) -> Option<BodyRef> {
        if (size as u64) < MIN_BYTES {
            return None;
        }
        if let Some((folder, runs)) = self.unread.take() {
            self.read(&folder, &runs);
        }
        Some(BodyRef { encoding: encoding.to_owned(), ..self.places.get(hash)?.clone() })
    }

    /// Reads what the runs have stored. What cannot be read is not shared: it is stored again.
    fn read(&mut self, folder: &std::path::Path, runs: &[String]) {
        let bodies = Bodies::of(folder);
        let mut there = HashMap::new();
        let mut lines_read = 0;
        for run in runs {
            let Some(other) = super::of_run(folder, run) else { continue };
            let Ok(lines) = Reader::open(&other) else { continue };
            for line in lines.map_while(Result::ok) {
                lines_read += 1;
                if lines_read > MAX_LINES {
                    return;
                }
                let Entry::Exchange(exchange) = line else { continue };
                for mut body in exchange.body.into_iter().filter(|body| body.size >= MIN_BYTES) {
                    if self.places.len() >= MAX_BODIES {
                        return;
                    }
                    body.run.get_or_insert_with(|| run.clone());
                    let segment = (body.run.clone(), body.segment);
                    let size = there.entry(segment).or_insert_with(|| bodies.segment_bytes(&body));
                    let whole =
                        size.is_some_and(|size| body.offset.checked_add(body.length).is_some_and(|end| end <= size));
                    if let (true, Some(hash)) = (whole, from_hex(&body.blake3)) {
                        self.places.entry(hash).or_insert(body);
                    }
                }
            }
        }
    }
}

/// The segments of other runs that the lines of an archive name: run and number.
///
/// # Errors
/// When the archive cannot be read: then nobody knows what it needs.
pub fn needs(folder: &std::path::Path) -> Result<HashSet<(String, u32)>, super::Error> {
    let mut needed = HashSet::new();
    for line in Reader::open(folder)? {
        match line {
            Ok(Entry::Exchange(exchange)) => {
                let bodies = exchange.body.into_iter().chain(exchange.request.body);
                needed.extend(bodies.filter_map(|body| Some((body.run?, body.segment))));
            }
            // A damaged line leads to no body any more.
            Ok(Entry::Note(_)) | Err(super::Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(needed)
}
