//! Looks for files, variables, arguments and sockets, and emits what it finds.

use guests::prelude::*;

/// Says whether something could be had.
fn told<T>(result: std::io::Result<T>) -> &'static str {
    if result.is_ok() { "had" } else { "refused" }
}

struct Case;

impl Guest for Case {
    fn read(_: &Config, _: &Read) -> Result<Option<String>> {
        let seen = json!({
            "id": 1,
            "variables": std::env::vars().count(),
            "arguments": std::env::args().count(),
            "folder": told(std::env::current_dir().and_then(std::fs::read_dir)),
            "root": told(std::fs::read_dir("/")),
            "passwords": told(std::fs::read("/etc/passwd")),
            "above": told(std::fs::read("../../../../etc/passwd")),
            "write": told(std::fs::write("/tmp/guest", "was here")),
            "connection": told(std::net::TcpStream::connect(("127.0.0.1", 80))),
            "listener": told(std::net::TcpListener::bind(("127.0.0.1", 0))),
            "datagrams": told(std::net::UdpSocket::bind(("127.0.0.1", 0))),
            "name": told(std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 80))),
            "input": std::io::read_to_string(std::io::stdin()).unwrap_or_default(),
        });
        let _ = Page::json(format!("[{seen}]")).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
