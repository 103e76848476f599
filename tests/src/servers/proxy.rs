//! A proxy that is told where to go: HTTP with CONNECT, the same over TLS, or SOCKS5. It keeps what it was asked.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rcgen::generate_simple_self_signed;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP.
    Http,
    /// HTTP over TLS, with a certificate of its own for `localhost`.
    Https,
    /// SOCKS5, RFC 1928, with a name and a password where it is given some (RFC 1929).
    Socks5,
    /// HTTP, and nobody is let through.
    Refusing,
}

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    speaks: Speaks,
    certificate: String,
    asked: Arc<Mutex<Vec<String>>>,
    _stop: oneshot::Sender<()>,
}

impl Proxy {
    /// Starts it.
    ///
    /// # Errors
    /// Where no port is free, or no certificate can be made.
    pub fn start(speaks: Speaks) -> io::Result<Self> {
        let own = generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|tls| tls.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key))
            .map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let heard = asked.clone();
        thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                let serving = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (acceptor, heard) = (acceptor.clone(), heard.clone());
                        // A client that goes away in the middle is no failure of the proxy's.
                        tokio::spawn(async move {
                            let _ = match speaks {
                                Speaks::Https => match acceptor.accept(stream).await {
                                    Ok(stream) => http(stream, &heard, true).await,
                                    Err(error) => Err(error),
                                },
                                Speaks::Http => http(stream, &heard, true).await,
                                Speaks::Refusing => http(stream, &heard, false).await,
                                Speaks::Socks5 => socks5(stream, &heard).await,
                            };
                        });
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, speaks, certificate: own.cert.pem(), asked, _stop: stop })
    }

    /// Its URL, with a name and a password where there are some, as `user:password@`.
    #[must_use]
    pub fn url(&self, login: &str) -> String {
        let port = self.address.port();
        match self.speaks {
            Speaks::Https => format!("https://{login}localhost:{port}"),
            Speaks::Http | Speaks::Refusing => format!("http://{login}127.0.0.1:{port}"),
            Speaks::Socks5 => format!("socks5://{login}127.0.0.1:{port}"),
        }
    }

    /// The certificate that it shows, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What it was asked since the last time: `GET http://…`, `CONNECT host:port` or `SOCKS5 host:port`, each with the
    /// credentials that came along.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn note(asked: &Mutex<Vec<String>>, text: String) {
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

async fn http<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    asked: &Mutex<Vec<String>>,
    lets_through: bool,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // One byte at a time: what follows is not the proxy's to read.
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).map_err(|_| malformed("the head"))?;
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let login = |line: &&str| line.to_ascii_lowercase().starts_with("proxy-authorization:");
    let credentials = lines.clone().find(login).map(|line| format!(" {line}")).unwrap_or_default();
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    note(asked, format!("{method} {target}{credentials}"));
    if !lets_through {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"proxy\"\r\n\
                       content-length: 8\r\nconnection: close\r\n\r\nwho are?";
        return stream.write_all(refusal.as_bytes()).await;
    }
    if method == "CONNECT" {
        let mut server = TcpStream::connect(target).await?;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        return copy_bidirectional(&mut stream, &mut server).await.map(drop);
    }
    let url = url::Url::parse(target).map_err(|_| malformed("the target"))?;
    let host = url.host_str().unwrap_or_default();
    let mut server = TcpStream::connect((host, url.port_or_known_default().unwrap_or(80))).await?;
    let own: Vec<&str> = lines.filter(|line| !login(line)).collect();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let sent = format!("{method} {}{query} HTTP/1.1\r\n{}\r\nconnection: close\r\n\r\n", url.path(), own.join("\r\n"));
    server.write_all(sent.as_bytes()).await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn socks5(mut stream: TcpStream, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let [_, count] = [stream.read_u8().await?, stream.read_u8().await?];
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    let mut credentials = String::new();
    if methods.contains(&2) {
        stream.write_all(&[5, 2]).await?;
        stream.read_u8().await?;
        for mark in [" ", ":"] {
            let mut text = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut text).await?;
            credentials.push_str(mark);
            credentials.push_str(&String::from_utf8_lossy(&text));
        }
        stream.write_all(&[1, 0]).await?;
    } else {
        stream.write_all(&[5, 0]).await?;
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
        3 => {
            let mut name = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
        _ => return Err(malformed("the kind of address")),
    };
    let port = stream.read_u16().await?;
    note(asked, format!("SOCKS5 {host}:{port}{credentials}"));
    let mut server = TcpStream::connect((host.as_str(), port)).await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}
