//! `output`: where records leave the connector.
//!
//! A page that a connector selects stays in the host: what goes on to the stream's writer is a range of the response's
//! body. Each page takes with it the connector's storage writes and what it heard since the last one, so that all
//! of them become durable together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, ResourceTable};

use super::clock::ClockCtx;
use super::heard::Heard;
use super::rate_limit::RateLimitCtx;
use super::storage::{self, StorageCtx};
use crate::engine::MAX_MARK_BYTES;
use crate::engine::bindings::ingest::connector::output::{self as wit, Flow, Records};
use crate::engine::guest::Guest;
use crate::engine::limits::{Limit, LimitReached};
use crate::json::{self, Document, JsonError};
use crate::personal::{Failed, Recent};
use crate::record::{self, Unpicked};

/// A page on its way from a connector to its stream's writer.
#[derive(Debug)]
pub struct Emitted {
    /// The records.
    pub page: record::Page,
    /// The same records, where they have been decoded already.
    pub ready: Option<record::Ready>,
    /// From where a later read goes on.
    pub checkpoint: Option<String>,
    /// How many records the API says the whole read has.
    pub total: Option<u64>,
    /// How it hangs together with the page before.
    pub seam: wit::Seam,
    /// Whether personal data was taken out of them.
    pub treated: bool,
    /// Where the records come from; none for a page that the connector made itself.
    pub origin: Option<Origin>,
    /// Writes that become durable with this page.
    pub storage: Vec<storage::Write>,
    /// What the guest heard since the last page.
    pub heard: Heard,
}

/// The response that a page was selected from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its URL, after redirects.
    pub url: String,
    /// Its status.
    pub status: u16,
    /// Bytes of its body as received.
    pub bytes: u64,
    /// The method of the request that it answers.
    pub method: crate::http::Method,
    /// Its number in the archive; none where nothing is kept.
    pub exchange: Option<u64>,
}

/// Where emitted pages go.
pub trait Outlet: Send {
    /// Takes a page, waiting while the writer is behind. Says whether the connector should go on.
    fn emit(&mut self, page: Emitted) -> Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + '_>>;

    /// Returns what pages can be decoded by before they are emitted; none where they should not be.
    fn shapes(&self) -> Option<Arc<record::Shapes>> {
        None
    }
}

/// State of the `output` interface.
pub struct OutputCtx {
    outlet: Option<Box<dyn Outlet>>,
    max_page_bytes: usize,
    recent: Option<Arc<Recent>>,
}

impl OutputCtx {
    /// Makes the interface; without an outlet, as for a description, emitting ends the guest.
    pub fn new(outlet: Option<Box<dyn Outlet>>, max_page_bytes: usize) -> Self {
        Self { outlet, max_page_bytes, recent: None }
    }

    /// Takes personal data out of pages and excerpts.
    pub(crate) fn treating(self, recent: Option<Arc<Recent>>) -> Self {
        Self { recent, ..self }
    }

    pub(crate) fn shapes(&self) -> Option<Arc<record::Shapes>> {
        // What is to be treated is treated as text, before it is decoded.
        self.outlet.as_ref().filter(|_| self.recent.is_none())?.shapes()
    }
}

/// What a connector emitted that is no page.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// Outside of `read`.
    #[error("the connector emitted records outside of read")]
    OutsideRead,
    /// The pointer leads nowhere.
    #[error("there is nothing at {pointer:?} in the answer of {url}: it begins {excerpt:?}")]
    NothingThere {
        /// The pointer.
        pointer: String,
        /// URL of the response.
        url: String,
        /// Start of the body.
        excerpt: String,
    },
    /// The body is not JSON.
    #[error("the answer of {url} is not JSON: {reason}")]
    NotJson {
        /// URL of the response.
        url: String,
        /// Where and why.
        reason: String,
    },
    /// The records that are wanted are not there.
    #[error("the connector keeps records of the answer of {url} by places that are not ascending, or not there")]
    Places {
        /// URL of the response.
        url: String,
    },
    /// The checkpoint is no text to keep with every page.
    #[error("the connector's checkpoint is longer than {MAX_MARK_BYTES} bytes: {0}")]
    Checkpoint(usize),
    /// Personal data can't be taken out.
    #[error("{from} cannot be taken as records: {reason}")]
    Untreated {
        /// Where it is from.
        from: String,
        /// Why.
        reason: String,
    },
    /// The pointer is malformed.
    #[error("the connector selected by something that is no JSON pointer: {0}")]
    Pointer(String),
}

/// A borrowed view of [`OutputCtx`] and of what each page takes along.
pub struct OutputView<'a> {
    pub(crate) ctx: &'a mut OutputCtx,
    pub(crate) storage: &'a mut StorageCtx,
    pub(crate) clock: &'a mut ClockCtx,
    pub(crate) rate_limit: &'a mut RateLimitCtx,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) ahead: &'a mut record::Ahead,
}

impl OutputView<'_> {
    /// Bounds what constant fields add to a page, over all its records: little in the response, much in the columns.
    fn added(&self, page: &record::Page, document: &Document, pointer: &str) -> Result<(), LimitReached> {
        let each: usize = page.extra.iter().map(|(name, value)| name.len() + value.len()).sum();
        let fits = |records: usize| each.saturating_mul(records) <= self.ctx.max_page_bytes;
        // The shortest records, `{},{}`, are so many; only where these would be too many is it worth counting.
        if fits(page.range.len() / 3 + 1) {
            return Ok(());
        }
        // What is not JSON is found when it is decoded, before it is anything else.
        let records = document.len(pointer).ok().flatten().unwrap_or(1);
        if fits(usize::try_from(records).unwrap_or(usize::MAX)) {
            return Ok(());
        }
        Err(LimitReached::bytes(Limit::PageBytes, self.ctx.max_page_bytes as u64))
    }

    fn page(
        &mut self,
        records: Records,
        overlaps: bool,
    ) -> wasmtime::Result<(record::Page, Option<record::Ready>, Option<Origin>)> {
        match records {
            Records::Select(selection) => {
                // The selection hands the response over: its body lives on only in the page.
                let mut response = self.table.delete(selection.response)?;
                let url = &response.url;
                let page =
                    record::Page::select(&response.document, &selection.pointer, selection.extra).map_err(|error| {
                        match error {
                            JsonError::Syntax(reason) => EmitError::NotJson { url: url.clone(), reason },
                            JsonError::Pointer(reason) => EmitError::Pointer(reason),
                        }
                    })?;
                let Some(page) = page else {
                    return Err(EmitError::NothingThere {
                        pointer: selection.pointer,
                        url: url.clone(),
                        excerpt: excerpt(response.document.body(), self.ctx.recent.as_deref()),
                    }
                    .into());
                };
                self.added(&page, &response.document, &selection.pointer)?;
                let origin = Origin {
                    url: url.clone(),
                    status: response.status,
                    bytes: response.received_bytes,
                    method: response.method,
                    exchange: response.exchange,
                };
                let plain = page.extra.is_empty() && selection.keep.is_none();
                let page = match &selection.keep {
                    Some(places) => picked(&page, places, &response.document, url)?,
                    None => page,
                };
                let ready = self.ahead.selected(&selection.pointer, plain, overlaps, response.ready.take());
                Ok((page, ready, Some(origin)))
            }
            Records::Json(bytes) => {
                if bytes.len() > self.ctx.max_page_bytes {
                    return Err(LimitReached::bytes(Limit::PageBytes, self.ctx.max_page_bytes as u64).into());
                }
                Ok((record::Page::from_json(Bytes::from(bytes)), None, None))
            }
        }
    }
}

/// Takes only some records of a selected page.
fn picked(page: &record::Page, places: &[u32], document: &Document, url: &str) -> Result<record::Page, EmitError> {
    record::pick(page, places).map_err(|why| match why {
        Unpicked::Places => EmitError::Places { url: url.to_owned() },
        Unpicked::Ends => {
            let reason =
                document.validate().err().map_or_else(|| "it is no list".to_owned(), |error| error.to_string());
            EmitError::NotJson { url: url.to_owned(), reason }
        }
    })
}

/// Returns the start of a body for an error's text.
fn excerpt(body: &[u8], recent: Option<&Recent>) -> String {
    const EXCERPT_BYTES: usize = 200;
    let treated = match recent.map(|recent| recent.treatment().body(body)) {
        None | Some(Ok(None)) => None,
        Some(Ok(treated)) => treated,
        Some(Err(_)) => return crate::personal::withheld(body),
    };
    let body = treated.as_deref().unwrap_or(body);
    String::from_utf8_lossy(body.get(..EXCERPT_BYTES).unwrap_or(body)).into_owned()
}

impl wit::Host for OutputView<'_> {
    async fn emit(&mut self, page: wit::Page) -> wasmtime::Result<Flow> {
        if let Some(checkpoint) = page.checkpoint.as_ref().filter(|checkpoint| checkpoint.len() > MAX_MARK_BYTES) {
            return Err(EmitError::Checkpoint(checkpoint.len()).into());
        }
        let (mut records, ready, origin) = self.page(page.records, page.seam == wit::Seam::Overlapping)?;
        if let Some(recent) = self.ctx.recent.clone() {
            records = treated(recent, records, origin.as_ref()).await?;
        }
        let emitted = Emitted {
            page: records,
            ready,
            checkpoint: page.checkpoint,
            total: page.total,
            seam: page.seam,
            treated: self.ctx.recent.is_some(),
            origin,
            storage: self.storage.take_pending(),
            heard: Heard {
                clock: self.clock.take_answers(),
                storage: self.storage.take_heard(),
                budgets: self.rate_limit.take_heard(),
            },
        };
        let outlet = self.ctx.outlet.as_mut().ok_or(EmitError::OutsideRead)?;
        Ok(if outlet.emit(emitted).await? { Flow::Continue } else { Flow::Stop })
    }
}

/// Pages beyond this size are treated on a thread for blocking work: it takes some milliseconds.
const INLINE_TREAT_BYTES: usize = 1 << 20;

/// Takes personal data out of a page.
async fn treated(
    recent: Arc<Recent>,
    mut page: record::Page,
    origin: Option<&Origin>,
) -> wasmtime::Result<record::Page> {
    let (page, treated) = if page.range.len() <= INLINE_TREAT_BYTES {
        let treated = recent.treatment().page(&mut page);
        (page, treated)
    } else {
        let work = move || {
            let treated = recent.treatment().page(&mut page);
            (page, treated)
        };
        tokio::task::spawn_blocking(work).await?
    };
    treated.map_err(|failed| untreated(failed, origin))?;
    Ok(page)
}

/// Says why a page cannot be treated, and so not be taken.
fn untreated(failed: Failed, origin: Option<&Origin>) -> EmitError {
    let from = origin
        .map_or_else(|| "a page that the connector made".to_owned(), |from| format!("the answer of {}", from.url));
    let reason = match failed {
        Failed::Json(stop) => format!(
            "byte {} of its records is not JSON: {}; no more is told, for personal data could not be told from other",
            stop.at(),
            json::what(stop.cause())
        ),
        Failed::NoKey => "a field has to be hashed, and the key for that is not there".to_owned(),
    };
    EmitError::Untreated { from, reason }
}

struct Output;

impl HasData for Output {
    type Data<'a> = OutputView<'a>;
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wit::add_to_linker::<_, Output>(linker, |guest| {
        let guest = guest.called();
        OutputView {
            ctx: &mut guest.output,
            storage: &mut guest.storage,
            clock: &mut guest.clock,
            rate_limit: &mut guest.rate_limit,
            table: &mut guest.table,
            ahead: &mut guest.ahead,
        }
    })
}
