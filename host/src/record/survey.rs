//! A look at records before they are decoded: what tells each from the others, and where it stands in order. Nothing is
//! said of what is malformed; whoever decodes the page will. A record that is has its place all the same, so that those behind
//! it are seen.

use std::borrow::Cow;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::records::{self, Fault};
use super::split::spans;
use super::{Page, Ready, key_hash};
use crate::json::scan::{self, Cause, Stop, byte, space};
use crate::json::{container_end, pointer_tokens, text};

/// What is looked for in records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Survey {
    primary_key: Vec<String>,
    /// Names on the way to the field that orders the records.
    cursor: Option<Vec<String>>,
}

/// One record, as far as a survey goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// A hash of its primary key; none where a part is null or absent, or the stream has no key.
    pub(crate) key: Option<u64>,
    /// A hash of its text.
    pub(crate) text: u64,
    /// The value of the field that orders the records: a text or a number.
    pub(crate) cursor: Option<Cow<'a, str>>,
}

impl Record<'_> {
    pub(crate) fn into_owned(self) -> Record<'static> {
        Record { cursor: self.cursor.map(|cursor| Cow::Owned(cursor.into_owned())), ..self }
    }

    /// What tells it from others: its key, or its text where it has none.
    pub(crate) fn edge(&self) -> u64 {
        self.key.unwrap_or(self.text)
    }

    /// Whether this is the record of which [`Appended::edge`](super::Appended::edge) is known.
    pub(crate) fn is(&self, edge: u64) -> bool {
        self.key == Some(edge) || self.text == edge
    }
}

impl Survey {
    /// Prepares to look for a primary key, and for a cursor field: a name, or an RFC 6901 pointer within a record.
    pub(crate) fn new(primary_key: &[String], cursor: Option<&str>) -> Self {
        let tokens = |field: &str| match field.starts_with('/') {
            true => pointer_tokens(field).ok().map(|tokens| tokens.into_iter().map(Cow::into_owned).collect()),
            false => Some(vec![field.to_owned()]),
        };
        Self { primary_key: primary_key.to_vec(), cursor: cursor.and_then(tokens) }
    }

    /// Whether it looks for a field that orders the records.
    pub(crate) fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    /// The field that orders the records, where it is one of their own and not deeper in them.
    pub(crate) fn field(&self) -> Option<&str> {
        match self.cursor.as_deref() {
            Some([field]) => Some(field),
            _ => None,
        }
    }

    /// Whether what orders the records is their primary key, so that no two share a place.
    pub(crate) fn is_by_key(&self) -> bool {
        matches!((self.field(), self.primary_key.as_slice()), (Some(field), [key]) if field == key)
    }

    /// Looks at the first record of a page.
    pub(crate) fn first<'a>(&self, page: &'a Page) -> Option<Record<'a>> {
        let (mut found, is_whole) = self.look(page.bytes(), page.range.start, page.lines, &page.extra, 1);
        match found.pop() {
            None if !is_whole => self.alone(page, spans(page)?.first()?),
            found => found,
        }
    }

    /// Looks at the first record of an array.
    pub(crate) fn first_at<'a>(&self, bytes: &'a [u8], start: usize) -> Option<Record<'a>> {
        self.look(bytes, start, false, &[], 1).0.pop()
    }

    /// Looks at every record of a page, in order. Where the page has been decoded, most is known already.
    pub(crate) fn all<'a>(&self, page: &'a Page, ready: Option<&Ready>) -> Vec<Record<'a>> {
        if let Some(known) = ready.and_then(|ready| self.known(page, ready)) {
            return known;
        }
        match self.look(page.bytes(), page.range.start, page.lines, &page.extra, usize::MAX) {
            (found, true) => found,
            (found, false) => match spans(page) {
                Some(spans) => spans.iter().filter_map(|span| self.alone(page, span)).collect(),
                // Nothing of such a page is taken.
                None => found,
            },
        }
    }

    /// Looks at one record among others that may be malformed, as this one may be.
    #[cold]
    fn alone<'a>(&self, page: &'a Page, span: &Range<usize>) -> Option<Record<'a>> {
        let bytes = page.body.get(..span.end)?;
        let (found, _) = self.look(bytes, span.start, true, &page.extra, 1);
        let malformed =
            || Record { key: None, text: xxh3_64(bytes.get(span.start..).unwrap_or_default()), cursor: None };
        Some(found.into_iter().next().unwrap_or_else(malformed))
    }

    fn known<'a>(&self, page: &'a Page, ready: &Ready) -> Option<Vec<Record<'a>>> {
        let listed = ready.listed.as_ref()?;
        let keys = &ready.appended.key_hashes;
        let keyed = self.primary_key.is_empty() || keys.len() == listed.spots.len();
        let ordered = self.field() == Some(&*listed.field);
        if !keyed || !ordered || !page.extra.is_empty() || !page.leave_out.is_empty() {
            return None;
        }
        let bytes = page.bytes();
        let records = listed.spots.iter().enumerate().map(|(place, spot)| Record {
            key: keys.get(place).copied(),
            text: xxh3_64(bytes.get(spot.element.clone()).unwrap_or_default()),
            cursor: scalar(bytes, (spot.value.start, spot.value.end), &[]),
        });
        Some(records.collect())
    }

    /// Looks at so many records at most; says also whether nothing ended the look before.
    fn look<'a>(
        &self,
        bytes: &'a [u8],
        start: usize,
        lines: bool,
        extra: &[(String, String)],
        most: usize,
    ) -> (Vec<Record<'a>>, bool) {
        let mut found = Vec::new();
        let mut scratch = Vec::new();
        let mut keys: Vec<Option<&[u8]>> = Vec::new();
        let way = self.cursor.as_deref().and_then(<[String]>::split_first);
        // What is beyond `most`, or malformed, ends the look.
        let looked = records::span(bytes, start, lines, usize::MAX, &[], |_, at| {
            if found.len() == most {
                return Err(Fault::NotRecords(at));
            }
            keys.clear();
            keys.resize(self.primary_key.len(), None);
            let mut cursor = None;
            let mut missing = keys.len() + usize::from(way.is_some());
            let end = container_end(bytes, at);
            if missing > 0 {
                members(bytes, at, &mut |name, value| {
                    for (part, found) in self.primary_key.iter().zip(&mut keys) {
                        if found.is_none() && is_name(name, part.as_bytes()) {
                            *found = bytes.get(value.0..value.1);
                            missing -= 1;
                        }
                    }
                    if let Some((first, rest)) = way
                        && cursor.is_none()
                        && is_name(name, first.as_bytes())
                    {
                        cursor = scalar(bytes, value, rest);
                        missing -= 1;
                    }
                    // A name that comes twice is for the decoder to refuse.
                    missing > 0
                })?;
            }
            for (part, name) in keys.iter_mut().zip(&self.primary_key) {
                let added = || extra.iter().find(|extra| extra.0 == *name).map(|extra| extra.1.trim_ascii().as_bytes());
                *part = part.or_else(added);
            }
            let key = match keys.is_empty() {
                true => None,
                false => key_hash(keys.iter().copied(), &mut scratch),
            };
            found.push(Record { key, text: xxh3_64(bytes.get(at..end).unwrap_or_default()), cursor });
            Ok(end)
        });
        let is_whole = looked.is_ok() || found.len() == most;
        (found, is_whole)
    }
}

fn is_name(raw: &[u8], name: &[u8]) -> bool {
    if memchr::memchr(b'\\', raw).is_none() {
        return raw == name;
    }
    let mut plain = Vec::new();
    text::unescape(raw, &mut plain).is_ok() && plain == name
}

/// Takes the inside of a name, and the span of its value; says whether to go on.
type Visit<'a> = dyn FnMut(&[u8], (usize, usize)) -> bool + 'a;

/// Visits the members of the object at a position.
fn members(bytes: &[u8], at: usize, visit: &mut Visit<'_>) -> Result<(), Stop> {
    let mut at = space(bytes, at + 1);
    while byte(bytes, at) == b'"' {
        let (end, _) = scan::string(bytes, at + 1)?;
        let name = bytes.get(at + 1..end).unwrap_or_default();
        let value = space(bytes, space(bytes, end + 1) + 1);
        let end = value_end(bytes, value)?;
        if !visit(name, (value, end)) {
            return Ok(());
        }
        at = space(bytes, end);
        if byte(bytes, at) == b',' {
            at = space(bytes, at + 1);
        }
    }
    if byte(bytes, at) == b'}' { Ok(()) } else { Err(scan::unexpected(bytes, at)) }
}

/// The position after a value, by brackets and strings alone.
fn value_end(bytes: &[u8], mut at: usize) -> Result<usize, Stop> {
    match byte(bytes, at) {
        b'"' => Ok(scan::string(bytes, at + 1)?.0 + 1),
        b'{' | b'[' => Ok(container_end(bytes, at)),
        b'}' | b']' | b',' => Err(scan::unexpected(bytes, at)),
        0 if at >= bytes.len() => Err(Stop::new(at, Cause::End)),
        _ => {
            // A number or a word ends where something else begins.
            while matches!(byte(bytes, at + 1), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.') {
                at += 1;
            }
            Ok(at + 1)
        }
    }
}

/// The text or number at the end of the way from a value.
fn scalar<'a>(bytes: &'a [u8], value: (usize, usize), way: &[String]) -> Option<Cow<'a, str>> {
    let raw = bytes.get(value.0..value.1)?;
    let Some((name, rest)) = way.split_first() else {
        return match raw.first()? {
            b'"' => {
                let inside = raw.get(1..raw.len().checked_sub(1)?)?;
                if memchr::memchr(b'\\', inside).is_none() {
                    return std::str::from_utf8(inside).ok().map(Cow::Borrowed);
                }
                let mut plain = Vec::new();
                text::unescape(inside, &mut plain).ok()?;
                String::from_utf8(plain).ok().map(Cow::Owned)
            }
            b'-' | b'0'..=b'9' => std::str::from_utf8(raw).ok().map(Cow::Borrowed),
            _ => None,
        };
    };
    if raw.first() != Some(&b'{') {
        return None;
    }
    let mut found = None;
    members(bytes, value.0, &mut |key, span| {
        let is_it = is_name(key, name.as_bytes());
        if is_it {
            found = scalar(bytes, span, rest);
        }
        !is_it
    })
    .ok()?;
    found
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Refused, Table};
    use super::*;
    use crate::schema::Schema;

    fn key(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    fn page(text: &str) -> Page {
        Page::from_json(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// What the decoder knows of a page.
    fn decoded(page: &Page, parts: &[&str]) -> super::super::Appended {
        let mut table = Table::new(Schema::default(), key(parts), 16, 1 << 20);
        loop {
            match table.append(page) {
                Ok(appended) => return appended,
                Err(Refused::Widen(schema)) => table.widen(schema),
                Err(other) => unreachable!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_survey_tells_records_by_the_same_hashes_as_the_decoder() {
        let text = r#" [ {"a":{"t":[1,"]"]} , "id" : 7 ,"x":"}\""}, {"id":"7","\u0061":{ "t" : "2024" }} ,{"id":{"b":1},"a":{"t":5.5}},
            {"id":null,"a":{"t":null}}, {"x":true} ] "#;
        let survey = Survey::new(&key(&["id"]), Some("/a/t"));
        let all = page(text);
        let found = survey.all(&all, None);
        let keys: Vec<u64> = found.iter().filter_map(|record| record.key).collect();
        assert_eq!(keys, decoded(&all, &["id"]).key_hashes);
        assert_eq!((found.len(), keys.len()), (5, 3));
        let cursors: Vec<_> = found.iter().map(|record| record.cursor.as_deref()).collect();
        assert_eq!(cursors, [None, Some("2024"), Some("5.5"), None, None]);
        assert_eq!(survey.first(&all).as_ref(), found.first());
    }

    #[test]
    fn the_edge_of_a_page_is_known_again_at_the_front_of_the_next() {
        for (parts, last) in
            [(vec!["id"], r#"{"id":2}"#), (vec![], r#"{"id":2,"x":[ 1 ]}"#), (vec!["no"], r#"{"id":2}"#)]
        {
            let edge = decoded(&page(&format!(r#"[{{"id":1}},{last}]"#)), &parts).edge.unwrap();
            let survey = Survey::new(&key(&parts), None);
            assert!(survey.first(&page(&format!(r#"[{last},{{"id":3}}]"#))).unwrap().is(edge), "{parts:?}");
            assert!(!survey.first(&page(r#"[{"id":3}]"#)).unwrap().is(edge), "{parts:?}");
        }
        assert_eq!(decoded(&page("[]"), &["id"]).edge, None);
        assert_eq!(Survey::default().first(&page("[]")), None);
        assert_eq!(Survey::default().first(&page("[1")), None);
    }

    #[test]
    fn a_malformed_record_hides_none_behind_it() {
        let survey = Survey::new(&key(&["id"]), Some("at"));
        let whole = page(r#"[{"id":1,"at":1},{"id":2,"at":2},{"id":3,"at":3}]"#);
        let sound = survey.all(&whole, None);
        for bad in ["{\"t\":\"\0\"}", "{\"t\":NaN,}", "null", "oops"] {
            for (text, place) in [
                (format!(r#"[{bad},{{"id":1,"at":1}},{{"id":2,"at":2}},{{"id":3,"at":3}}]"#), 0),
                (format!(r#"[{{"id":1,"at":1}},{bad} , {{"id":2,"at":2}},{{"id":3,"at":3}}]"#), 1),
                (format!(r#"[{{"id":1,"at":1}},{{"id":2,"at":2}},{{"id":3,"at":3}},{bad}]"#), 3),
            ] {
                let page = page(&text);
                let mut found = survey.all(&page, None);
                assert_eq!(survey.first(&page).as_ref(), found.first());
                let malformed = found.remove(place);
                let text_hash = xxh3_64(bad.as_bytes());
                assert_eq!(malformed, Record { key: None, text: text_hash, cursor: None });
                assert_eq!(found, sound, "{text}");
            }
        }
    }

    #[test]
    fn records_that_are_left_out_are_neither_decoded_nor_counted() {
        for text in [r#"[{"id":1},{"id":2},{"id":3}]"#, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n"] {
            for (leave_out, left) in [(vec![], 3), (vec![0], 2), (vec![1, 2], 1), (vec![0, 1, 2], 0), (vec![7], 3)] {
                let page = Page { leave_out, ..page(text) };
                let appended = decoded(&page, &["id"]);
                assert_eq!(
                    (appended.records, appended.key_hashes.len()),
                    (left, left as usize),
                    "{text} {:?}",
                    page.leave_out
                );
            }
        }
        let unsound = Page { leave_out: vec![0], ..page(r#"[{"id":1,}]"#) };
        let mut table = Table::new(Schema::default(), Vec::new(), 16, 1 << 20);
        assert!(matches!(table.append(&unsound), Err(Refused::Error(_))), "what is left out is JSON all the same");
    }
}
