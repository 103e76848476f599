//! Where the records of a page are, and where in them something went wrong.

use super::{Page, RecordError, Walker};
use crate::json::scan::{self, Cause, Stop, byte, space};
use crate::json::{self, escape};

/// Why the records of a page could not be taken; positions are those of the body.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// JSON that stops making sense, or does not fit.
    Stop(Stop),
    /// Neither an array nor an object.
    NotRecords(usize),
    /// An element that is no object.
    NotAnObject(usize),
    /// A record beyond the limit: where it starts, and its length.
    TooLarge(usize, usize),
    /// A record that has the field that is added to it.
    Clash(usize, String),
    /// Something that has its message already.
    Error(RecordError),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Limits on records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) max_depth: usize,
    pub(crate) max_bytes: usize,
}

/// Checks that a page is UTF-8, where that is not known.
pub(crate) fn utf8(page: &Page) -> Result<(), Stop> {
    if page.validated {
        return Ok(());
    }
    let span = page.bytes().get(page.range.start..).unwrap_or_default();
    scan::utf8(span).map_err(|stop| Stop::new(page.range.start + stop.at(), stop.cause()))
}

/// Calls `take` with the start of each record; it returns the position after the record. Returns how many there were.
#[inline(always)]
pub(crate) fn each(
    page: &Page,
    max_bytes: usize,
    take: impl FnMut(&[u8], usize) -> Result<usize, Fault>,
) -> Result<u64, Fault> {
    let bytes = page.bytes();
    let (count, end) = span(bytes, page.range.start, page.lines, max_bytes, &page.leave_out, take)?;
    let at = space(bytes, end);
    if at < bytes.len() { Err(Stop::new(at, Cause::Trailing).into()) } else { Ok(count) }
}

/// Calls `take` as [`each`] does, for the records that start at a position, except for those at the places in `leave_out`;
/// returns how many were taken and where they end.
#[inline(always)]
pub(crate) fn span(
    bytes: &[u8],
    start: usize,
    lines: bool,
    max_bytes: usize,
    leave_out: &[u64],
    mut take: impl FnMut(&[u8], usize) -> Result<usize, Fault>,
) -> Result<(u64, usize), Fault> {
    let mut at = space(bytes, start);
    let listed = match byte(bytes, at) {
        _ if lines && at >= bytes.len() => return Ok((0, at)),
        _ if lines => false,
        b'{' => false,
        b'[' => {
            at = space(bytes, at + 1);
            if byte(bytes, at) == b']' {
                return Ok((0, at + 1));
            }
            true
        }
        b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9' => return Err(Fault::NotRecords(at)),
        _ => return Err(scan::unexpected(bytes, at).into()),
    };
    let mut left_out = leave_out;
    let mut place = 0;
    loop {
        if byte(bytes, at) != b'{' {
            return Err(no_object(bytes, at));
        }
        let end = match left_out {
            [first, rest @ ..] if *first == place => {
                left_out = rest;
                Walker::default().walk(bytes, at, crate::json::MAX_DEPTH)?
            }
            _ => take(bytes, at)?,
        };
        if end - at > max_bytes {
            return Err(Fault::TooLarge(at, end - at));
        }
        place += 1;
        at = space(bytes, end);
        if listed {
            match byte(bytes, at) {
                b',' => at = space(bytes, at + 1),
                b']' => {
                    at += 1;
                    break;
                }
                _ => return Err(scan::unexpected(bytes, at).into()),
            }
        } else if !lines || at >= bytes.len() {
            break;
        }
    }
    Ok((place - (leave_out.len() - left_out.len()) as u64, at))
}

#[cold]
fn no_object(bytes: &[u8], at: usize) -> Fault {
    match byte(bytes, at) {
        b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9' => Fault::NotAnObject(at),
        _ => scan::unexpected(bytes, at).into(),
    }
}

/// Gives a fault its record, path and words.
#[cold]
pub(crate) fn explain(page: &Page, fault: Fault, bounds: Bounds) -> RecordError {
    let place = |at: usize| locate(page, at);
    match fault {
        Fault::Error(error) => error,
        Fault::NotRecords(at) => RecordError::NotRecords { found: scan::kind(byte(page.bytes(), at)) },
        Fault::NotAnObject(at) => {
            RecordError::NotAnObject { index: place(at).0, found: scan::kind(byte(page.bytes(), at)) }
        }
        Fault::TooLarge(at, bytes) => RecordError::TooLarge { index: place(at).0, bytes, limit: bounds.max_bytes },
        Fault::Clash(at, name) => RecordError::Clash { index: place(at).0, name },
        Fault::Stop(stop) => {
            let (index, path) = place(stop.at());
            match stop.cause() {
                Cause::Duplicate => RecordError::Duplicate { index, path },
                Cause::Depth => RecordError::TooDeep { index, path, limit: bounds.max_depth },
                Cause::Full => RecordError::Full { index, path },
                Cause::Room => RecordError::Room { index },
                _ => {
                    let reason = json::reason(page.bytes(), stop);
                    RecordError::Syntax { index, path, offset: stop.at(), reason }
                }
            }
        }
    }
}

/// One level of nesting on the way to a place.
enum Step {
    Object(Option<(usize, usize)>),
    Array(u64),
}

/// The index of the record that holds a position, and the position's path in it. Goes over the page again, by brackets
/// and strings alone: the text before the place is known to be sound.
fn locate(page: &Page, target: usize) -> (u64, String) {
    let bytes = page.bytes();
    let mut steps: Vec<Step> = Vec::new();
    let mut records = 0u64;
    let mut at = page.range.start;
    let mut name_next = false;
    while at < target && at < bytes.len() {
        match byte(bytes, at) {
            b'"' => {
                let end = scan::string(bytes, at + 1).map_or(bytes.len(), |(end, _)| end);
                if let (true, Some(Step::Object(name))) = (name_next, steps.last_mut()) {
                    *name = Some((at + 1, end.min(bytes.len())));
                }
                if end >= target {
                    break;
                }
                at = end;
            }
            b'{' => {
                steps.push(Step::Object(None));
                name_next = true;
            }
            b'[' => steps.push(Step::Array(0)),
            b'}' | b']' => {
                steps.pop();
                records += u64::from(steps.is_empty());
                name_next = false;
            }
            b':' => name_next = false,
            b',' => match steps.last_mut() {
                Some(Step::Array(index)) => *index += 1,
                Some(Step::Object(name)) => {
                    *name = None;
                    name_next = true;
                }
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    let mut inner = steps.as_slice();
    if let (false, Some((Step::Array(index), rest))) = (page.lines, inner.split_first()) {
        records = *index;
        inner = rest;
    }
    (records, inner.iter().map(|step| segment(bytes, step)).collect())
}

fn segment(bytes: &[u8], step: &Step) -> String {
    match step {
        Step::Array(index) => format!("/{index}"),
        Step::Object(None) => String::new(),
        Step::Object(Some((start, end))) => {
            let raw = bytes.get(*start..*end).unwrap_or_default();
            let mut name = Vec::new();
            if json::text::unescape(raw, &mut name).is_err() {
                name = raw.to_vec();
            }
            format!("/{}", escape(&String::from_utf8_lossy(&name)))
        }
    }
}

/// Names of a checked record's members, decoded, and the spans of their values.
pub(crate) fn members(bytes: &[u8], start: usize) -> Vec<(Vec<u8>, (usize, usize))> {
    let mut names = Vec::new();
    let mut at = space(bytes, start + 1);
    let mut walker = Walker::default();
    while byte(bytes, at) == b'"' {
        let Ok((end, _)) = scan::string(bytes, at + 1) else { break };
        let mut name = Vec::new();
        if json::text::unescape(bytes.get(at + 1..end).unwrap_or_default(), &mut name).is_err() {
            break;
        }
        let value = space(bytes, space(bytes, end + 1) + 1);
        let Ok(end) = walker.walk(bytes, value, usize::MAX) else { break };
        names.push((name, (value, end)));
        at = space(bytes, end);
        if byte(bytes, at) == b',' {
            at = space(bytes, at + 1);
        }
    }
    names
}

/// The fault of a record that has a field which is added to it.
pub(crate) fn clash(start: usize, name: &str) -> Fault {
    Fault::Clash(start, name.to_owned())
}
