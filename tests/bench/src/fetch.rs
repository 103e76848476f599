//! Pages over HTTP/1.1 with connections that are kept, fetched while others are decoded.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use url::Url;

use crate::text::PADDING;

/// Pages that wait for the decoder, on each connection.
const WAITING_PAGES: usize = 2;

/// How the list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `?cursor=` of the page before, one after the other.
    Cursor,
    /// `?offset=&limit=` up to the first page's total, with so many requests in flight.
    Offset {
        /// Records of a page.
        limit: u64,
        /// Requests at a time.
        in_flight: u64,
    },
}

/// Where the pages come from, in order: page `n` from receiver `n` modulo their number.
#[derive(Debug)]
pub struct Pages {
    receivers: Vec<Receiver<Vec<u8>>>,
    next: usize,
}

/// Each page has [`PADDING`] zeros behind it. For a thread without a runtime: it waits.
impl Iterator for Pages {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let count = self.receivers.len();
        let page = self.receivers.get_mut(self.next)?.blocking_recv();
        self.next = (self.next + 1) % count;
        page
    }
}

/// What one connection reads.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    /// The last page's length and some more, to have room for the next one.
    room: usize,
}

impl Connection {
    async fn open(url: &Url) -> anyhow::Result<Self> {
        let host = url.host_str().context("a URL without host")?;
        let port = url.port_or_known_default().context("a URL without port")?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: format!("{host}:{port}"), room: 0 })
    }

    async fn page(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        let request = hyper::Request::get(path)
            .header("host", &self.host)
            .header("accept", "application/json")
            .body(Empty::new())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status() != 200 {
            bail!("status {} for {path}", response.status());
        }
        let length = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
        let mut page = Vec::with_capacity(length.unwrap_or(self.room) + PADDING);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                page.extend_from_slice(&data);
            }
        }
        self.room = page.len() + page.len() / 8;
        page.extend_from_slice(&[0; PADDING]);
        Ok(page)
    }
}

/// What stands behind the records of a page.
fn rest(page: &[u8]) -> anyhow::Result<Value> {
    let text = page.get(..page.len() - PADDING).unwrap_or_default();
    let end = memchr::memmem::rfind(text, b"],\"").context("a page with nothing behind its records")?;
    let mut rest = text.get(end + 1..).unwrap_or_default().to_vec();
    if let Some(first) = rest.first_mut() {
        *first = b'{';
    }
    Ok(serde_json::from_slice(&rest)?)
}

/// Starts fetching on a thread of its own. The thread ends with the last page, or when nobody takes pages any more.
pub fn start(url: Url, way: Way) -> anyhow::Result<(Pages, std::thread::JoinHandle<anyhow::Result<()>>)> {
    let count = match way {
        Way::Cursor => 1,
        Way::Offset { in_flight, .. } => usize::try_from(in_flight)?.max(1),
    };
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| channel(WAITING_PAGES)).unzip();
    let fetch = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match way {
                Way::Cursor => cursor(&url, senders).await,
                Way::Offset { limit, .. } => offset(&url, limit.max(1), senders).await,
            }
        })
    };
    let thread = std::thread::Builder::new().name("fetch".to_owned()).spawn(fetch)?;
    Ok((Pages { receivers, next: 0 }, thread))
}

async fn cursor(url: &Url, senders: Vec<Sender<Vec<u8>>>) -> anyhow::Result<()> {
    let mut connection = Connection::open(url).await?;
    let sender = senders.first().context("no receiver")?;
    let mut path = url.path().to_owned();
    loop {
        let page = connection.page(&path).await?;
        let next = rest(&page).ok().and_then(|rest| Some(rest.get("next")?.as_str()?.to_owned()));
        if sender.send(page).await.is_err() {
            return Ok(());
        }
        let Some(next) = next else { return Ok(()) };
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("cursor", &next).finish();
        path = format!("{}?{query}", url.path());
    }
}

async fn offset(url: &Url, limit: u64, senders: Vec<Sender<Vec<u8>>>) -> anyhow::Result<()> {
    let path = |page: u64| format!("{}?offset={}&limit={limit}", url.path(), page * limit);
    let first_path = path(0);
    let mut connection = Connection::open(url).await?;
    let page = connection.page(&first_path).await?;
    let total = rest(&page)?.get("total").and_then(Value::as_u64).context("no total")?;
    let pages = total.div_ceil(limit);
    let mut first = Some((connection, page));
    let step = senders.len();
    let mut tasks = Vec::new();
    for (place, sender) in senders.into_iter().enumerate() {
        let paths: Vec<String> = (place as u64..pages).step_by(step).map(path).collect();
        let (url, first) = (url.clone(), first.take());
        tasks.push(tokio::spawn(async move {
            let mut paths = paths.into_iter();
            let mut connection = match first {
                Some((connection, page)) => {
                    paths.next();
                    if sender.send(page).await.is_err() {
                        return Ok(());
                    }
                    connection
                }
                None => Connection::open(&url).await?,
            };
            for path in paths {
                if sender.send(connection.page(&path).await?).await.is_err() {
                    break;
                }
            }
            Ok::<_, anyhow::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}
