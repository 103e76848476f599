//! A server of recorded exchanges.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use tokio::sync::{oneshot, watch};

use super::recording::{Exchange, Recording};

/// Parameters that choose which records a listing has and how many of them at once. A recording
/// stands for whatever was asked then, so that they may differ; every other parameter must agree,
/// for it says where in the listing a page lies.
const FREE: [&str; 10] =
    ["per_page", "state", "sort", "direction", "since", "until", "type", "anon", "filter", "affiliation"];

/// Headers that belong to the connection of the recording, or to a body that others cut down.
const OF_THE_CONNECTION: [&str; 7] = [
    "status",
    "connection",
    "keep-alive",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "strict-transport-security",
];

/// A running server of recorded exchanges; it ends when the value is dropped.
///
/// A request is answered by the first exchange of the same method and path whose position
/// parameters agree. What nobody recorded is a 404 that says so.
#[derive(Debug)]
pub struct Replay {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    base: String,
    exchanges: Mutex<Vec<Exchange>>,
    targets: Mutex<Vec<(String, u16)>>,
    /// How many requests are answered in all; later ones wait.
    answered: watch::Sender<usize>,
}

impl Replay {
    /// Serves recordings on 127.0.0.1; of two exchanges that answer the same, the earlier counts.
    ///
    /// # Errors
    /// Where the port is taken (0 is a free one) or a thread can't be had.
    pub fn start(recordings: impl IntoIterator<Item = Recording>, port: u16) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            base: format!("http://{address}"),
            exchanges: Mutex::new(exchanges(recordings)),
            targets: Mutex::default(),
            answered: watch::Sender::new(usize::MAX),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("recorded-api".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.base
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves other recordings from now on, and forgets what was asked.
    pub fn replace(&self, recordings: impl IntoIterator<Item = Recording>) {
        *lock(&self.shared.exchanges) = exchanges(recordings);
        lock(&self.shared.targets).clear();
    }

    /// Answers so many requests in all, of those that have been answered and those that come; the others wait until this is
    /// called anew.
    pub fn answer(&self, requests: usize) {
        self.shared.answered.send_replace(requests);
    }

    /// Path and query of everything that was asked, and the status it got.
    #[must_use]
    pub fn targets(&self) -> Vec<(String, u16)> {
        lock(&self.shared.targets).clone()
    }

    /// Waits until the server ends, which it does not by itself.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A server that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // Where the thread has ended there is nobody to tell.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn find(&self, method: &str, path: &str, query: &[(String, String)]) -> Option<Exchange> {
        let position = |query: &[(String, String)]| {
            let mut fixed: Vec<_> = query.iter().filter(|(name, _)| !FREE.contains(&name.as_str())).cloned().collect();
            fixed.sort();
            fixed
        };
        let wanted = position(query);
        let same = |exchange: &&Exchange| {
            exchange.method == method && exchange.path == path && position(&exchange.query) == wanted
        };
        lock(&self.exchanges).iter().find(same).cloned()
    }

    fn response(&self, found: Option<Exchange>, path: &str) -> Response {
        let Some(exchange) = found else {
            let body = serde_json::json!({ "message": format!("nobody recorded {path}") }).to_string();
            return built(404, body);
        };
        let mut response = built(exchange.status, exchange.body);
        for (name, value) in &exchange.headers {
            let value = match name.as_str() {
                "link" | "location" => value.replace(&format!("https://{}", exchange.host), &self.base),
                other if OF_THE_CONNECTION.contains(&other) => continue,
                _ => value.clone(),
            };
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

fn exchanges(recordings: impl IntoIterator<Item = Recording>) -> Vec<Exchange> {
    recordings.into_iter().flat_map(|recording| recording.exchanges).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn built(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let uri = request.uri();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let response = shared.response(shared.find(request.method().as_str(), uri.path(), &query), uri.path());
    let target = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
    let mut answered = shared.answered.subscribe();
    loop {
        let may = *answered.borrow_and_update();
        {
            let mut targets = lock(&shared.targets);
            if targets.len() < may {
                targets.push((target, response.status().as_u16()));
                return response;
            }
        }
        // It never fails: the sender is in what this function was given.
        let _ = answered.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(target: &str, body: &str) -> Exchange {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Exchange {
            method: "GET".into(),
            host: "api.github.com".into(),
            path: path.into(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            status: 200,
            headers: vec![("link".into(), "<https://api.github.com/a?page=2>; rel=\"next\"".into())],
            body: body.into(),
        }
    }

    #[test]
    fn position_must_agree_and_the_rest_is_free() {
        let exchanges = vec![exchange("/a?per_page=3", "1"), exchange("/a?page=2", "2"), exchange("/a", "again")];
        let shared = Shared {
            base: "http://here".into(),
            exchanges: Mutex::new(exchanges),
            targets: Mutex::default(),
            answered: watch::Sender::default(),
        };
        let body = |target: &str| {
            let asked = exchange(target, "");
            shared.find("GET", &asked.path, &asked.query).map(|exchange| exchange.body)
        };
        assert_eq!(body("/a?state=all&per_page=100").as_deref(), Some("1"));
        assert_eq!(body("/a?per_page=3&page=2").as_deref(), Some("2"));
        assert_eq!(body("/a?page=3"), None);
        let response = shared.response(shared.find("GET", "/a", &[]), "/a");
        let link = response.headers().get("link").and_then(|link| link.to_str().ok());
        assert_eq!(link, Some("<http://here/a?page=2>; rel=\"next\""));
    }
}
