//! `http`: requests through the host's way out ([`crate::http`]), and responses whose bodies stay in the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::bindings::ingest::connector::http as wit;
use crate::engine::guest::Guest;
use crate::engine::limits::{Limit, LimitReached, Limits};
use crate::http;
use crate::json::{Document, JsonError};
use crate::personal::Recent;
use crate::record::{Ahead, Ready};

/// A reason to reject a response is for people; longer ones are cut off.
const MAX_REASON_CHARS: usize = 1000;

/// State of the `http` interface.
pub struct HttpCtx {
    client: Option<http::Client>,
    read: Arc<str>,
    pending: Arc<AtomicUsize>,
    held: Arc<AtomicU64>,
    max_pending: usize,
    max_held_bytes: u64,
    json_depth: usize,
    recent: Option<Arc<Recent>>,
    /// Whether a request was answered with success, and the first status of those that mean "not for you".
    succeeded: bool,
    refused: Option<u16>,
}

/// Statuses of what is not there or may not be seen (RFC 9110, section 15.5; RFC 7725).
const REFUSALS: [u16; 4] = [401, 403, 404, 451];

impl HttpCtx {
    /// Makes the interface for one read, named `read` in events and in the archive. Without a client every request is
    /// refused, as for a description.
    pub fn new(client: Option<http::Client>, read: Arc<str>, limits: &Limits) -> Self {
        Self {
            client,
            read,
            pending: Arc::default(),
            held: Arc::default(),
            max_pending: limits.pending_requests,
            max_held_bytes: limits.held_bytes,
            json_depth: limits.json_depth,
            recent: None,
            succeeded: false,
            refused: None,
        }
    }

    /// Remembers responses, so that texts can be cleaned of personal data in them.
    pub(crate) fn remembering(self, recent: Option<Arc<Recent>>) -> Self {
        Self { recent, ..self }
    }

    fn answered(&mut self, status: u16) {
        self.succeeded |= (200..300).contains(&status);
        if REFUSALS.contains(&status) {
            self.refused.get_or_insert(status);
        }
    }

    /// Returns the status by which the guest was refused, where it was given nothing else.
    pub(crate) fn refused(&self) -> Option<u16> {
        self.refused.filter(|_| !self.succeeded)
    }

    /// Counts bytes that the host keeps for the guest.
    fn room(&self, bytes: usize) -> Result<Held, LimitReached> {
        let bytes = bytes as u64;
        let held = Held { bytes, all: self.held.clone() };
        if self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.max_held_bytes {
            return Err(LimitReached::bytes(Limit::HeldBytes, self.max_held_bytes));
        }
        Ok(held)
    }

    fn hold(&self, response: http::Response, request: Arc<http::Request>) -> Result<Response, LimitReached> {
        let headers: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let held = self.room(response.body.len() + headers + request.bytes())?;
        if let Some(recent) = &self.recent {
            recent.came(&response.body);
        }
        Ok(Response {
            status: response.status,
            headers: response.headers,
            url: response.url.into(),
            received_bytes: response.received_bytes,
            document: Arc::new(Document::new(response.body, self.json_depth)),
            ready: None,
            attempts: response.attempts,
            method: response.method,
            exchange: response.exchange,
            budget: response.budget,
            request,
            _held: held,
        })
    }
}

/// A received response, in the guest's table of resources.
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) url: String,
    pub(crate) received_bytes: u64,
    pub(crate) document: Arc<Document>,
    /// Its records, where they have been decoded already.
    pub(crate) ready: Option<Ready>,
    attempts: u32,
    /// The method that it answers in the end, after redirects.
    pub(crate) method: http::Method,
    /// Its number in the archive.
    pub(crate) exchange: Option<u64>,
    /// The budget that paid for it.
    budget: String,
    /// What it answers, to be sent again should the connector reject it.
    request: Arc<http::Request>,
    _held: Held,
}

impl Response {
    /// Returns the first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }
}

/// Bytes that count against [`Limits::held_bytes`] until the guest drops the response.
struct Held {
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request under way, in the guest's table of resources. Dropping it abandons the request.
pub struct Pending {
    task: Option<tokio::task::JoinHandle<Result<http::Response, http::Error>>>,
    request: Arc<http::Request>,
    count: Arc<AtomicUsize>,
    _held: Held,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// What a connector did that the contract forbids; it ends the read.
#[derive(Debug, thiserror::Error)]
pub enum Misuse {
    /// `wait` was called a second time.
    #[error("the connector waited twice for one request")]
    WaitedTwice,
    /// A request from a function that may not make one.
    #[error("the connector made a request while it was only asked to describe itself")]
    NoNetwork,
}

/// The host itself cannot go on with this read, and the connector has no part in it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HostFailure(pub http::Error);

/// A borrowed view of [`HttpCtx`].
pub struct HttpView<'a> {
    pub(crate) ctx: &'a mut HttpCtx,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) ahead: &'a mut Ahead,
}

impl HttpView<'_> {
    fn receive(
        &mut self,
        result: Result<http::Response, http::Error>,
        request: Arc<http::Request>,
    ) -> wasmtime::Result<Result<Resource<Response>, wit::Error>> {
        match &result {
            Ok(response) => self.ctx.answered(response.status),
            Err(http::Error::Status { status, .. }) => self.ctx.answered(*status),
            Err(_) => {}
        }
        match result {
            Ok(response) => Ok(Ok(self.table.push(self.ctx.hold(response, request)?)?)),
            Err(error) => match guest_error(error) {
                Ok(error) => Ok(Err(error)),
                Err(failure) => Err(failure.into()),
            },
        }
    }

    /// The body of a response that is about to be looked into.
    fn looked_into(&mut self, response: &Resource<Response>) -> wasmtime::Result<&Document> {
        let response = self.table.get_mut(response)?;
        if let Some(ready) = self.ahead.read(&response.document) {
            response.ready = Some(ready);
        }
        Ok(&response.document)
    }

    fn client(&self) -> Result<http::Client, Misuse> {
        self.ctx.client.clone().ok_or(Misuse::NoNetwork)
    }
}

/// Turns an error of the way out into what a connector sees of it, where it sees it at all.
fn guest_error(error: http::Error) -> Result<wit::Error, HostFailure> {
    Ok(match error {
        http::Error::Denied(rule) => wit::Error::Denied(rule),
        http::Error::Unreachable(reason) => wit::Error::Unreachable(reason),
        http::Error::Status { status, attempts, excerpt } => {
            wit::Error::Status(wit::StatusError { status, attempts, excerpt })
        }
        http::Error::TooLarge(limit) => wit::Error::TooLarge(limit),
        http::Error::Invalid(reason) => wit::Error::Invalid(reason),
        http::Error::Rejected { status, attempts, reason } => {
            wit::Error::Rejected(wit::Rejection { status, attempts, reason })
        }
        other => return Err(HostFailure(other)),
    })
}

fn request(request: wit::Request) -> http::Request {
    http::Request {
        method: match request.method {
            wit::Method::Get => http::Method::GET,
            wit::Method::Head => http::Method::HEAD,
            wit::Method::Post => http::Method::POST,
            wit::Method::Put => http::Method::PUT,
            wit::Method::Patch => http::Method::PATCH,
            wit::Method::Delete => http::Method::DELETE,
        },
        url: request.url,
        query: request.query,
        headers: request.headers,
        body: request.body.map(Bytes::from),
        accept: request.accept,
        reads: request.reads,
        single_use: false,
    }
}

impl wit::Host for HttpView<'_> {
    async fn send(&mut self, wanted: wit::Request) -> wasmtime::Result<Result<Resource<Response>, wit::Error>> {
        let request = Arc::new(request(wanted));
        let result = self.client()?.send(&self.ctx.read, request.as_ref()).await;
        self.receive(result, request)
    }

    async fn reject(
        &mut self,
        response: Resource<Response>,
        reason: String,
        retryable: bool,
    ) -> wasmtime::Result<Result<Resource<Response>, wit::Error>> {
        let client = self.client()?;
        let Response { status, headers, attempts, budget, request, .. } = self.table.delete(response)?;
        let rejected = http::Rejected { status, attempts, headers: &headers, budget: &budget };
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        let reason = self.ctx.recent.as_ref().map_or(reason.clone(), |recent| recent.clean(&reason).into_owned());
        let result = client.reject(&self.ctx.read, &request, &rejected, &reason, retryable).await;
        self.receive(result, request)
    }

    async fn start(&mut self, wanted: wit::Request) -> wasmtime::Result<Resource<Pending>> {
        let client = self.client()?;
        let request = Arc::new(request(wanted));
        let held = self.ctx.room(request.bytes())?;
        if self.ctx.pending.fetch_add(1, Ordering::Relaxed) >= self.ctx.max_pending {
            return Err(LimitReached::count(Limit::PendingRequests, self.ctx.max_pending).into());
        }
        let read = self.ctx.read.clone();
        let sent = request.clone();
        let task = tokio::spawn(async move { client.send(&read, sent.as_ref()).await });
        Ok(self.table.push(Pending { task: Some(task), request, count: self.ctx.pending.clone(), _held: held })?)
    }
}

impl wit::HostPending for HttpView<'_> {
    async fn wait(&mut self, pending: Resource<Pending>) -> wasmtime::Result<Result<Resource<Response>, wit::Error>> {
        let pending = self.table.get_mut(&pending)?;
        let task = pending.task.take().ok_or(Misuse::WaitedTwice)?;
        let request = pending.request.clone();
        let result = task.await?;
        self.receive(result, request)
    }

    async fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}

impl wit::HostResponse for HttpView<'_> {
    fn status(&mut self, response: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status)
    }

    fn header(&mut self, response: Resource<Response>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&response)?.header(&name).map(str::to_owned))
    }

    fn headers(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.table.get(&response)?.headers.clone())
    }

    fn body(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&response)?.document.body().to_vec())
    }

    fn json(
        &mut self,
        response: Resource<Response>,
        pointer: String,
    ) -> wasmtime::Result<Result<Option<String>, wit::JsonError>> {
        Ok(self.looked_into(&response)?.text(&pointer).map(|text| text.map(str::to_owned)).map_err(json_error))
    }

    fn len(
        &mut self,
        response: Resource<Response>,
        pointer: String,
    ) -> wasmtime::Result<Result<Option<u64>, wit::JsonError>> {
        Ok(self.looked_into(&response)?.len(&pointer).map_err(json_error))
    }

    fn values(
        &mut self,
        response: Resource<Response>,
        pointer: String,
        within: String,
    ) -> wasmtime::Result<Result<Option<String>, wit::JsonError>> {
        Ok(self.looked_into(&response)?.values(&pointer, &within).map_err(json_error))
    }

    fn fingerprint(
        &mut self,
        response: Resource<Response>,
        pointer: String,
    ) -> wasmtime::Result<Result<Option<u64>, wit::JsonError>> {
        let text = self.looked_into(&response)?.text(&pointer);
        Ok(text.map(|text| text.map(|text| xxh3_64(text.as_bytes()))).map_err(json_error))
    }

    async fn drop(&mut self, response: Resource<Response>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}

fn json_error(error: JsonError) -> wit::JsonError {
    match error {
        JsonError::Syntax(reason) => wit::JsonError::Syntax(reason),
        JsonError::Pointer(reason) => wit::JsonError::Pointer(reason),
    }
}

struct Http;

impl HasData for Http {
    type Data<'a> = HttpView<'a>;
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wit::add_to_linker::<_, Http>(linker, |guest| {
        let guest = guest.called();
        HttpView { ctx: &mut guest.http, table: &mut guest.table, ahead: &mut guest.ahead }
    })
}
