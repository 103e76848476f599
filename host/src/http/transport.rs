//! Carries one request to a server and its answer back: connections, TLS, timeouts, the size of what is received. It knows
//! nothing of policy, retries or secrets, and follows no redirect.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::HeaderMap;
use ::http::{HeaderValue, Method};
use bytes::{Bytes, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::address::{AddressRefused, Resolver};
use super::proxy::{Proxy, Way};
use super::server::{Server, proxy_wants_credentials};

/// A request as it goes over the wire, with its secrets. `Debug` shows neither query nor headers nor body.
#[derive(Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: Url,
    /// Every header but those that frame the message.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.url.origin().ascii_serialization(), self.url.path())
    }
}

/// An answer as it came.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The status.
    pub status: u16,
    /// Names in lower case and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body as received, still encoded.
    pub body: Bytes,
}

/// What kind of failure it was, as far as it matters for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The address is refused.
    Denied,
    /// There was no connection; nothing of the request was sent.
    Connect,
    /// The server is not trusted, does not speak TLS, or breaks a limit. Trying again changes nothing.
    Final,
    /// The server took too long.
    Timeout,
    /// The connection broke, or the answer is cut short or malformed.
    Broken,
    /// The answer is larger than this limit, in bytes.
    TooLarge(u64),
    /// The request can't be sent at all.
    Invalid,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// What failed and the next step, for a user.
    pub text: String,
    /// What was received until then.
    pub partial: Option<Box<Incoming>>,
}

impl Failure {
    /// Makes a failure before anything was received.
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), partial: None }
    }
}

/// A request under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Incoming, Failure>> + Send + 'a>>;

/// Something that answers requests: a network, a script of a test, an archive. Dropping what `send` returns abandons the
/// request.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and receives the answer, with a body of at most `max_body_bytes`.
    fn send(&self, request: Outgoing, max_body_bytes: u64) -> Sending<'_>;
}

/// A transport that takes the network's place. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Carrier(pub Arc<dyn Transport>);

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[carrier]")
    }
}

/// A client's certificate chain and private key, PEM. `Debug` shows neither.
#[derive(Clone)]
pub struct ClientPem {
    /// The chain, its own certificate first.
    pub certificates: Vec<u8>,
    /// The key: PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[client certificate]")
    }
}

/// How the network is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest wait for a connection, TLS included. 10 seconds by default.
    pub connect_timeout: Duration,
    /// Longest wait for the next byte. 30 seconds by default.
    pub idle_timeout: Duration,
    /// Longest exchange as a whole. 5 minutes by default; a server that drips its answer is cut off here.
    pub total_timeout: Duration,
    /// Certificates of further authorities to trust, PEM. The authorities of the Mozilla root program are always trusted.
    pub ca_pem: Option<Vec<u8>>,
    /// Certificate and key that this client shows, PEM. None by default.
    pub client_pem: Option<ClientPem>,
    /// Proxies; the first that a request's scheme fits carries it. None by default.
    pub proxies: Vec<Proxy>,
    /// Hosts that are asked without a proxy, in the form of `NO_PROXY`: names (with all below them), addresses and networks,
    /// separated by commas, or `*`.
    pub no_proxy: Option<String>,
    /// Most headers of an answer. 200 by default.
    pub max_headers: usize,
    /// Most bytes of an answer's headers. 64 KiB by default.
    pub max_header_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(300),
            ca_pem: None,
            client_pem: None,
            proxies: Vec::new(),
            no_proxy: None,
            max_headers: 200,
            max_header_bytes: 64 * 1024,
        }
    }
}

/// The network can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The text is no list of PEM certificates.
    #[error("the authorities' certificates are not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// There is no certificate in the text.
    #[error("there is no certificate in the authorities' PEM text")]
    NoCertificate,
    /// A certificate can't be used.
    #[error("TLS can't be set up")]
    Tls(#[source] rustls::Error),
    /// The client's certificate or key can't be used.
    #[error("the client certificate and its key can't be used")]
    ClientCertificate(#[source] Box<dyn StdError + Send + Sync>),
    /// The client refused its settings.
    #[error("the HTTP client can't be set up")]
    Client(#[source] reqwest::Error),
}

/// The network: HTTP/1.1 and HTTP/2 over TCP and TLS 1.2 or 1.3, with connections kept for the next request.
#[derive(Debug, Clone)]
pub struct Network {
    client: reqwest::Client,
    options: Options,
    resolver: Resolver,
    ways: Arc<[Way]>,
}

impl Network {
    /// Makes a network whose connections go only to addresses that `resolver` yields.
    ///
    /// # Errors
    /// [`BuildError`], when the certificates of further authorities can't be read.
    pub fn new(options: Options, resolver: Resolver) -> Result<Self, BuildError> {
        let resolver = resolver.with_proxies(options.proxies.iter().map(|proxy| proxy.host().to_owned()).collect());
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(options.ca_pem.as_deref(), options.client_pem.as_ref())?)
            .dns_resolver(Arc::new(resolver.clone()))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // None but those that were handed in: the library does not look at the environment.
            .no_proxy()
            .connect_timeout(options.connect_timeout)
            .http1_max_headers(options.max_headers)
            .http2_max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX));
        for proxy in &options.proxies {
            client = client.proxy(proxy.build(options.no_proxy.as_deref()).map_err(BuildError::Client)?);
        }
        let client = client.build().map_err(BuildError::Client)?;
        let ways = options.proxies.iter().map(|proxy| Way::new(proxy, options.no_proxy.as_deref())).collect();
        Ok(Self { client, options, resolver, ways })
    }

    /// The proxy that carries a request.
    fn proxy_of(&self, url: &Url) -> Option<&Proxy> {
        self.ways.iter().find(|way| way.carries(url)).map(|way| &way.proxy)
    }

    /// Looks at where a name leads before it is left to a proxy.
    async fn check_for_proxy(&self, url: &Url) -> Result<(), Failure> {
        let Some(url::Host::Domain(name)) = url.host() else { return Ok(()) };
        if !self.proxy_of(url).is_some_and(Proxy::resolves) {
            return Ok(());
        }
        match self.resolver.resolve(name).await {
            Err(error) if error.is::<AddressRefused>() => Err(Failure::new(FailureKind::Denied, error.to_string())),
            // Where the name is not known here, the proxy may know it.
            _ => Ok(()),
        }
    }

    async fn exchange(&self, outgoing: Outgoing, limit: u64) -> Result<Incoming, Failure> {
        let server = Server::of(&outgoing.url, self.proxy_of(&outgoing.url));
        self.check_for_proxy(&outgoing.url).await?;
        let end = Instant::now() + self.options.total_timeout;
        let mut request = reqwest::Request::new(outgoing.method, outgoing.url);
        *request.headers_mut() = outgoing.headers;
        *request.body_mut() = outgoing.body.map(reqwest::Body::from);

        let first_byte = Instant::now() + self.options.connect_timeout + self.options.idle_timeout;
        let answer = timeout_at(first_byte.min(end), self.client.execute(request)).await;
        let mut response = match answer {
            Err(_) if end <= first_byte => return Err(server.endless(self.options.total_timeout)),
            Err(_) => return Err(server.silent(self.options.idle_timeout)),
            Ok(Err(error)) => return Err(server.failure(&error, &self.options)),
            Ok(Ok(response)) => response,
        };
        if response.status().as_u16() == 407
            && let Some(proxy) = &server.proxy
        {
            return Err(Failure::new(FailureKind::Final, proxy_wants_credentials(proxy)));
        }
        let mut incoming =
            Incoming { status: response.status().as_u16(), headers: headers(response.headers()), body: Bytes::new() };
        let header_bytes: usize = incoming.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if header_bytes > self.options.max_header_bytes {
            let text = format!(
                "{} sent headers of {header_bytes} bytes, more than the limit of {}",
                server.name, self.options.max_header_bytes
            );
            return Err(Failure::new(FailureKind::Final, text));
        }
        let announced = response.content_length().unwrap_or(0);
        if announced > limit {
            return Err(server.too_large(limit, incoming));
        }
        let mut body = Body::default();
        loop {
            let idle = Instant::now() + self.options.idle_timeout;
            let failure = match timeout_at(idle.min(end), response.chunk()).await {
                Ok(Ok(None)) => break,
                Ok(Ok(Some(chunk))) if body.bytes() + chunk.len() as u64 > limit => {
                    server.too_large(limit, Incoming::default())
                }
                Ok(Ok(Some(chunk))) => {
                    body.push(chunk, announced);
                    continue;
                }
                Ok(Err(error)) => server.failure(&error, &self.options),
                Err(_) if end <= idle => server.endless(self.options.total_timeout),
                Err(_) => server.silent(self.options.idle_timeout),
            };
            incoming.body = body.take();
            return Err(Failure { partial: Some(Box::new(incoming)), ..failure });
        }
        incoming.body = body.take();
        Ok(incoming)
    }
}

impl Transport for Network {
    fn send(&self, request: Outgoing, max_body_bytes: u64) -> Sending<'_> {
        Box::pin(self.exchange(request, max_body_bytes))
    }
}

/// A body that grows. A body of one chunk is not copied.
#[derive(Default)]
struct Body {
    first: Bytes,
    rest: BytesMut,
}

impl Body {
    fn bytes(&self) -> u64 {
        (self.first.len() + self.rest.len()) as u64
    }

    fn push(&mut self, chunk: Bytes, announced: u64) {
        if self.bytes() == 0 {
            self.first = chunk;
            return;
        }
        if self.rest.is_empty() {
            // A server may announce what it likes; more than a little is reserved only as it comes.
            let announced = usize::try_from(announced.min(1024 * 1024)).unwrap_or(0);
            self.rest.reserve(announced.max(self.first.len() + chunk.len()));
            self.rest.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.rest.extend_from_slice(&chunk);
    }

    fn take(&mut self) -> Bytes {
        if self.rest.is_empty() { std::mem::take(&mut self.first) } else { std::mem::take(&mut self.rest).freeze() }
    }
}

fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// A header's value as text: UTF-8 where it is that, else Latin-1, as HTTP once had it.
fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

fn tls(ca_pem: Option<&[u8]>, client: Option<&ClientPem>) -> Result<rustls::ClientConfig, BuildError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        let known = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(BuildError::Pem)?).map_err(BuildError::Tls)?;
        }
        if roots.len() == known {
            return Err(BuildError::NoCertificate);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(BuildError::Tls)?
        .with_root_certificates(roots);
    let mut config = match client {
        None => config.with_no_client_auth(),
        Some(pem) => {
            let certificates = CertificateDer::pem_slice_iter(&pem.certificates).collect::<Result<Vec<_>, _>>();
            let certificates = certificates.map_err(|error| BuildError::ClientCertificate(error.into()))?;
            let key = PrivateKeyDer::from_pem_slice(&pem.key);
            let key = key.map_err(|error| BuildError::ClientCertificate(error.into()))?;
            let config = config.with_client_auth_cert(certificates, key);
            config.map_err(|error| BuildError::ClientCertificate(error.into()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
