//! A refused page taken apart: the records that can be stored, and those that cannot, each with its reason.
//!
//! This is the slow way, for pages of which at least one record is at fault. Where records start and end is found by
//! brackets and strings alone, so that whatever stands inside of one (a number that is none, a name that comes twice, half
//! a surrogate pair) does not take the others along. A page of which that cannot be told, one that is cut off for example,
//! is at fault as a whole: nobody knows what is missing from it.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::records::{self, Bounds, Fault};
use super::walk::Walker;
use super::{Page, RecordError};
use crate::json::element_end;
use crate::json::scan::{byte, space};

/// A page taken apart.
#[derive(Debug)]
pub(crate) struct Split {
    /// The records that can be stored, one a line; none where there is none.
    pub(crate) page: Option<Page>,
    /// Which records of the page as it came they are, in order.
    pub(crate) kept: Vec<u64>,
    /// The others, in order.
    pub(crate) refused: Vec<Refused>,
}

/// A record that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its place in the page, from 0.
    pub(crate) record: u64,
    /// Where it is in the body.
    pub(crate) span: Range<usize>,
    /// Why.
    pub(crate) error: RecordError,
}

/// Takes a refused page apart. None where it is at fault as a whole: where its records' ends cannot be told, where its
/// constant fields or its sum of fields are the matter, or where nothing in it is an object, which speaks for something
/// else than records.
pub(crate) fn split(page: &Page, bounds: Bounds, error: &RecordError) -> Option<Split> {
    let of_record = matches!(
        error,
        RecordError::NotAnObject { .. }
            | RecordError::Syntax { .. }
            | RecordError::Duplicate { .. }
            | RecordError::TooDeep { .. }
            | RecordError::TooLarge { .. }
            | RecordError::Clash { .. }
    );
    let spans = if of_record { spans(page)? } else { return None };
    if !spans.iter().any(|span| byte(&page.body, span.start) == b'{') {
        return None;
    }
    let mut walker = Walker::default();
    let mut lines = BytesMut::new();
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for (record, span) in (0..).zip(spans).filter(|(record, _)| !page.leave_out.contains(record)) {
        match check(page, &span, bounds, &mut walker) {
            Ok(()) => {
                lines.put_slice(page.body.get(span).unwrap_or_default());
                lines.put_u8(b'\n');
                kept.push(record);
            }
            Err(error) => refused.push(Refused { record, span, error: error.at(record) }),
        }
    }
    let page = (!kept.is_empty()).then(|| Page {
        range: 0..lines.len(),
        body: lines.freeze(),
        validated: true,
        leave_out: Vec::new(),
        lines: true,
        extra: page.extra.clone(),
    });
    Some(Split { page, kept, refused })
}

/// Checks one record by itself, as every format does.
fn check(page: &Page, span: &Range<usize>, bounds: Bounds, walker: &mut Walker) -> Result<(), RecordError> {
    let alone = Page {
        body: page.body.slice(..span.end),
        range: span.clone(),
        validated: page.validated,
        // A record that is an array must not be taken for a page of records.
        lines: true,
        extra: Vec::new(),
        leave_out: Vec::new(),
    };
    let take = |bytes: &[u8], at: usize| {
        let end = walker.walk(bytes, at, bounds.max_depth)?;
        if !page.extra.is_empty() {
            let names = records::members(bytes, at);
            let clash = page.extra.iter().find(|extra| names.iter().any(|(name, _)| name == extra.0.as_bytes()));
            if let Some((name, _)) = clash {
                return Err(records::clash(at, name));
            }
        }
        Ok(end)
    };
    let checked = records::utf8(&alone).map_err(Fault::from);
    let checked = checked.and_then(|()| records::each(&alone, bounds.max_bytes, take));
    checked.map(|_| ()).map_err(|fault| records::explain(&alone, fault, bounds))
}

/// Why single records of a page cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpicked {
    /// Their ends cannot be told.
    Ends,
    /// There is no record at such a place, or the places are not ascending.
    Places,
}

/// Makes a page of some records of another, by their places. What is inside of them is not looked at.
pub(crate) fn pick(page: &Page, places: &[u32]) -> Result<Page, Unpicked> {
    let mut picked = BytesMut::with_capacity(page.range.len().min(1 << 20));
    picked.put_u8(b'[');
    if !places.is_sorted_by(|one, next| one < next) {
        return Err(Unpicked::Places);
    }
    let bytes = page.bytes();
    let start = space(bytes, page.range.start);
    let is_empty = byte(bytes, start) == b'[' && byte(bytes, space(bytes, start + 1)) == b']';
    let spans = if is_empty { Vec::new() } else { spans(page).ok_or(Unpicked::Ends)? };
    for (number, place) in places.iter().enumerate() {
        let span = usize::try_from(*place).ok().and_then(|place| spans.get(place)).ok_or(Unpicked::Places)?;
        if number > 0 {
            picked.put_u8(b',');
        }
        picked.put_slice(bytes.get(span.clone()).unwrap_or_default());
    }
    picked.put_u8(b']');
    let range = 0..picked.len();
    Ok(Page { body: picked.freeze(), range, extra: page.extra.clone(), lines: false, leave_out: Vec::new(), ..*page })
}

/// Finds where the records of a page are; none where that cannot be told.
pub(crate) fn spans(page: &Page) -> Option<Vec<Range<usize>>> {
    let bytes = page.bytes();
    let mut at = space(bytes, page.range.start);
    if page.lines {
        return lines(bytes, at);
    }
    if byte(bytes, at) != b'[' {
        let end = element_end(bytes, at, false).filter(|_| byte(bytes, at) == b'{')?;
        return (space(bytes, end) == bytes.len()).then(|| std::iter::once(at..end).collect());
    }
    let mut spans = Vec::new();
    at = space(bytes, at + 1);
    loop {
        let end = element_end(bytes, at, false)?;
        spans.push(at..end);
        at = space(bytes, end);
        match byte(bytes, at) {
            b',' => at = space(bytes, at + 1),
            b']' => return (space(bytes, at + 1) == bytes.len()).then_some(spans),
            _ => return None,
        }
    }
}

/// The same for records one after the other. One that does not come to its end is taken to end with its line, if the next
/// line begins a record; in the last line it is cut off.
fn lines(bytes: &[u8], mut at: usize) -> Option<Vec<Range<usize>>> {
    let mut spans = Vec::new();
    while at < bytes.len() {
        let whole = element_end(bytes, at, true);
        let end = match whole {
            Some(end) => end,
            None => {
                let end = at + memchr::memchr(b'\n', bytes.get(at..)?)?;
                if byte(bytes, space(bytes, end)) != b'{' {
                    return None;
                }
                end
            }
        };
        spans.push(at..end);
        at = space(bytes, end);
    }
    Some(spans)
}

impl RecordError {
    /// Says the record's place in its page, where it was looked at by itself.
    pub(crate) fn at(mut self, place: u64) -> Self {
        if let Some(index) = self.index() {
            *index = place;
        }
        self
    }

    /// The record's place in its page; none where the page is at fault.
    pub(crate) fn place(&self) -> Option<u64> {
        self.clone().index().copied()
    }

    fn index(&mut self) -> Option<&mut u64> {
        match self {
            Self::NotAnObject { index, .. }
            | Self::Syntax { index, .. }
            | Self::Duplicate { index, .. }
            | Self::TooDeep { index, .. }
            | Self::TooLarge { index, .. }
            | Self::Clash { index, .. }
            | Self::Drift { index, .. }
            | Self::Room { index }
            | Self::Full { index, .. } => Some(index),
            Self::NotRecords { .. } | Self::Extra { .. } | Self::TooManyFields { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const BOUNDS: Bounds = Bounds { max_depth: 8, max_bytes: 200 };

    fn any() -> RecordError {
        RecordError::NotAnObject { index: 0, found: "" }
    }

    /// The records that are kept, and those that are not as place, text and reason.
    type Taken = (String, Vec<(u64, String, String)>);

    fn taken(text: &str, lines: bool, extra: &[(&str, &str)]) -> Option<Taken> {
        let extra = extra.iter().map(|(name, json)| ((*name).to_owned(), (*json).to_owned())).collect();
        let page = Page { lines, extra, ..Page::from_json(Bytes::copy_from_slice(text.as_bytes())) };
        let split = split(&page, BOUNDS, &any())?;
        let kept = split.page.map(|page| String::from_utf8(page.body.to_vec()).unwrap()).unwrap_or_default();
        let refused = split.refused.into_iter();
        let refused = refused.map(|one| (one.record, text.get(one.span).unwrap().to_owned(), one.error.to_string()));
        Some((kept.trim_end().replace('\n', " "), refused.collect()))
    }

    fn one(text: &str) -> (String, u64, String, String) {
        let (kept, refused) = taken(text, false, &[]).unwrap();
        let [(record, raw, reason)] = refused.as_slice() else { panic!("{refused:?}") };
        (kept, *record, raw.clone(), reason.clone())
    }

    #[test]
    fn one_record_at_fault_does_not_take_the_others_along() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(200));
        for (bad, reason) in [
            (r#"{"a":1,"a":2}"#, "record 1 has a name twice: `/a`"),
            (r#"{"a":{"b":[{"c":1,"\u0063":2}]}}"#, "record 1 has a name twice: `/a/b/0/c`"),
            (
                r#"{"a":"\ud800"}"#,
                "record 1 is not valid JSON at `/a`, byte 15 of the body: half a surrogate pair in a string",
            ),
            (r#"{"a":01}"#, "record 1 is not valid JSON at `/a`, byte 15 of the body: malformed number"),
            (r#"{"a":NaN}"#, "record 1 is not valid JSON at `/a`, byte 14 of the body: unexpected `N`"),
            (r#"{"a":-Infinity}"#, "record 1 is not valid JSON at `/a`, byte 15 of the body: malformed number"),
            (r#"{"a":"\x"}"#, "record 1 is not valid JSON at `/a`, byte 15 of the body: unknown escape in a string"),
            (
                "{\"a\":\"\0\"}",
                "record 1 is not valid JSON at `/a`, byte 15 of the body: control character U+0000 in a string",
            ),
            (r#"{"a" 1,}"#, "record 1 is not valid JSON at `/a`, byte 14 of the body: unexpected `1`"),
            (r#"{a:"]}"}"#, "record 1 is not valid JSON at ``, byte 10 of the body: unexpected `a`"),
            ("7", "record 1 is not an object: a number"),
            ("null", "record 1 is not an object: null"),
            (r#""{\"a\":1},[""#, "record 1 is not an object: a string"),
            (r#"[{"a":1}]"#, "record 1 is not an object: an array"),
            ("oops", "record 1 is not valid JSON at ``, byte 9 of the body: unexpected `o`"),
            (r#"{"a":[[[[[[[[1]]]]]]]]}"#, "record 1 is nested deeper than 8 at `/a/0/0/0/0/0/0/0`"),
            (long.as_str(), "record 1 is longer than 200 bytes: 208"),
        ] {
            let found = one(&format!("[{{\"a\":1}},{bad} , {{ \"a\" : \"]}}\\\"\" }}]"));
            let kept = r#"{"a":1} { "a" : "]}\"" }"#;
            assert_eq!(found, (kept.to_owned(), 1, bad.to_owned(), reason.to_owned()));
        }
    }

    #[test]
    fn a_page_may_have_one_record_only_and_that_one_may_be_at_fault() {
        let bad = r#"{"a":1,"a":2}"#;
        let reason = "record 0 has a name twice: `/a`".to_owned();
        assert_eq!(one(&format!("[{bad}]")), (String::new(), 0, bad.to_owned(), reason.clone()));
        assert_eq!(one(&format!(" {bad} ")), (String::new(), 0, bad.to_owned(), reason));
    }

    #[test]
    fn a_field_that_is_added_must_not_be_there() {
        let (kept, refused) = taken(r#"[{"a":1},{"\u0070":2,"x":0},{"x":{"p":1}}]"#, false, &[("p", "1")]).unwrap();
        assert_eq!(kept, r#"{"a":1} {"x":{"p":1}}"#);
        let reason = "record 1 already has the field that is added to it: `p`".to_owned();
        assert_eq!(refused, [(1, r#"{"\u0070":2,"x":0}"#.to_owned(), reason)]);
    }

    #[test]
    fn a_page_at_fault_as_a_whole_is_not_taken_apart() {
        for text in [
            r#"[{"a":1},{"a":"#,
            r#"[{"a":1},{"a":"x"#,
            r#"[{"a":1}"#,
            r#"[{"a":1}]]"#,
            r#"[{"a":1},]"#,
            r#"[{"a":1},,{"a":2}]"#,
            r#"[{"a":1} {"a":2}]"#,
            r#"[{"a":1],{"a":2}]"#,
            r#"[{"a":[1}],{"a":2}]"#,
            "[1,2]",
            "[]",
            "[oops]",
            "7",
            "<html>",
            "",
            r#"{"a":1}{"a":2}"#,
        ] {
            assert_eq!(taken(text, false, &[]), None, "{text}");
        }
        let page = Page::from_json(Bytes::from_static(br#"[{"a":1}]"#));
        assert!(split(&page, BOUNDS, &RecordError::TooManyFields { limit: 1 }).is_none());
        assert!(split(&page, BOUNDS, &RecordError::Room { index: 0 }).is_none());
    }

    #[test]
    fn records_are_picked_by_their_places_whatever_is_in_them() {
        let picked = |text: &str, places: &[u32]| {
            let page = pick(&Page::from_json(Bytes::copy_from_slice(text.as_bytes())), places)?;
            Ok(String::from_utf8(page.body.slice(page.range).to_vec()).unwrap())
        };
        let text = " [ {\"a\":\"]\0\"} , {\"b\":[1]},\n{c} ] ";
        assert_eq!(picked(text, &[0, 2]), Ok("[{\"a\":\"]\0\"},{c}]".to_owned()));
        assert_eq!(picked(text, &[1]), Ok("[{\"b\":[1]}]".to_owned()));
        assert_eq!(picked(text, &[]), Ok("[]".to_owned()));
        assert_eq!(picked("[ ]", &[]), Ok("[]".to_owned()));
        for places in [&[3][..], &[1, 1], &[2, 0], &[0, u32::MAX]] {
            assert_eq!(picked(text, places), Err(Unpicked::Places));
        }
        assert_eq!(picked("[]", &[0]), Err(Unpicked::Places));
        assert_eq!(picked("[{\"a\":1},{\"a\"", &[0]), Err(Unpicked::Ends));
    }

    #[test]
    fn a_broken_line_is_one_record() {
        let (kept, refused) =
            taken("{\"a\":1}\n{\"a\":\"x}\r\n{\"a\":\"y\"}{\"a\":2} 7\n\n{\n\"a\":3}\n", true, &[]).unwrap();
        assert_eq!(kept, "{\"a\":1} {\"a\":\"y\"} {\"a\":2} { \"a\":3}");
        let places: Vec<(u64, &str)> = refused.iter().map(|(record, raw, _)| (*record, raw.as_str())).collect();
        assert_eq!(places, [(1, "{\"a\":\"x}\r"), (4, "7")]);
        assert_eq!(taken("{\"a\":1}\n{\"a\":", true, &[]), None, "cut off");
        assert_eq!(taken("{\"a\":1}\n{\"a\":\n", true, &[]), None, "cut off");
        assert_eq!(taken("{\"a\":1}\n{\n\"a\":\"x\n\"b\":2}\n", true, &[]), None, "not line by line");
    }

    #[test]
    fn bytes_that_are_no_text_are_one_record_at_fault() {
        let page = Page::from_json(Bytes::from_static(b"[{\"a\":\"\xff\"},{\"a\":\"\xc3\xa9\"}]"));
        let split = split(&page, BOUNDS, &any()).unwrap();
        assert_eq!(split.kept, [1]);
        let reason = "record 0 is not valid JSON at `/a`, byte 7 of the body: bytes that are not UTF-8";
        assert_eq!(split.refused[0].error.to_string(), reason);
    }
}
