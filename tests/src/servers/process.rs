//! A child process that listens on ports of 127.0.0.1, and ports that nobody else takes meanwhile.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::ServerError;

/// Servers in Python take seconds to import themselves, and many times that on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// Short against a start, long against a connection attempt.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// The running child; dropping it ends it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    folder: tempfile::TempDir,
    _ports: Vec<Port>,
}

/// The first of the ports that may be claimed; below, services of the system listen.
const FIRST: u16 = 10_000;
/// Linux's own default for the first port that it gives out by itself.
const GIVEN_OUT_FROM: u16 = 32_768;

/// A free port, claimed for a server that is about to listen on it.
///
/// It lies below those that the system gives to whoever does not care, so that no connection and no other listener is there
/// by chance. Tests of other threads and processes are kept away by a UDP socket on the same number, which is gone with the
/// process that holds it.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims one.
    pub(super) fn claim() -> io::Result<Self> {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let end = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(GIVEN_OUT_FROM);
        let end = if end > FIRST { end } else { GIVEN_OUT_FROM };
        let begin = fastrand::u16(FIRST..end);
        for number in (begin..end).chain(FIRST..begin) {
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free"))
    }

    /// Its number.
    pub(super) fn number(&self) -> u16 {
        self.number
    }
}

impl Process {
    /// Starts a command in a folder of its own and waits until the last of its ports takes connections.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        folder: tempfile::TempDir,
        ports: Vec<Port>,
    ) -> Result<Self, ServerError> {
        let log = File::create(folder.path().join("log.txt"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(folder.path());
        let port = ports.last().map_or(0, Port::number);
        let mut process = Self { child: command.spawn()?, folder, _ports: ports };
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
