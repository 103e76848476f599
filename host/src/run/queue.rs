//! Between guests and their stream's writer: a queue that is bounded in bytes, and what goes through it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::verdict::Finding;
use crate::capability::heard::Heard;
use crate::capability::output::Emitted;
use crate::capability::storage::Write;
use crate::record::Ready;

/// Bytes of pages that wait for one writer.
const QUEUE_BYTES: usize = 14 << 20;

/// Permits of the queue's semaphore count kibibytes, since their number is limited to 32 bits.
const PERMIT_BYTES: usize = 1 << 10;

/// What a guest meets when its writer is gone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriterGone {
    /// A page of this read could not be taken.
    #[error("{0}")]
    Page(String),
    /// The writer stopped; the stream's error says why.
    #[error("the stream's records cannot be written any more")]
    Stopped,
}

/// A read as its guest and its writer share it.
#[derive(Debug)]
pub(crate) struct ReadHandle {
    pub(crate) id: i64,
    pub(crate) label: Arc<str>,
    /// Pages that earlier sessions committed.
    pub(crate) pages: u64,
    failure: Mutex<Option<String>>,
}

impl ReadHandle {
    pub(crate) fn new(id: i64, label: Arc<str>, pages: u64) -> Self {
        Self { id, label, pages, failure: Mutex::new(None) }
    }

    pub(super) fn fail(&self, reason: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    /// Returns why a page of this read was refused, once one was.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a writer is handed.
pub(super) enum Item {
    Page {
        read: Arc<ReadHandle>,
        emitted: Box<Emitted>,
        /// Dropped when the page is taken.
        taken: Option<oneshot::Sender<()>>,
        _room: OwnedSemaphorePermit,
    },
    End {
        read: Arc<ReadHandle>,
        end: End,
        reply: oneshot::Sender<ReadReport>,
    },
}

/// How a read came to its end, and what it left behind.
#[derive(Debug)]
pub(crate) struct End {
    /// The watermark, where the connector returned by itself; else why it did not.
    pub(crate) result: Result<Option<String>, String>,
    pub(crate) storage: Vec<Write>,
    pub(crate) heard: Heard,
    /// The status by which it was refused (401, 403, 404, 451), where no request of it was answered with success.
    pub(crate) refused: Option<u16>,
    /// Why there was nothing to read, where the connector knows that to be no loss.
    pub(crate) absent: Option<String>,
    /// Whether the connector says that the read has to begin again.
    pub(crate) restart: bool,
}

impl End {
    /// Makes the end of a read that did not come to its own.
    pub(crate) fn failed(reason: String) -> Self {
        Self {
            result: Err(reason),
            storage: Vec::new(),
            heard: Heard::default(),
            refused: None,
            absent: None,
            restart: false,
        }
    }
}

/// What is known of a read after its last page.
#[derive(Debug, Clone)]
pub(crate) struct ReadReport {
    pub(crate) finding: Finding,
    pub(crate) pages: u64,
    pub(crate) records: u64,
    /// Records that could not be stored.
    pub(crate) refused: u64,
    pub(crate) watermark: Option<String>,
    /// Whether the listing changed under the read, so that reading it again may add up; also where it adds up and only lacks
    /// what could not be stored.
    pub(crate) shifted: bool,
}

/// The guests' end of the queue.
#[derive(Clone)]
pub(crate) struct Queue {
    items: mpsc::UnboundedSender<Item>,
    room: Arc<Semaphore>,
    in_step: bool,
}

/// Makes a queue: the guests' end, the writer's, and the room that the writer closes at its end.
pub(super) fn queue(in_step: bool) -> (Queue, mpsc::UnboundedReceiver<Item>, Arc<Semaphore>) {
    let (items, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(QUEUE_BYTES / PERMIT_BYTES));
    (Queue { items, room: room.clone(), in_step }, receiver, room)
}

impl Queue {
    /// Hands a page over, waiting while the queue is full.
    pub(crate) async fn page(&self, read: &Arc<ReadHandle>, emitted: Emitted) -> Result<(), WriterGone> {
        let all = QUEUE_BYTES / PERMIT_BYTES;
        let bytes = emitted.page.range.len() + emitted.ready.as_ref().map_or(0, Ready::bytes);
        let wanted = (bytes / PERMIT_BYTES + 1).min(all);
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(permits).await.map_err(|_| WriterGone::Stopped)?;
        if let Some(reason) = read.failure() {
            return Err(WriterGone::Page(reason));
        }
        let (taken, done) = oneshot::channel();
        let taken = Some(taken).filter(|_| self.in_step);
        self.items
            .send(Item::Page { read: read.clone(), emitted: Box::new(emitted), taken, _room: room })
            .map_err(|_| WriterGone::Stopped)?;
        if self.in_step {
            // It is never sent, only dropped.
            let _ = done.await;
        }
        Ok(())
    }

    /// Says that a read is over, and waits until everything of it is taken.
    pub(crate) async fn end(&self, read: &Arc<ReadHandle>, end: End) -> Result<ReadReport, WriterGone> {
        let (reply, report) = oneshot::channel();
        self.items.send(Item::End { read: read.clone(), end, reply }).map_err(|_| WriterGone::Stopped)?;
        report.await.map_err(|_| WriterGone::Stopped)
    }
}
