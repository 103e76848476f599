//! Bodies of which single elements of a listing are no JSON: a raw control character or an unknown escape in a string, a
//! number that is none. Where all else is sound, such an element takes nothing else along: what stands around it can be
//! looked up, and its own record is refused when the records are taken.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::index::{self, Index};
use super::scan::{self, Cause, byte, space};
use super::text;

/// Bytes of such an element that a guest is shown. It has no use for them but to tell elements apart.
const SHOWN_BYTES: usize = 1024;

/// What can be told of a body that is no JSON as a whole.
#[derive(Debug)]
pub(super) struct Mended {
    /// What is known of everything else.
    pub(super) index: Index,
    /// Elements that are no JSON, in order, each with a JSON string that stands for it.
    holes: Vec<(Range<usize>, String)>,
}

impl Mended {
    /// The body with a number in the place of each element that is no JSON.
    pub(super) fn without(&self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = bytes.to_vec();
        self.holes.iter().for_each(|(hole, _)| fill(&mut rest, hole));
        rest
    }

    /// Where the elements are that are no JSON, in order.
    pub(super) fn spans(&self) -> impl Iterator<Item = Range<usize>> {
        self.holes.iter().map(|hole| hole.0.clone())
    }

    /// The JSON string that stands for an element that is no JSON.
    pub(super) fn instead(&self, element: &Range<usize>) -> Option<&str> {
        let place = self.holes.binary_search_by_key(&element.start, |hole| hole.0.start).ok()?;
        self.holes.get(place).filter(|hole| hole.0 == *element).map(|hole| hole.1.as_str())
    }
}

/// Looks for the elements that keep a body from being JSON. None where it is no JSON for another reason as well, or where the
/// borders of its elements cannot be told by brackets and strings: it may be cut off.
pub(super) fn mend(bytes: &[u8], max_depth: usize) -> Option<Mended> {
    let mut holes = Vec::new();
    value(bytes, space(bytes, super::content_start(bytes)), max_depth, &mut holes)?;
    let mut rest = bytes.to_vec();
    holes.iter().for_each(|hole| fill(&mut rest, hole));
    let index = index::build(&rest, max_depth).ok()?;
    let holes = holes.into_iter().map(|hole| (hole.clone(), instead(bytes.get(hole).unwrap_or_default())));
    Some(Mended { index, holes: holes.collect() })
}

fn fill(bytes: &mut [u8], hole: &Range<usize>) {
    if let Some((first, others)) = bytes.get_mut(hole.clone()).and_then(<[u8]>::split_first_mut) {
        *first = b'0';
        others.fill(b' ');
    }
}

fn instead(element: &[u8]) -> String {
    let shown = String::from_utf8_lossy(element.get(..SHOWN_BYTES).unwrap_or(element));
    let shown = if element.len() > SHOWN_BYTES {
        format!("{shown}… ({} bytes, {:016x})", element.len(), xxh3_64(element))
    } else {
        shown.into_owned()
    };
    let mut quoted = Vec::new();
    text::quote(shown.as_bytes(), &mut quoted);
    String::from_utf8(quoted).unwrap_or_default()
}

/// Goes over a value up to its outermost arrays, notes the objects and arrays in them that are no JSON, and returns its end.
fn value(bytes: &[u8], at: usize, depth: usize, holes: &mut Vec<Range<usize>>) -> Option<usize> {
    match byte(bytes, at) {
        b'{' => members(bytes, at, depth.checked_sub(1)?, holes),
        b'[' => elements(bytes, at, depth.checked_sub(1)?, holes),
        _ => index::scalar(bytes, at).ok(),
    }
}

fn members(bytes: &[u8], start: usize, depth: usize, holes: &mut Vec<Range<usize>>) -> Option<usize> {
    let mut at = space(bytes, start + 1);
    if byte(bytes, at) == b'}' {
        return Some(at + 1);
    }
    loop {
        if byte(bytes, at) != b'"' {
            return None;
        }
        at = space(bytes, scan::string(bytes, at + 1).ok()?.0 + 1);
        if byte(bytes, at) != b':' {
            return None;
        }
        at = space(bytes, value(bytes, space(bytes, at + 1), depth, holes)?);
        match byte(bytes, at) {
            b',' => at = space(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn elements(bytes: &[u8], start: usize, depth: usize, holes: &mut Vec<Range<usize>>) -> Option<usize> {
    let mut at = space(bytes, start + 1);
    if byte(bytes, at) == b']' {
        return Some(at + 1);
    }
    loop {
        let end = element_end(bytes, at, false)?;
        match index::build(bytes.get(at..end)?, depth).map_err(|stop| stop.cause()) {
            Ok(_) => {}
            // A limit is a limit, and what has no end may be cut off.
            Err(Cause::Depth | Cause::End) => return None,
            Err(_) if matches!(byte(bytes, at), b'{' | b'[') => holes.push(at..end),
            Err(_) => return None,
        }
        at = space(bytes, end);
        match byte(bytes, at) {
            b',' => at = space(bytes, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Position after the value at a position, by brackets and strings alone. In `lines`, no string goes over the end of one.
pub(crate) fn element_end(bytes: &[u8], start: usize, lines: bool) -> Option<usize> {
    let mut open = Vec::new();
    let mut at = start;
    loop {
        match *bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1, lines)?,
            bracket @ (b'{' | b'[') => {
                open.push(bracket);
                at += 1;
            }
            bracket @ (b'}' | b']') => {
                if open.pop()? != if bracket == b'}' { b'{' } else { b'[' } {
                    return None;
                }
                at += 1;
            }
            _ if open.is_empty() => {
                let token = |byte: &u8| !matches!(byte, b',' | b'{' | b'[' | b'}' | b']' | b'"') && *byte > b' ';
                let length = bytes.get(at..)?.iter().take_while(|byte| token(byte)).count();
                return (length > 0).then_some(at + length);
            }
            _ => at += 1,
        }
        if open.is_empty() {
            return Some(at);
        }
    }
}

/// Position after the closing quote of a string whose inside starts at a position.
fn string_end(bytes: &[u8], mut at: usize, lines: bool) -> Option<usize> {
    loop {
        let rest = bytes.get(at..)?;
        let found = if lines { memchr::memchr3(b'"', b'\\', b'\n', rest) } else { memchr::memchr2(b'"', b'\\', rest) };
        at += found?;
        match byte(bytes, at) {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Document;

    fn document(text: &[u8]) -> Document {
        Document::new(Bytes::copy_from_slice(text), 6)
    }

    #[test]
    fn an_element_that_is_no_json_takes_nothing_else_along() {
        for bad in [
            "{\"id\":2,\"a\":\"\0\"}".as_bytes(),
            b"{\"id\":2,\"a\":\"\n\"}",
            br#"{"id":2,"a":"\x"}"#,
            br#"{"id":2,"a":"]}\u12"}"#,
            br#"{"id":2,"a":NaN}"#,
            br#"{"id":2,"a":[01]}"#,
            br#"{"id":2,}"#,
            br#"{id:2}"#,
            br#"{"id":2 "a":1}"#,
            b"{\"id\":2,\"a\":\"\xff\"}",
            br#"["\x"]"#,
        ] {
            for place in 0..3 {
                let mut elements = [br#"{"id":1}"#.as_slice(); 3];
                elements[place] = bad;
                for listing in [elements.join(b",".as_slice()), elements.join(b" ,\n ".as_slice())] {
                    let body =
                        [br#"{"a":{"items":[ "#, listing.as_slice(), br#"]},"total":3,"more":[{"x":[]}]}"#].concat();
                    let document = document(&body);
                    let shown = String::from_utf8_lossy(&body);
                    assert_eq!(document.text("/next"), Ok(None), "{shown}");
                    assert_eq!(document.text("/total"), Ok(Some("3")), "{shown}");
                    assert_eq!(document.len("/a/items"), Ok(Some(3)), "{shown}");
                    for other in (0..3).filter(|other| *other != place) {
                        assert_eq!(document.text(&format!("/a/items/{other}")), Ok(Some(r#"{"id":1}"#)), "{shown}");
                    }
                    let instead = document.text(&format!("/a/items/{place}")).unwrap().unwrap().to_owned();
                    let instead: String = serde_json::from_str(&instead).unwrap();
                    assert_eq!(instead, String::from_utf8_lossy(bad));
                    assert_eq!(document.text(&format!("/a/items/{place}/none")), Ok(None), "{shown}");
                    let ids = [["null", "1", "1"], ["1", "null", "1"], ["1", "1", "null"]][place].join(",");
                    assert_eq!(document.values("/a/items", "/id"), Ok(Some(format!("[{ids}]"))), "{shown}");
                    assert!(document.values("/a/items", "").is_err() && document.values("/more", "/x").is_ok());
                    assert!(document.select("/a/items").unwrap().is_some());
                    assert!(document.text("/a").is_err() && document.validate().is_err());
                    assert_eq!(document.is_utf8(), std::str::from_utf8(&body).is_ok());
                }
            }
        }
    }

    #[test]
    fn long_elements_are_told_apart_by_their_whole_text() {
        let instead = |end: &str| {
            let body = format!("[{{\"a\":\"{}\0{end}\"}}]", "\0".repeat(5000));
            document(body.as_bytes()).text("/0").unwrap().unwrap().to_owned()
        };
        assert_ne!(instead("x"), instead("y"));
        assert!(instead("x").len() < 8 * 1024);
        assert!(serde_json::from_str::<String>(&instead("x")).is_ok());
    }

    #[test]
    fn what_is_no_json_elsewhere_is_none_at_all() {
        for bad in [
            "{\"items\":[{\"id\":1}],\"next\":\"\0\"}",
            r#"{"items":[{"id":1},{"id":2,"a":"#,
            r#"{"items":[{"id":1},{"id":2}],"next":null"#,
            r#"{"items":[{"id":01}],"next":nul}"#,
            r#"{"items":[{"id":01},],"next":null}"#,
            r#"{"items":[{"id":01} {"id":2}],"next":null}"#,
            r#"{"items":[{"id":01]}],"next":null}"#,
            r#"{"items":[{"id":[[[[[1]]]]]},{"id":01}],"next":null}"#,
            r#"{"o":{"id":01}}"#,
            r#"{"id":01}"#,
            "{\"items\":[{\"id\":1},\"\0\",oops]}",
            "<html>",
            "[01",
        ] {
            let document = document(bad.as_bytes());
            assert!(document.text("/none").is_err(), "{bad}");
            assert!(document.validate().is_err(), "{bad}");
        }
    }
}
