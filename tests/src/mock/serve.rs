//! The server: takes requests, keeps the record of them, and answers by the script.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
};
use tower::ServiceExt;

use super::{
    budget::{Budget, Clock, Meter},
    dataset::Change,
    deliver::{Cut, Paced},
    encode::Encoding,
    endpoint::{Endpoint, Listing},
    fault::{Action, RetryAfter, Rule, Script},
    records,
    request::Received,
};

/// Request bodies beyond this are no test's wish.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// Somebody who sees each request before it is answered, and may answer it: with headers and the text of a JSON body. The
/// client waits meanwhile, and so does everybody else.
#[derive(Clone)]
pub(super) struct Watcher(Arc<Look>);

type Look = dyn Fn(&Received) -> Option<(Vec<(&'static str, String)>, String)> + Send + Sync;

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

/// What a server is going to be.
#[derive(Debug, Default)]
pub struct Builder {
    endpoints: Vec<Endpoint>,
    rules: Vec<Rule>,
    budget: Option<Budget>,
    clock: Clock,
    encoding: Encoding,
    tokens: Vec<String>,
    watcher: Option<Watcher>,
    port: u16,
}

/// A running mock API; it ends when the value is dropped.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    base: String,
    listings: Mutex<Vec<Listing>>,
    script: Mutex<Script>,
    meter: Option<Mutex<Meter>>,
    clock: Clock,
    encoding: Encoding,
    tokens: Vec<String>,
    watcher: Option<Watcher>,
    received: Mutex<Vec<Received>>,
    /// How many requests are answered in all; later ones wait.
    answered: watch::Sender<usize>,
    in_flight: AtomicUsize,
    peak_in_flight: AtomicUsize,
}

impl Builder {
    /// Adds a listing.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Keeps a rate limit.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Tells the server what time it is.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Compresses every page.
    #[must_use]
    pub fn encoding(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    /// Refuses requests without `Authorization: Bearer TOKEN` (or `token TOKEN`) with 401.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.push(token.into());
        self
    }

    /// Shows each request to somebody before it is answered.
    #[must_use]
    pub fn watched(
        self,
        look: impl Fn(&Received) -> Option<(Vec<(&'static str, String)>, String)> + Send + Sync + 'static,
    ) -> Self {
        Self { watcher: Some(Watcher(Arc::new(look))), ..self }
    }

    /// Listens on this port instead of a free one.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Starts the server on 127.0.0.1, on a thread of its own.
    ///
    /// # Errors
    /// Where the port is taken or a thread can't be had.
    pub fn start(self) -> io::Result<Api> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            base: format!("http://{address}"),
            listings: Mutex::new(self.endpoints.into_iter().map(Listing::new).collect()),
            script: Mutex::new(Script::new(self.rules)),
            meter: self.budget.map(|budget| Mutex::new(Meter::new(budget))),
            clock: self.clock,
            encoding: self.encoding,
            tokens: self.tokens,
            watcher: self.watcher,
            received: Mutex::default(),
            answered: watch::Sender::new(usize::MAX),
            in_flight: AtomicUsize::new(0),
            peak_in_flight: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let thread = std::thread::Builder::new().name("mock-api".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, router) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Api { address, shared, stop: Some(stop), thread: Some(thread) })
    }
}

impl Api {
    /// Begins a server.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shared.base)
    }

    /// Everything that was received, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Path and query of everything that was received, in order of arrival.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        lock(&self.shared.received).iter().map(Received::target).collect()
    }

    /// Answers so many requests in all, of those that were received and those that come; the others wait until this is called
    /// anew. So a client is held where it is, whatever the machine.
    pub fn answer(&self, requests: usize) {
        self.shared.answered.send_replace(requests);
    }

    /// Forgets what was received; the numbers begin again.
    pub fn forget_requests(&self) {
        lock(&self.shared.received).clear();
    }

    /// Replaces the faults; all counts begin again.
    pub fn script(&self, rules: Vec<Rule>) {
        *lock(&self.shared.script) = Script::new(rules);
    }

    /// Changes the rows behind a concrete path, now.
    pub fn change(&self, path: &str, change: &Change) {
        if let Some(listing) = lock(&self.shared.listings).iter_mut().find(|listing| listing.matches(path).is_some()) {
            listing.change(path, change);
        }
    }

    /// The ids behind a concrete path as they are listed now.
    #[must_use]
    pub fn ids(&self, path: &str) -> Vec<u32> {
        let mut listings = lock(&self.shared.listings);
        let listing = listings.iter_mut().find(|listing| listing.matches(path).is_some());
        listing.map_or_else(Vec::new, |listing| listing.data(path).listed().to_vec())
    }

    /// The JSON texts behind a concrete path as they are listed now.
    #[must_use]
    pub fn records(&self, path: &str) -> Vec<String> {
        let mut listings = lock(&self.shared.listings);
        let found = listings.iter_mut().find_map(|listing| listing.matches(path).map(|parent| (listing, parent)));
        found.map_or_else(Vec::new, |(listing, parent)| {
            let shape = listing.spec.shape;
            let data = listing.data(path);
            data.listed().iter().map(|id| records::text(shape, data.row(*id), parent.as_deref())).collect()
        })
    }

    /// The most requests that were under way at once.
    #[must_use]
    pub fn peak_in_flight(&self) -> usize {
        self.shared.peak_in_flight.load(Ordering::Relaxed)
    }

    /// Waits until the server ends, which it does not by itself.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A server that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // Where the thread has ended there is nobody to tell.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: std::net::TcpListener, router: Router) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Pages are written in one go; waiting for acknowledgements would only add latency.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let router = router.clone();
            async move {
                match router.oneshot(request.map(Body::new)).await {
                    // For an error hyper closes the connection without an answer.
                    Ok(response) if response.extensions().get::<HangUp>().is_some() => Err(Cut),
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Marks a response that is not to be sent.
#[derive(Clone)]
struct HangUp;

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let now_in_flight = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    shared.peak_in_flight.fetch_max(now_in_flight, Ordering::Relaxed);
    let _guard = InFlight(shared.clone());
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_REQUEST_BYTES).await.unwrap_or_default();
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    let mut received = Received {
        number: 0,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect(),
        raw_query,
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body,
        status: None,
    };
    let place = {
        let mut log = lock(&shared.received);
        received.number = log.len() as u64 + 1;
        log.push(received.clone());
        log.len() - 1
    };
    let mut answered = shared.answered.subscribe();
    // It never fails: the sender is in what this function was given.
    let _ = answered.wait_for(|answered| place < *answered).await;
    let instead = shared.watcher.as_ref().and_then(|Watcher(look)| look(&received));
    let reply = match instead {
        Some((headers, body)) => Reply { headers, ..Reply::new(200, "application/json", body) },
        None => shared.reply(&received),
    };
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    if let Some(entry) = lock(&shared.received).get_mut(place).filter(|entry| entry.number == received.number) {
        entry.status = (!reply.hang_up).then_some(reply.status);
    }
    reply.response()
}

struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response before it is one.
#[derive(Debug)]
struct Reply {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    delay: Duration,
    drip: Option<(usize, Duration)>,
    cut: Option<usize>,
    hang_up: bool,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            drip: None,
            cut: None,
            hang_up: false,
        }
    }

    fn error(status: u16, message: &str) -> Self {
        Self::new(status, "application/json", serde_json::json!({ "error": message }).to_string())
    }

    fn retry_after(mut self, retry_after: RetryAfter, now: SystemTime) -> Self {
        match retry_after {
            RetryAfter::None => {}
            RetryAfter::Seconds(seconds) => self.headers.push(("retry-after", seconds.to_string())),
            RetryAfter::Date(seconds) => {
                let date = httpdate::fmt_http_date(now + Duration::from_secs(seconds));
                self.headers.push(("retry-after", date));
            }
        }
        self
    }

    fn response(self) -> Response {
        let length = self.body.len();
        let body = match (self.cut, self.drip) {
            (Some(bytes), _) => Body::new(Paced::cut(&self.body, bytes)),
            (None, Some((chunk, pause))) => Body::new(Paced::drip(self.body, chunk, pause)),
            (None, None) => Body::from(self.body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if self.status != 204 && self.status != 304 {
            headers.insert("content-length", HeaderValue::from(length));
            headers.insert("content-type", HeaderValue::from_static(self.content_type));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        if self.hang_up {
            response.extensions_mut().insert(HangUp);
        }
        response
    }
}

impl Shared {
    fn reply(&self, request: &Received) -> Reply {
        let actions = lock(&self.script).actions(request);
        let now = self.clock.now();
        let token = request.header("authorization");
        let mut rate = Vec::new();
        if let Some(meter) = &self.meter {
            let mut meter = lock(meter);
            let left = meter.take(token, now);
            rate = meter.headers(left, now);
            if !left.allowed {
                let mut reply = Reply::error(meter.budget.exceeded.status, "rate limit exceeded")
                    .retry_after(meter.retry_after(left, now), now);
                reply.headers.extend(rate);
                return reply;
            }
        }
        let known =
            |header: &str| header.split_once(' ').is_some_and(|(_, token)| self.tokens.iter().any(|t| t == token));
        let mut reply = if !self.tokens.is_empty() && !token.is_some_and(known) {
            Reply::error(401, "bad credentials")
        } else {
            self.instead(&actions, now).unwrap_or_else(|| self.page(request, &actions))
        };
        reply.headers.extend(rate);
        self.spoil(&mut reply, request, &actions);
        reply
    }

    /// The whole response that a fault puts in the page's place.
    fn instead(&self, actions: &[Action], now: SystemTime) -> Option<Reply> {
        actions.iter().find_map(|action| match action {
            Action::Status(status, retry_after) => {
                Some(Reply::error(*status, "by script").retry_after(*retry_after, now))
            }
            Action::Headers(status, headers) => {
                let mut reply = Reply::new(*status, "application/json", Bytes::new());
                reply.headers.clone_from(headers);
                Some(reply)
            }
            Action::Body(status, content_type, body) => Some(Reply::new(*status, content_type, body.clone())),
            Action::ErrorBody => Some(Reply::error(200, "the query timed out")),
            Action::Html => {
                let page =
                    "<!doctype html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>";
                Some(Reply::new(200, "text/html; charset=utf-8", page))
            }
            Action::EmptyObject => Some(Reply::new(200, "application/json", "{}")),
            _ => None,
        })
    }

    fn page(&self, request: &Received, actions: &[Action]) -> Reply {
        let mut listings = lock(&self.listings);
        let mut request = std::borrow::Cow::Borrowed(request);
        if let Some(path) = request.path.strip_prefix("/by-id").map(str::to_owned) {
            request.to_mut().path = path;
        }
        let found =
            listings.iter_mut().find_map(|listing| listing.matches(&request.path).map(|parent| (listing, parent)));
        let Some((listing, parent)) = found else {
            return Reply::error(404, &format!("no such path: {}", request.path));
        };
        if (request.method == "POST") != listing.spec.post {
            return Reply::error(405, &format!("method not allowed: {}", request.method));
        }
        let page = listing.page(&self.base, &request, parent.as_deref(), actions);
        let mut reply = Reply::new(200, "application/json", page.body);
        reply.delay = listing.spec.latency;
        reply.headers = page.headers;
        reply
    }

    /// What faults do to a response that there is.
    fn spoil(&self, reply: &mut Reply, request: &Received, actions: &[Action]) {
        let mut encoding = self.encoding;
        for action in actions {
            match action {
                Action::Truncate(bytes) => reply.body.truncate(*bytes),
                Action::Encode(other) => encoding = *other,
                Action::Drip(chunk, pause) => reply.drip = Some((*chunk, *pause)),
                Action::Delay(delay) => reply.delay += *delay,
                Action::Cut(bytes) => reply.cut = Some(*bytes),
                Action::HangUp => reply.hang_up = true,
                _ => {}
            }
        }
        let encoding = encoding.choose(request.header("accept-encoding"));
        if let (Some(name), Ok(body)) = (encoding.name(), encoding.encode(&reply.body)) {
            reply.headers.push(("content-encoding", name.to_owned()));
            reply.body = Bytes::from(body);
        }
    }
}
