//! Bodies that arrive slowly, or not to their end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(super) struct Cut;

/// A body in chunks, with a pause before each, and perhaps a cut instead of the end.
pub(super) struct Paced {
    rest: Bytes,
    chunk: usize,
    pause: Option<Duration>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    cut: bool,
}

impl Paced {
    /// All of `body`, `chunk` bytes after each pause.
    pub(super) fn drip(body: Bytes, chunk: usize, pause: Duration) -> Self {
        Self { rest: body, chunk: chunk.max(1), pause: Some(pause), sleep: None, cut: false }
    }

    /// The first `bytes` of `body`, then the end of the connection.
    pub(super) fn cut(body: &Bytes, bytes: usize) -> Self {
        let rest = body.slice(..bytes.min(body.len()));
        Self { rest, chunk: usize::MAX, pause: None, sleep: None, cut: true }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.rest.is_empty() {
            if self.cut && self.pause.is_none() {
                // One more turn of the runtime, so that what was written reaches the socket first.
                self.pause = Some(Duration::from_millis(1));
            } else {
                return Poll::Ready(self.cut.then_some(Err(Cut)));
            }
        }
        if let Some(pause) = self.pause {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        if self.rest.is_empty() {
            return Poll::Ready(Some(Err(Cut)));
        }
        let size = self.chunk.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }
}
