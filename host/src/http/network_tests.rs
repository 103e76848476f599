//! The network against servers on loopback that do what servers should and should not do.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::write::GzEncoder;
use std::io::Write as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::address::{Resolver, SystemNames};
use super::transport::Options;
use super::*;

/// What a server does with a request.
enum Reply {
    /// Answers, and keeps the connection.
    Keep(Vec<u8>),
    /// Answers, and closes the connection.
    Close(Vec<u8>),
    /// Answers this much, and then nothing.
    Hang(Vec<u8>),
    /// Answers this much again and again.
    Endless(Vec<u8>),
    /// Answers the first, and then the second again and again.
    Flood(Vec<u8>, Vec<u8>),
}

struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(&str) -> Reply) {
    let mut received = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = received.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut received, rest)).unwrap();
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(bytes) if bytes > 0 => received.extend_from_slice(&chunk[..bytes]),
                _ => return,
            }
        };
        match answer(&head) {
            Reply::Keep(bytes) => stream.write_all(&bytes).await.unwrap(),
            Reply::Close(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                stream.shutdown().await.unwrap();
                return;
            }
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                std::future::pending::<()>().await;
            }
            Reply::Endless(bytes) => while stream.write_all(&bytes).await.is_ok() {},
            Reply::Flood(first, rest) => {
                if stream.write_all(&first).await.is_ok() {
                    while stream.write_all(&rest).await.is_ok() {}
                }
            }
        }
    }
}

async fn serve(answer: impl Fn(&str) -> Reply + Clone + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, SeqCst);
            tokio::spawn(talk(stream, answer.clone()));
        }
    });
    Server { url, connections }
}

fn client_with(granted: &[&str], options: Options, change: impl FnOnce(&mut Config)) -> Client {
    let policy = granted.iter().fold(Policy::default(), |policy, host| policy.named(host.parse().unwrap()));
    let policy = Arc::new(policy);
    let network = Network::new(options, Resolver::new(Arc::clone(&policy), Arc::new(SystemNames))).unwrap();
    let mut config = Config::new(policy, Arc::new(network));
    config.retry.attempts = 1;
    change(&mut config);
    Client::new(config)
}

fn client(granted: &[&str]) -> Client {
    client_with(granted, Options::default(), |_| {})
}

async fn get(client: &Client, url: &str) -> Result<Response, Error> {
    client.send("repos", Request::get(url)).await
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = serve(|_| Reply::Keep(ok("", b"[]"))).await;
    let client = client(&[&server.url]);
    for _ in 0..5 {
        assert_eq!(get(&client, &server.url).await.unwrap().body, "[]");
    }
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn what_is_sent_is_what_was_asked_for() {
    let server = serve(|head| Reply::Keep(ok("", head.as_bytes()))).await;
    let client = client(&[&server.url]);
    let request = Request {
        query: vec![("n".to_owned(), "a b".to_owned())],
        headers: vec![("X-A".to_owned(), "1".to_owned()), ("accept".to_owned(), "application/json".to_owned())],
        ..Request::get(format!("{}/p%2Fq?_next=1%2C2~3,4", server.url))
    };
    let response = client.send("repos", request).await.unwrap();
    let head = String::from_utf8(response.body.to_vec()).unwrap().to_lowercase();
    assert!(head.starts_with("get /p%2fq?_next=1%2c2~3,4&n=a%20b http/1.1\r\n"), "{head}");
    for header in ["x-a: 1\r\n", "accept: application/json\r\n", "accept-encoding: gzip, br, zstd, deflate\r\n"] {
        assert_eq!(head.matches(header).count(), 1, "{head}");
    }
}

#[tokio::test]
async fn encoded_bodies_are_decoded_and_counted_as_received() {
    let text = "some text, ".repeat(1_000);
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 5, 20).write_all(text.as_bytes()).unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, body) in [("gzip", gzip.finish().unwrap()), ("br", br), ("zstd", zstd)] {
        let bytes = body.len() as u64;
        let server = serve(move |_| Reply::Keep(ok(&format!("content-encoding: {name}\r\n"), &body))).await;
        let response = get(&client(&[&server.url]), &server.url).await.unwrap();
        assert_eq!((response.body, response.received_bytes), (Bytes::from(text.clone()), bytes), "{name}");
    }
}

#[tokio::test]
async fn a_refused_connection_says_what_to_check() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let error = get(&client(&[&url]), &url).await.unwrap_err().to_string();
    let start = format!("no response: no connection to 127.0.0.1:{port} (");
    assert!(error.starts_with(&start) && error.contains("onnection refused"), "{error}");
    assert!(error.ends_with("check that the server runs and that the port is right"), "{error}");
}

#[tokio::test]
async fn a_cut_body_is_an_error_and_tried_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let server = serve(move |_| match seen.fetch_add(1, SeqCst) {
        0 => Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[1,2".to_vec()),
        1 => Reply::Close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1,2".to_vec()),
        2 => Reply::Close(Vec::new()),
        3 => Reply::Close(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        _ => Reply::Keep(ok("", b"[]")),
    })
    .await;
    let patient = client_with(&[&server.url], Options::default(), |config| {
        config.retry.attempts = 6;
        config.time = Arc::new(crate::time::VirtualClock::starting_at(0));
    });
    assert_eq!(get(&patient, &server.url).await.unwrap().attempts, 5);
    count.store(0, SeqCst);
    for _ in 0..4 {
        let error = get(&client(&[&server.url]), &server.url).await.unwrap_err().to_string();
        assert!(error.contains("broke off or is not HTTP"), "{error}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_idle_timeout() {
    let start = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[1,2".to_vec();
    for sent in [Vec::new(), start] {
        let server = serve(move |_| Reply::Hang(sent.clone())).await;
        // A slow machine may need a while to connect, and silence has no other end than this.
        let (connect_timeout, idle_timeout) = (Duration::from_secs(1), Duration::from_millis(20));
        let options = Options { connect_timeout, idle_timeout, ..Options::default() };
        let error = get(&client_with(&[&server.url], options, |_| {}), &server.url).await.unwrap_err().to_string();
        assert_eq!(error, "no response: 127.0.0.1 sent nothing for 0.02 s");
    }
}

#[tokio::test]
async fn a_drip_without_end_ends_at_the_total_timeout() {
    let server = serve(|_| Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    let options = Options { total_timeout: Duration::from_millis(50), ..Options::default() };
    let unlimited = client_with(&[&server.url], options, |config| config.max_body_bytes = u64::MAX);
    let error = get(&unlimited, &server.url).await.unwrap_err().to_string();
    assert_eq!(error, "no response: 127.0.0.1 did not finish its answer within 0.05 s");
}

#[tokio::test]
async fn informational_answers_without_end_end_at_the_total_timeout() {
    let server = serve(|_| Reply::Endless(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec())).await;
    let options = Options { total_timeout: Duration::from_millis(50), ..Options::default() };
    let error = get(&client_with(&[&server.url], options, |_| {}), &server.url).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn bodies_end_at_the_limit() {
    let gzip = |bytes: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0; bytes]).unwrap();
        ok("content-encoding: gzip\r\n", &encoder.finish().unwrap())
    };
    for answer in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n".to_vec(),
        ok("", &[b'1'; 100_001]),
        [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'1'; 1_000_000]].concat(),
        gzip(50_000_000),
    ] {
        let server = serve(move |_| Reply::Close(answer.clone())).await;
        let small = client_with(&[&server.url], Options::default(), |config| config.max_body_bytes = 100_000);
        let error = get(&small, &server.url).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge(100_000)), "{error}");
    }
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let many = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let large = format!("x-large: {}\r\n", "a".repeat(100_000));
    for headers in [many, large] {
        let server = serve(move |_| Reply::Keep(ok(&headers, b"[]"))).await;
        let error = get(&client(&[&server.url]), &server.url).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
    }
    // Millions of them, of which each is small: the connection ends long before the time of the request is over.
    for line in ["x: 1\r\n".repeat(1_000), format!("x: {}\r\n", "a".repeat(1_000)), "a".repeat(1_000)] {
        let server = serve(move |_| Reply::Flood(b"HTTP/1.1 200 OK\r\n".to_vec(), line.clone().into_bytes())).await;
        let begun = std::time::Instant::now();
        let error = get(&client(&[&server.url]), &server.url).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_is_refused_unless_it_is_named() {
    let server = serve(|_| {
        Reply::Keep(
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )
    })
    .await;
    let error = get(&client(&[&server.url]), &server.url).await.unwrap_err();
    assert!(matches!(&error, Error::Denied(text) if text.contains("169.254.169.254")), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_to_loopback_is_refused_unless_the_user_named_it() {
    let server = serve(|_| Reply::Keep(ok("", b"[]"))).await;
    let url = server.url.replace("127.0.0.1", "localhost");
    let described = Arc::new(Policy::default().described(url.parse().unwrap()));
    let network = Network::new(Options::default(), Resolver::new(Arc::clone(&described), Arc::new(SystemNames)));
    let refusing = Client::new(Config::new(described, Arc::new(network.unwrap())));
    let error = get(&refusing, &url).await.unwrap_err().to_string();
    assert!(error.starts_with("request denied: host localhost leads to "), "{error}");
    assert!(error.contains("which is loopback; to allow it, name it: --allow-host localhost"), "{error}");
    assert_eq!(server.connections.load(SeqCst), 0);
    assert_eq!(get(&client(&[&url]), &url).await.unwrap().body, "[]");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_says_so() {
    let error = get(&client(&["nowhere.invalid"]), "https://nowhere.invalid/").await.unwrap_err().to_string();
    assert!(error.starts_with("no response: the name nowhere.invalid leads nowhere ("), "{error}");
    assert!(error.ends_with("check the name and the network"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_says_so() {
    let server = serve(|_| Reply::Close(ok("", b"[]"))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = get(&client(&[&url]), &url).await.unwrap_err().to_string();
    assert!(error.contains("does not speak TLS on port") && error.contains("start with http://"), "{error}");
    drop(server);
}

/// A server with a certificate of its own for the name `localhost`; returns its URL and its certificate.
async fn serve_tls(protocols: &[&str], preface: Arc<Mutex<Vec<u8>>>) -> (String, Vec<u8>) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&preface));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    // What a client of HTTP/2 says first (RFC 9113, section 3.4).
                    let mut preface = [0; 24];
                    let _ = stream.read_exact(&mut preface).await;
                    seen.lock().unwrap().extend_from_slice(&preface);
                } else {
                    talk(stream, |_| Reply::Keep(ok("", b"[]"))).await;
                }
            });
        }
    });
    (format!("https://localhost:{port}"), own.cert.pem().into_bytes())
}

#[tokio::test]
async fn an_unknown_authority_is_refused_until_its_certificate_is_given() {
    let (url, pem) = serve_tls(&["http/1.1"], Arc::default()).await;
    let error = get(&client(&[&url]), &url).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "no response: no authority that is trusted here has signed the certificate of localhost; to trust its own, add \
         --ca-file"
    );
    let options = Options { ca_pem: Some(pem), ..Options::default() };
    let trusting = client_with(&[&url, &url.replace("localhost", "127.0.0.1")], options, |_| {});
    assert_eq!(get(&trusting, &url).await.unwrap().body, "[]");
    let error = get(&trusting, &url.replace("localhost", "127.0.0.1")).await.unwrap_err().to_string();
    assert!(error.contains("the certificate that 127.0.0.1 shows is for another host"), "{error}");
}

#[test]
fn a_file_without_certificates_is_an_error() {
    let resolver = || Resolver::new(Arc::new(Policy::default()), Arc::new(SystemNames));
    for pem in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let options = Options { ca_pem: Some(pem.into()), ..Options::default() };
        assert!(Network::new(options, resolver()).is_err(), "{pem}");
    }
}

#[tokio::test]
async fn a_server_that_offers_http_2_is_spoken_to_in_it() {
    let preface = Arc::default();
    let (url, pem) = serve_tls(&["h2", "http/1.1"], Arc::clone(&preface)).await;
    let options = Options { ca_pem: Some(pem), ..Options::default() };
    get(&client_with(&[&url], options, |_| {}), &url).await.unwrap_err();
    assert_eq!(preface.lock().unwrap().as_slice(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks_for_it() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(client.cert.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(talk(stream, |_| Reply::Keep(ok("", b"[]"))));
            }
        }
    });
    let options = Options { ca_pem: Some(own.cert.pem().into_bytes()), ..Options::default() };
    let error = get(&client_with(&[&url], options.clone(), |_| {}), &url).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
    let client_pem = Some(super::transport::ClientPem {
        certificates: client.cert.pem().into_bytes(),
        key: client.signing_key.serialize_pem().into_bytes(),
    });
    let known = client_with(&[&url], Options { client_pem, ..options.clone() }, |_| {});
    assert_eq!(get(&known, &url).await.unwrap().body, "[]");
    // A key that is none, and one of another certificate.
    for key in ["no key".to_owned(), own.signing_key.serialize_pem()] {
        let client_pem =
            super::transport::ClientPem { certificates: client.cert.pem().into_bytes(), key: key.into_bytes() };
        let options = Options { client_pem: Some(client_pem), ..options.clone() };
        let resolver = Resolver::new(Arc::new(Policy::default()), Arc::new(SystemNames));
        assert!(Network::new(options, resolver).is_err());
    }
}

fn through(proxy: &str, no_proxy: Option<&str>) -> Options {
    let proxies = vec![super::proxy::Proxy::new(super::proxy::Of::All, proxy).unwrap()];
    Options { proxies, no_proxy: no_proxy.map(str::to_owned), ..Options::default() }
}

#[tokio::test]
async fn an_http_proxy_carries_what_the_policy_allows_and_nothing_else() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let heads = Arc::clone(&seen);
    let proxy = serve(move |head| {
        heads.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
        Reply::Keep(ok("", b"[\"by proxy\"]"))
    })
    .await;
    let direct = serve(|_| Reply::Keep(ok("", b"[\"direct\"]"))).await;
    let described = |name: &str| {
        let policy = Policy::default().described(name.parse().unwrap()).named(direct.url.parse().unwrap());
        let policy = Arc::new(policy);
        let options = through(&proxy.url, Some("127.0.0.1"));
        let network = Network::new(options, Resolver::new(Arc::clone(&policy), Arc::new(SystemNames))).unwrap();
        let mut config = Config::new(policy, Arc::new(network));
        config.retry.attempts = 1;
        Client::new(config)
    };
    // A name that nobody here knows is the proxy's to find.
    let client = described("http://api.invalid");
    assert_eq!(get(&client, "http://api.invalid/x").await.unwrap().body, "[\"by proxy\"]");
    assert_eq!(get(&client, &direct.url).await.unwrap().body, "[\"direct\"]");
    // One that leads inside is refused, though the proxy might lead it elsewhere.
    let error = get(&described("http://localhost"), "http://localhost/x").await.unwrap_err();
    assert!(matches!(&error, Error::Denied(text) if text.contains("rule private-address")), "{error}");
    assert!(matches!(get(&client, "http://evil.invalid/").await, Err(Error::Denied(_))));
    assert_eq!(*seen.lock().unwrap(), ["GET http://api.invalid/x HTTP/1.1"]);
}

#[tokio::test]
async fn a_socks5_proxy_is_told_the_address_that_was_checked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("socks5://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // RFC 1928: the greeting, then a request for an address of IPv4 (type 1).
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut request = [0; 10];
            stream.read_exact(&mut request).await.unwrap();
            kept.lock().unwrap().push(request.to_vec());
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            tokio::spawn(talk(stream, |_| Reply::Keep(ok("", b"[]"))));
        }
    });
    struct Public;
    impl super::address::Names for Public {
        fn lookup(&self, name: &str) -> super::address::Lookup {
            let address = if name == "inside.example" { "10.0.0.1" } else { "140.82.112.5" };
            Box::pin(std::future::ready(Ok(vec![address.parse().unwrap()])))
        }
    }
    let policy = Policy::default().described("http://api.example".parse().unwrap());
    // Plain http has to be the user's word, but not the address.
    let policy = Arc::new(policy.described("http://inside.example".parse().unwrap()));
    let network = Network::new(through(&proxy, None), Resolver::new(Arc::clone(&policy), Arc::new(Public))).unwrap();
    let mut config = Config::new(policy, Arc::new(network));
    config.retry.attempts = 1;
    let client = Client::new(config);
    assert_eq!(get(&client, "http://api.example/x").await.unwrap().body, "[]");
    assert_eq!(*asked.lock().unwrap(), [[5, 1, 0, 1, 140, 82, 112, 5, 0, 80]]);
    let error = get(&client, "http://inside.example/x").await.unwrap_err();
    assert!(matches!(&error, Error::Denied(text) if text.contains("rule private-address")), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 1);
}
