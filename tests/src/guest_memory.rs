//! The memory of guests as it is seen from outside: the linear memories of a `host` process, read while it stands still.
//!
//! wasmtime reserves 4 GiB of addresses for each linear memory, with guards around; the guest can touch the part that is
//! readable, at its beginning. Nothing else of the process has that shape, so nothing else is looked at: the host holds
//! secrets, and guests must not.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    process::Command,
    time::{Duration, Instant},
};

/// What wasmtime reserves, less what of it can be touched at most.
const RESERVED: u64 = 3 << 30;
/// A process that is told to stop has done so by then.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// A process that stands still until the value is dropped.
#[derive(Debug)]
pub struct Stopped {
    pid: u32,
}

impl Stopped {
    /// Stops a process, and waits until all of its threads stand.
    ///
    /// # Errors
    /// Where there is no such process, or it goes on.
    pub fn new(pid: u32) -> io::Result<Self> {
        signal(pid, "-STOP")?;
        let stopped = Self { pid };
        let begun = Instant::now();
        while !stopped.stands()? {
            if begun.elapsed() > STOPS_WITHIN {
                return Err(io::Error::other("the process does not stop"));
            }
            std::thread::yield_now();
        }
        Ok(stopped)
    }

    fn stands(&self) -> io::Result<bool> {
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let stat = fs::read_to_string(task?.path().join("stat"))?;
            // The name before it may hold anything but a bracket behind it.
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
            if !matches!(state, Some('T' | 't' | 'X' | 'Z')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the guests of the process can touch, one text of bytes for each linear memory.
    ///
    /// # Errors
    /// Where the process can't be looked into.
    pub fn memories(&self) -> io::Result<Vec<Vec<u8>>> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        let memory = File::open(format!("/proc/{}/mem", self.pid))?;
        linear(&maps)
            .into_iter()
            .map(|(from, to)| {
                let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
                memory.read_exact_at(&mut bytes, from)?;
                Ok(bytes)
            })
            .collect()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Where it is gone there is nobody to go on.
        let _ = signal(self.pid, "-CONT");
    }
}

fn signal(pid: u32, signal: &str) -> io::Result<()> {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill {signal} {pid}: {status}"))) }
}

/// The addresses of what can be touched of each linear memory.
fn linear(maps: &str) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    // What can be read without a gap, up to here.
    let mut readable: Option<(u64, u64)> = None;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let address = |text: &str| u64::from_str_radix(text, 16).ok();
        let Some((Some(from), Some(to))) = range.split_once('-').map(|(from, to)| (address(from), address(to))) else {
            continue;
        };
        let before = readable.take().filter(|(_, end)| *end == from);
        if rights.starts_with("rw") {
            readable = Some((before.map_or(from, |(begin, _)| begin), to));
        } else if rights.starts_with("---") && to - from >= RESERVED {
            found.extend(before);
        }
    }
    found
}

/// Texts to look for, all in one pass.
#[derive(Debug)]
pub struct Needles {
    texts: Vec<String>,
    begin: Vec<Vec<usize>>,
}

impl Needles {
    /// Takes the texts.
    #[must_use]
    pub fn new(texts: Vec<String>) -> Self {
        let mut begin = vec![Vec::new(); 256];
        for (number, text) in texts.iter().enumerate() {
            if let Some(first) = text.bytes().next() {
                begin[usize::from(first)].push(number);
            }
        }
        Self { texts, begin }
    }

    /// Those that stand in a memory.
    #[must_use]
    pub fn found<'a>(&'a self, memory: &[u8]) -> Vec<&'a str> {
        let mut found = vec![false; self.texts.len()];
        for (at, byte) in memory.iter().enumerate() {
            for number in &self.begin[usize::from(*byte)] {
                found[*number] |= memory[at..].starts_with(self.texts[*number].as_bytes());
            }
        }
        self.texts.iter().zip(found).filter(|(_, found)| *found).map(|(text, _)| text.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_memory_is_told_from_everything_else_by_its_reservation() {
        let maps = "\
            55d000000000-55d000100000 r-xp 00000000 08:01 1 /bin/host\n\
            7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n\
            7f0000021000-7f0004000000 ---p 00000000 00:00 0 \n\
            7f1000000000-7f1002000000 ---p 00000000 00:00 0 \n\
            7f1002000000-7f1002110000 rw-p 00000000 00:01 7 /memfd:wasm-memory-image (deleted)\n\
            7f1002110000-7f1002120000 rw-p 00000000 00:00 0 \n\
            7f1002120000-7f1104000000 ---p 00000000 00:00 0 \n\
            7f2000000000-7f2000001000 rw-p 00000000 00:00 0 \n\
            7f3000000000-7f3102000000 ---p 00000000 00:00 0 \n";
        assert_eq!(linear(maps), [(0x7f10_0200_0000, 0x7f10_0212_0000)]);
    }

    #[test]
    fn texts_are_found_wherever_they_begin_and_end() {
        let needles = Needles::new(["abc", "cab", "zz"].map(str::to_owned).into());
        assert_eq!(needles.found(b"..abcab"), ["abc", "cab"]);
        assert!(needles.found(b"ab").is_empty());
    }
}
