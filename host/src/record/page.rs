//! The records of one `emit`.

use std::ops::Range;

use bytes::Bytes;

use crate::json::{self, Document, JsonError};

/// The records of one `emit`: a span of a body, not yet taken apart.
#[derive(Debug, Clone)]
pub struct Page {
    /// The body that holds the records.
    pub body: Bytes,
    /// Where in it they are: one array of objects, or one object.
    pub range: Range<usize>,
    /// Whether the body is known to be UTF-8. The grammar is checked as the records are decoded, in any case.
    pub validated: bool,
    /// Whether the span is a sequence of objects, one after the other, as in newline-delimited JSON.
    pub lines: bool,
    /// Constant fields added to every record: name, JSON text.
    pub extra: Vec<(String, String)>,
    /// Places of the records that are left out, in order: they came before, and are there already.
    pub leave_out: Vec<u64>,
}

impl Page {
    /// Selects the records at a pointer of a response's body; none where the pointer leads nowhere.
    ///
    /// The whole body (the pointer `""`) is selected without looking at it, unless a look-up has been made before: it is
    /// validated as it is decoded.
    pub fn select(document: &Document, pointer: &str, extra: Vec<(String, String)>) -> Result<Option<Self>, JsonError> {
        let body = document.body().clone();
        if pointer.is_empty() && !document.is_utf8() {
            let range = json::content_start(&body)..body.len();
            return Ok(Some(Self { body, range, validated: false, lines: false, extra, leave_out: Vec::new() }));
        }
        Ok(document.select(pointer)?.map(|range| Self {
            body,
            range,
            validated: document.is_utf8(),
            lines: false,
            extra,
            leave_out: Vec::new(),
        }))
    }

    /// Takes records that a connector made: a JSON array of objects, or objects one after the other.
    pub fn from_json(body: Bytes) -> Self {
        let start = json::content_start(&body);
        let first = body.get(start..).and_then(|rest| rest.trim_ascii_start().first());
        let lines = first != Some(&b'[');
        let range = start..body.len();
        Self { body, range, validated: false, lines, extra: Vec::new(), leave_out: Vec::new() }
    }

    /// Returns the bytes of the records, up to their end; positions are those of the body.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.body.get(..self.range.end).unwrap_or_default()
    }
}
