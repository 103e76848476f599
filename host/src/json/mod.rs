//! JSON bodies that are looked into without being taken apart.
//!
//! A [`Document`] goes over its body once, by brackets and strings alone, and answers RFC 6901 pointers with spans of the
//! body. The grammar of a value is checked when it is handed out, that of records as they are decoded, and that of what
//! surrounds them when they are selected; where the quick look finds nothing or cannot tell, the whole body is validated. An
//! element of a listing that is no JSON takes nothing else along (`mended`).
//!
//! ```ignore
//! let document = Document::new(Bytes::from_static(br#"{"items":[{"id":1}],"next":"abc"}"#), 128);
//! assert_eq!(document.text("/next")?, Some("\"abc\""));
//! assert_eq!(document.len("/items")?, Some(1));
//! ```

mod index;
mod mended;
mod pointer;
pub(crate) mod scan;
mod skim;
pub(crate) mod text;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use self::index::Index;
use self::mended::Mended;
use self::pointer::Unsure;
use self::scan::{Stop, byte};

pub(crate) use self::mended::element_end;
pub(crate) use self::pointer::{escape, tokens as pointer_tokens};
pub(crate) use self::scan::Cause;
pub(crate) use self::skim::container_end;

/// Deepest nesting that any limit can allow. Values are decoded by recursion, so the stack of a thread sets a bound.
pub const MAX_DEPTH: usize = 512;

/// Why a body could not be looked into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The body is not JSON: line, column and reason.
    #[error("{0}")]
    Syntax(String),
    /// The pointer is not RFC 6901.
    #[error("{0}")]
    Pointer(String),
}

/// What is known of the elements of an array that has been read.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    /// How many there are.
    pub(crate) count: u64,
    /// Ordinals and positions of some, in order.
    pub(crate) marks: Vec<(u64, usize)>,
    /// The first and the last, where they are objects.
    pub(crate) first: Option<Range<usize>>,
    pub(crate) last: Option<Range<usize>>,
    /// Where all of them are, if somebody wants to know.
    pub(crate) listed: Option<Listed>,
}

/// Where the elements of an array are, and one field in each of them.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) field: Arc<str>,
    pub(crate) spots: Vec<Spot>,
}

/// Where an element of an array is, and the value of a field in it; an empty range where it has none.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) element: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// A body that is JSON, or claims to be.
#[derive(Debug)]
pub struct Document {
    body: Bytes,
    max_depth: usize,
    /// None where the body is not sound in brackets, strings and UTF-8.
    quick: OnceLock<Option<Index>>,
    exact: OnceLock<Result<Index, JsonError>>,
    /// Of a body that is no JSON, what can be told all the same.
    mended: OnceLock<Option<Mended>>,
}

impl Document {
    /// Takes a body; looks at nothing yet. `max_depth` counts nested arrays and objects and is at most [`MAX_DEPTH`].
    pub fn new(body: Bytes, max_depth: usize) -> Self {
        let max_depth = max_depth.min(MAX_DEPTH);
        Self { body, max_depth, quick: OnceLock::new(), exact: OnceLock::new(), mended: OnceLock::new() }
    }

    /// Returns the body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns whether the body has been found to be UTF-8 by an earlier look-up.
    pub fn is_utf8(&self) -> bool {
        matches!(self.quick.get(), Some(Some(_))) || matches!(self.exact.get(), Some(Ok(_)))
    }

    /// Where the array at a pointer starts, if nothing has been looked up yet: somebody may read it first and then tell
    /// what it is, with [`Document::know`]. With it comes how deep the array itself may nest.
    pub(crate) fn ahead(&self, pointer: &str) -> Option<(usize, usize)> {
        if self.quick.get().is_some() || self.exact.get().is_some() {
            return None;
        }
        let tokens = pointer::tokens(pointer).ok()?;
        let start = pointer::start(&self.body, &tokens)?;
        let depth = self.max_depth.checked_sub(tokens.len())?;
        (byte(&self.body, start) == b'[' && depth > 0).then_some((start, depth))
    }

    /// Takes it as known what a JSON array holds, and checks the rest of the body. False where that is no JSON, or the
    /// pointer leads elsewhere.
    pub(crate) fn know(&self, pointer: &str, span: Range<usize>, elements: Elements) -> bool {
        let Elements { count, mut marks, first, last, listed } = elements;
        marks.extend(count.checked_sub(1).zip(last.as_ref().map(|last| last.start)));
        let known = index::Big { start: span.start, end: span.end, count: Some(count), marks };
        let Ok(mut index) = index::build_around(&self.body, self.max_depth, Some(known)) else { return false };
        index.listed =
            listed.filter(|listed| listed.spots.len() as u64 == count).map(|listed| (span.start, Arc::new(listed)));
        index.read = first.into_iter().chain(last).map(|span| (span.start, span.end)).collect();
        let leads = pointer::tokens(pointer).map(|tokens| pointer::find(&self.body, &index, &tokens));
        leads == Ok(Ok(Some(span))) && self.exact.set(Ok(index)).is_ok()
    }

    /// Returns the span of the value at an RFC 6901 pointer; none where the pointer leads nowhere. What stands inside the
    /// value need not be JSON.
    pub fn get(&self, pointer: &str) -> Result<Option<Range<usize>>, JsonError> {
        let tokens = pointer::tokens(pointer).map_err(JsonError::Pointer)?;
        self.look(|index| pointer::find(&self.body, index, &tokens)).or_else(|error| {
            // An element that is no JSON has nothing inside.
            let inside =
                |mended: &Mended| pointer::find(&mended.without(&self.body), &mended.index, &tokens) == Ok(None);
            if self.mended().is_some_and(inside) { Ok(None) } else { Err(error) }
        })
    }

    /// Returns the JSON text of the value at a pointer. For an element of a listing that is no JSON, where all else is, that is
    /// a JSON string of (the start of) its text.
    pub fn text(&self, pointer: &str) -> Result<Option<&str>, JsonError> {
        let Some(span) = self.get(pointer)? else { return Ok(None) };
        let Some(bytes) = self.body.get(span.clone()) else { return Ok(None) };
        if !self.is_validated() && index::build(bytes, self.max_depth).is_err() {
            if let Some(instead) = self.mended().and_then(|mended| mended.instead(&span)) {
                return Ok(Some(instead));
            }
            // Says where in the whole body.
            self.validate()?;
        }
        Ok(std::str::from_utf8(bytes).ok())
    }

    /// Returns the number of elements of the array, or members of the object, at a pointer; none where there is neither.
    pub fn len(&self, pointer: &str) -> Result<Option<u64>, JsonError> {
        let Some(span) = self.get(pointer)? else { return Ok(None) };
        self.look(|index| pointer::count(&self.body, index, span.start))
    }

    /// Returns a JSON array of the values that a pointer leads to within each element of the array at another, `null` where
    /// it leads nowhere; none where there is no array.
    pub fn values(&self, pointer: &str, within: &str) -> Result<Option<String>, JsonError> {
        let tokens = pointer::tokens(within).map_err(JsonError::Pointer)?;
        let Some(span) = self.get(pointer)?.filter(|span| byte(&self.body, span.start) == b'[') else {
            return Ok(None);
        };
        if let ([field], Some(listed)) = (tokens.as_slice(), self.listed(span.start))
            && *listed.field == **field
        {
            return Ok(Some(self.join(listed)));
        }
        // All of it is handed out.
        if let Err(error) = self.validate() {
            // An element that is no JSON has no fields.
            let mended = self.mended().filter(|_| !tokens.is_empty()).ok_or_else(|| error.clone())?;
            let values = pointer::values(&mended.without(&self.body), &mended.index, span.start, &tokens);
            return values.ok().and_then(|values| String::from_utf8(values).ok()).map(Some).ok_or(error);
        }
        let values = self.look(|index| pointer::values(&self.body, index, span.start, &tokens).map(Some))?;
        Ok(values.and_then(|values| String::from_utf8(values).ok()))
    }

    /// Where the elements of the array that starts at a position are, if it is known of each.
    pub(crate) fn listed(&self, start: usize) -> Option<&Arc<Listed>> {
        let Some(Ok(index)) = self.exact.get() else { return None };
        index.listed.as_ref().filter(|(listed, _)| *listed == start).map(|(_, listed)| listed)
    }

    /// A JSON array of a field of elements.
    fn join(&self, listed: &Listed) -> String {
        let value = |spot: &Spot| self.body.get(spot.value.clone()).filter(|value| !value.is_empty());
        let mut all = "[".to_owned();
        all.reserve(listed.spots.iter().map(|spot| spot.value.len().max(4) + 1).sum::<usize>() + 1);
        for spot in &listed.spots {
            if all.len() > 1 {
                all.push(',');
            }
            all.push_str(value(spot).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("null"));
        }
        all + "]"
    }

    /// Returns the span of the value at a pointer, as [`Document::get`] does, where everything around it is JSON.
    pub fn select(&self, pointer: &str) -> Result<Option<Range<usize>>, JsonError> {
        let Some(span) = self.get(pointer)? else { return Ok(None) };
        if !self.is_validated() {
            let (before, after) = (self.body.get(..span.start), self.body.get(span.end..));
            let around = [before.unwrap_or_default(), b"0", after.unwrap_or_default()].concat();
            if index::build(&around, self.max_depth).is_err() {
                self.validate()?;
            }
        }
        Ok(Some(span))
    }

    /// Checks the whole body, if that has not been done yet.
    pub fn validate(&self) -> Result<(), JsonError> {
        self.exact().map(|_| ())
    }

    fn is_validated(&self) -> bool {
        matches!(self.exact.get(), Some(Ok(_)))
    }

    /// Looks something up: quickly, or else exactly. That there is nothing may be the end of a listing, so it is only said
    /// of a body that is JSON as a whole.
    fn look<T>(&self, find: impl Fn(&Index) -> Result<Option<T>, Unsure>) -> Result<Option<T>, JsonError> {
        if self.exact.get().is_none()
            && let Some(quick) = self.quick.get_or_init(|| skim::skim(&self.body, self.max_depth))
            && let Ok(Some(found)) = find(quick)
        {
            return Ok(Some(found));
        }
        match self.exact() {
            // Of a body that is JSON, the exact index knows everything.
            Ok(exact) => Ok(find(exact).unwrap_or_default()),
            Err(error) => self.mended().and_then(|mended| find(&mended.index).ok()).ok_or(error),
        }
    }

    #[cold]
    fn mended(&self) -> Option<&Mended> {
        self.mended.get_or_init(|| mended::mend(&self.body, self.max_depth)).as_ref()
    }

    fn exact(&self) -> Result<&Index, JsonError> {
        let built = self.exact.get_or_init(|| {
            index::build(&self.body, self.max_depth).map_err(|stop| JsonError::Syntax(describe(&self.body, stop)))
        });
        built.as_ref().map_err(Clone::clone)
    }
}

/// Position of the first byte that counts: RFC 8259, section 8.1, lets a reader ignore a byte order mark.
pub(crate) fn content_start(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// Checks that bytes are one JSON text, by its grammar: names may come twice, and halves of surrogate pairs pass.
pub(crate) fn sound(bytes: &[u8]) -> Result<(), Stop> {
    index::build(bytes, MAX_DEPTH).map(drop)
}

/// The elements that keep a body from being JSON, and the body with a number in the place of each; none where it is no JSON
/// for another reason as well.
pub(crate) fn holes(bytes: &[u8]) -> Option<(Vec<u8>, Vec<Range<usize>>)> {
    let mended = mended::mend(bytes, MAX_DEPTH)?;
    Some((mended.without(bytes), mended.spans().collect()))
}

/// Says in words where and why a body is not JSON.
pub(crate) fn describe(bytes: &[u8], stop: Stop) -> String {
    let at = stop.at().min(bytes.len());
    let before = bytes.get(..at).unwrap_or_default();
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let start = bytes.trim_ascii_start();
    let hint = if start.is_empty() {
        "; the body is empty"
    } else if start.starts_with(b"<") {
        "; the body looks like HTML or XML"
    } else {
        ""
    };
    format!("line {line}, column {column}: {}{hint}", reason(bytes, stop))
}

/// Says in words why a reader stopped.
pub(crate) fn reason(bytes: &[u8], stop: Stop) -> String {
    match stop.cause() {
        Cause::End => "the text ends in the middle of a value; it may be cut off".to_owned(),
        Cause::Unexpected => format!("unexpected {}", show(bytes, stop.at())),
        Cause::Control => format!("control character {} in a string", show(bytes, stop.at())),
        Cause::Escape => "unknown escape in a string".to_owned(),
        Cause::Surrogate => "half a surrogate pair in a string".to_owned(),
        Cause::Utf8 => "bytes that are not UTF-8".to_owned(),
        Cause::Depth => "nested more deeply than --max-json-depth allows".to_owned(),
        Cause::Number => "malformed number".to_owned(),
        Cause::Trailing => format!("unexpected {} after the value", show(bytes, stop.at())),
        Cause::Duplicate => "the object has this name twice".to_owned(),
        Cause::Drift | Cause::Misfit => "the schema has no place for it".to_owned(),
        Cause::Full => "a column of more than 2 GiB".to_owned(),
        Cause::Room => "too much for one page".to_owned(),
    }
}

/// The same without a character of the text.
pub(crate) fn what(cause: Cause) -> &'static str {
    match cause {
        Cause::End => "the text ends in the middle of a value",
        Cause::Unexpected => "something unexpected",
        Cause::Control => "a control character in a string",
        Cause::Escape => "an unknown escape in a string",
        Cause::Surrogate => "half a surrogate pair in a string",
        Cause::Utf8 => "bytes that are not UTF-8",
        Cause::Depth => "too deeply nested",
        Cause::Number => "a malformed number",
        Cause::Trailing => "something after the value",
        Cause::Duplicate => "a name that comes twice",
        Cause::Drift | Cause::Misfit => "no place in the schema",
        Cause::Full | Cause::Room => "too much for one page",
    }
}

fn show(bytes: &[u8], at: usize) -> String {
    let rest = bytes.get(at..).unwrap_or_default();
    let rest = rest.get(..rest.len().min(4)).unwrap_or_default();
    match String::from_utf8_lossy(rest).chars().next() {
        Some(character) if character.is_control() => format!("U+{:04X}", u32::from(character)),
        Some(character) => format!("`{character}`"),
        None => "end".to_owned(),
    }
}

#[cfg(test)]
mod tests;
