//! A child process that listens on a port of 127.0.0.1.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::ServerError;

/// Servers in Python take seconds to import themselves on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Short against a start, long against a connection attempt.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// The running child; dropping it ends it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    folder: tempfile::TempDir,
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Process {
    /// Starts a command in a folder of its own and waits until the port takes connections.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        folder: tempfile::TempDir,
        port: u16,
    ) -> Result<Self, ServerError> {
        let log = File::create(folder.path().join("log.txt"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(folder.path());
        let mut process = Self { child: command.spawn()?, folder };
        let begin = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect_timeout(&address, POLL_EVERY).is_err() {
            if process.child.try_wait()?.is_some() {
                return Err(ServerError::Ended { name, output: process.output() });
            }
            if begin.elapsed() > READY_WITHIN {
                return Err(ServerError::Late { name, within: READY_WITHIN, output: process.output() });
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(process)
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The end of what the child said.
    fn output(&self) -> String {
        let text = std::fs::read(self.folder.path().join("log.txt")).unwrap_or_default();
        let tail = text.get(text.len().saturating_sub(2000)..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A child that has ended by itself can't be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
