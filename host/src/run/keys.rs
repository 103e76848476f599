//! Primary keys of one read, so that a key that comes twice is seen, also when the read took several runs.
//!
//! A key is kept as a 64-bit hash in a plain file, 8 bytes a record, in the order of the records. With ten million
//! records the chance that two different keys share a hash is 3 in a million. At the end of the read the hashes are
//! looked through in as many passes as memory asks for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Hashes that one pass holds in memory: 8 MiB, so that ten million records need no more memory than one million do.
const PASS_KEYS: u64 = 1 << 20;

/// Bytes that are gathered before they are written: a write for each page costs more than the keys.
const BUFFER_BYTES: usize = 256 << 10;

/// Parts in which the keys of a pass are compared: 4,096 of a full one.
const BUCKETS: usize = 256;

/// Places that a key passes on its way into the table, on the average; half a place is to be expected.
const MAX_STEPS: usize = 16;

/// The keys of one read.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    file: Option<File>,
    /// All keys, those in the buffer included.
    count: u64,
    buffer: Vec<u8>,
}

impl Keys {
    /// Opens the file of a read of which `count` keys are known to be durable; what stands behind them is cut off.
    pub(crate) fn open(folder: &Path, read: i64, count: u64) -> Self {
        Self { path: folder.join(format!("{read}.keys")), file: None, count, buffer: Vec::new() }
    }

    /// Appends keys. They are in the file after [`Keys::flush`].
    pub(crate) fn append(&mut self, hashes: &[u64]) -> io::Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        // Opened before the first keys are counted: it is cut to those that came before.
        self.file()?;
        for hash in hashes {
            self.buffer.extend_from_slice(&hash.to_le_bytes());
        }
        self.count += hashes.len() as u64;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what is gathered; a commit that counts these keys comes after it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.buffer);
        self.file()?.write_all(&bytes)?;
        self.buffer = bytes;
        self.buffer.clear();
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.path)?;
            if file.metadata()?.len() < self.count * 8 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "keys of an earlier run are missing"));
            }
            file.set_len(self.count * 8)?;
            file.seek(SeekFrom::End(0))?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Counts the keys that came more than once: two equal ones count as one.
    pub(crate) fn duplicates(&mut self) -> io::Result<u64> {
        if self.count < 2 {
            return Ok(0);
        }
        self.flush()?;
        let passes = self.count.div_ceil(PASS_KEYS);
        let mut duplicates = 0;
        for pass in 0..passes {
            let room = usize::try_from(self.count / passes / BUCKETS as u64).unwrap_or(0);
            let mut buckets: [Vec<u64>; BUCKETS] = std::array::from_fn(|_| Vec::with_capacity(room + room / 8));
            self.each(|hash| {
                // Hashes are spread evenly, so each part of their range holds as many.
                let place = u128::from(hash) * u128::from(passes);
                if place >> 64 == u128::from(pass)
                    && let Some(bucket) = buckets.get_mut((place as u64 >> 56) as usize)
                {
                    bucket.push(hash);
                }
            })?;
            let mut table = Vec::new();
            duplicates += buckets.iter_mut().map(|bucket| repeated(bucket, &mut table)).sum::<u64>();
        }
        Ok(duplicates)
    }

    fn each(&mut self, mut visit: impl FnMut(u64)) -> io::Result<()> {
        let count = self.count;
        let file = self.file()?;
        file.seek(SeekFrom::Start(0))?;
        let mut block = vec![0; BUFFER_BYTES];
        let mut left = count;
        while left > 0 {
            let keys = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_BYTES / 8);
            let bytes = block.get_mut(..keys * 8).unwrap_or_default();
            file.read_exact(bytes)?;
            bytes.as_chunks::<8>().0.iter().for_each(|key| visit(u64::from_le_bytes(*key)));
            left -= keys as u64;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(())
    }

    /// Removes the file: the read is over.
    pub(crate) fn remove(self) {
        // A file that stays behind is removed at the next start.
        let _ = fs::remove_file(self.path);
    }
}

/// Counts the keys that came before, in a table of twice their number that fits the processor's cache.
fn repeated(keys: &mut [u64], table: &mut Vec<u64>) -> u64 {
    let size = (keys.len() * 2).next_power_of_two();
    table.clear();
    table.resize(size, 0);
    // Zero stands for an empty place.
    let zeros = keys.iter().filter(|key| **key == 0).count() as u64;
    let (mut found, mut steps) = (zeros.saturating_sub(1), 0);
    for key in keys.iter().copied().filter(|key| *key != 0) {
        let mut at = key as usize;
        loop {
            at &= size - 1;
            match table.get_mut(at) {
                Some(place) if *place == 0 => {
                    *place = key;
                    break;
                }
                Some(place) if *place == key => {
                    found += 1;
                    break;
                }
                _ => (at, steps) = (at + 1, steps + 1),
            }
            if steps > MAX_STEPS * keys.len() {
                // A server may have made keys that crowd together; they are sorted, which takes no longer for them.
                keys.sort_unstable();
                return keys.windows(2).filter(|pair| pair.first() == pair.last()).count() as u64;
            }
        }
    }
    found
}

/// Removes the file of a read that is over, where the process that ended it died before it could.
pub(crate) fn forget(folder: &Path, read: i64) {
    Keys::open(folder, read, 0).remove();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_over_runs_and_a_torn_end_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Keys::open(folder.path(), 7, 0);
        keys.append(&[1, 2, 3]).unwrap();
        keys.append(&[99]).unwrap();
        keys.flush().unwrap();
        drop(keys);
        // The run died before the fourth key was committed.
        let mut keys = Keys::open(folder.path(), 7, 3);
        keys.append(&[4, 2]).unwrap();
        assert_eq!(keys.duplicates().unwrap(), 1);
        keys.append(&[4, 99]).unwrap();
        assert_eq!(keys.duplicates().unwrap(), 2);
        keys.remove();
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn keys_are_counted_as_sorting_would_count_them() {
        let mut random = fastrand::Rng::with_seed(7);
        let of_one_place: Vec<u64> = (1..3_000_u64).map(|i| i << 40).collect();
        let few: Vec<u64> = (0..5_000).map(|_| random.u64(0..700)).collect();
        let spread: Vec<u64> = (0..50_000).map(|_| random.u64(..) / 3 * 3).collect();
        for mut keys in
            [vec![], vec![0], vec![0, 0, 0], vec![5, 0, 5, 0], few, [spread.clone(), spread].concat(), of_one_place]
        {
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            let expected = sorted.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
            assert_eq!(repeated(&mut keys, &mut Vec::new()), expected);
            let folder = tempfile::tempdir().unwrap();
            let mut file = Keys::open(folder.path(), 1, 0);
            file.append(&keys).unwrap();
            assert_eq!(file.duplicates().unwrap(), expected);
        }
    }

    #[test]
    fn keys_that_are_missing_are_an_error_and_not_a_clean_bill() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Keys::open(folder.path(), 1, 5);
        assert_eq!(keys.append(&[1]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(keys.duplicates().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
