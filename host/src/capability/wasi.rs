//! WASI for language runtimes, with nothing behind it: no folder, variable, argument or socket. Standard output and
//! error become log lines; the wall clock is the host's and random numbers come from a recorded seed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder};

use super::log::LogCtx;
use crate::engine::limits::LimitReached;
use crate::event::Level;
use crate::time::Time;

/// Bytes of one line of standard output before it is cut into several.
const LINE_BYTES: usize = 8 << 10;

/// Makes the WASI state of one guest.
pub(crate) fn context(log: &LogCtx, time: &Arc<dyn Time>, seed: u64) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(Lines { log: log.clone(), level: Level::Info })
        .stderr(Lines { log: log.clone(), level: Level::Warn })
        .wall_clock(HostClock(time.clone()))
        .monotonic_clock(HostClock(time.clone()))
        .secure_random(ChaCha12Rng::seed_from_u64(seed))
        .insecure_random(ChaCha12Rng::seed_from_u64(seed.wrapping_add(1)))
        .insecure_random_seed(u128::from(seed))
        // Nobody needs a megabyte of random bytes at once; the host would have to allocate it.
        .max_random_size(1 << 20)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
}

struct HostClock(Arc<dyn Time>);

impl HostWallClock for HostClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now_ms())
    }
}

impl HostMonotonicClock for HostClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// An output whose lines go to the log.
struct Lines {
    log: LogCtx,
    level: Level,
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Asked for by later versions of WASI only, which are not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(LineWriter { log: self.log.clone(), level: self.level, line: Vec::new() })
    }
}

struct LineWriter {
    log: LogCtx,
    level: Level,
    line: Vec<u8>,
}

impl LineWriter {
    fn end_line(&mut self) -> Result<(), LimitReached> {
        let line = std::mem::take(&mut self.line);
        self.log.write(self.level, &String::from_utf8_lossy(&line), &[])
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineWriter {
    async fn ready(&mut self) {}
}

impl OutputStream for LineWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        for byte in bytes {
            if byte == b'\n' || self.line.len() >= LINE_BYTES {
                self.end_line().map_err(|limit| StreamError::Trap(limit.into()))?;
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE_BYTES)
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            // The volume may be used up; whoever wrote the line is gone and can't be told.
            let _ = self.end_line();
        }
    }
}
