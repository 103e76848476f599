//! The validating scan of a whole body, and the shallow index it leaves behind.

use std::sync::Arc;

use super::scan::{self, Cause, Stop, byte, space};

/// Containers shorter than this are walked when somebody asks for them; longer ones are remembered, so that no look-up
/// walks more than about this many bytes at each level. 4 KiB is walked in about two microseconds.
pub(super) const BIG_BYTES: usize = 4 * 1024;

/// What the scan remembers: every array and object of at least 4 KiB.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// In the order of their starts.
    pub(super) big: Vec<Big>,
    /// Start and end of others that somebody has read.
    pub(super) read: Vec<(usize, usize)>,
    /// An array that has been read, by its start, and where its elements are.
    pub(super) listed: Option<(usize, Arc<super::Listed>)>,
}

/// An array or object that is too long to be walked again.
#[derive(Debug)]
pub(crate) struct Big {
    pub(crate) start: usize,
    /// Position after the closing bracket.
    pub(crate) end: usize,
    /// Elements or members; none where the quick look has not counted them.
    pub(crate) count: Option<u64>,
    /// Ordinal and position of some elements, at least 4 KiB apart.
    pub(crate) marks: Vec<(u64, usize)>,
}

/// A container that is open while the scan goes on.
struct Open {
    start: usize,
    object: bool,
    count: u64,
    marked: usize,
    marks: Vec<(u64, usize)>,
}

impl Open {
    fn new(start: usize, object: bool) -> Self {
        Self { start, object, count: 0, marked: start, marks: Vec::new() }
    }

    /// Notes that an element or member starts.
    #[inline(always)]
    fn item(&mut self, at: usize) {
        if at - self.marked >= BIG_BYTES {
            self.marks.push((self.count, at));
            self.marked = at;
        }
        self.count += 1;
    }
}

impl Index {
    /// The remembered container that starts at a position.
    pub(crate) fn at(&self, start: usize) -> Option<&Big> {
        let place = self.big.binary_search_by_key(&start, |big| big.start).ok()?;
        self.big.get(place)
    }

    /// The end of the container that starts at a position, if it is known.
    pub(super) fn end(&self, start: usize) -> Option<usize> {
        let read = self.read.iter().find(|read| read.0 == start).map(|read| read.1);
        read.or_else(|| self.at(start).map(|big| big.end))
    }
}

/// Checks that the bytes are one JSON text of RFC 8259, no deeper than the limit, with nothing after it.
pub(crate) fn build(bytes: &[u8], max_depth: usize) -> Result<Index, Stop> {
    build_around(bytes, max_depth, None)
}

/// Does what [`build`] does, but steps over an array whose content has been checked by somebody else.
pub(crate) fn build_around(bytes: &[u8], max_depth: usize, known: Option<Big>) -> Result<Index, Stop> {
    let (hole, hole_end) = known.as_ref().map_or((usize::MAX, bytes.len()), |big| (big.start, big.end));
    scan::utf8(bytes.get(..hole).unwrap_or(bytes))?;
    let rest = bytes.get(hole_end..).unwrap_or_default();
    scan::utf8(rest).map_err(|stop| Stop::new(hole_end + stop.at(), stop.cause()))?;
    let mut index = Index { big: known.into_iter().collect(), ..Index::default() };
    let mut parents: Vec<Open> = Vec::new();
    let mut at = space(bytes, super::content_start(bytes));
    let mut open: Open;
    // The outer loop enters a value; the inner one leaves as many containers as end there.
    match byte(bytes, at) {
        b'{' | b'[' if max_depth == 0 => return Err(Stop::new(at, Cause::Depth)),
        b'[' if at == hole => return end(bytes, hole_end).map(|()| index),
        first @ (b'{' | b'[') => open = Open::new(at, first == b'{'),
        _ => {
            at = scalar(bytes, at)?;
            return end(bytes, at).map(|()| index);
        }
    }
    let mut depth = 1;
    at = space(bytes, at + 1);
    let mut first = true;
    loop {
        let closing = if open.object { b'}' } else { b']' };
        if byte(bytes, at) == closing && first {
            // An empty container ends at once; falls through to the closing below.
        } else {
            open.item(at);
            if open.object {
                at = key(bytes, at)?;
            }
            match byte(bytes, at) {
                b'"' => at = scan::string(bytes, at + 1)?.0 + 1,
                kind @ (b'{' | b'[') => {
                    if depth == max_depth {
                        return Err(Stop::new(at, Cause::Depth));
                    }
                    if at == hole {
                        at = hole_end;
                    } else {
                        depth += 1;
                        parents.push(std::mem::replace(&mut open, Open::new(at, kind == b'{')));
                        at = space(bytes, at + 1);
                        first = true;
                        continue;
                    }
                }
                _ => at = scalar(bytes, at)?,
            }
        }
        loop {
            at = space(bytes, at);
            match byte(bytes, at) {
                b',' if !(first && open.count == 0) => {
                    at = space(bytes, at + 1);
                    first = false;
                    break;
                }
                b'}' if open.object => {}
                b']' if !open.object => {}
                _ => return Err(scan::unexpected(bytes, at)),
            }
            at += 1;
            depth -= 1;
            let closed = match parents.pop() {
                Some(parent) => std::mem::replace(&mut open, parent),
                None => {
                    index.close(open, at);
                    index.big.sort_unstable_by_key(|big| big.start);
                    return end(bytes, at).map(|()| index);
                }
            };
            index.close(closed, at);
            first = false;
        }
    }
}

impl Index {
    #[inline(always)]
    fn close(&mut self, open: Open, end: usize) {
        if end - open.start >= BIG_BYTES {
            self.big.push(Big { start: open.start, end, count: Some(open.count), marks: open.marks });
        }
    }
}

/// Reads a member's name and colon; returns the position of its value.
#[inline(always)]
fn key(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    if byte(bytes, at) != b'"' {
        return Err(scan::unexpected(bytes, at));
    }
    let (end, _) = scan::string(bytes, at + 1)?;
    let at = space(bytes, end + 1);
    if byte(bytes, at) != b':' {
        return Err(scan::unexpected(bytes, at));
    }
    Ok(space(bytes, at + 1))
}

/// Reads a value that is no container.
#[inline(always)]
pub(crate) fn scalar(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match byte(bytes, at) {
        b'"' => Ok(scan::string(bytes, at + 1)?.0 + 1),
        b't' => scan::literal(bytes, at, b"true"),
        b'f' => scan::literal(bytes, at, b"false"),
        b'n' => scan::literal(bytes, at, b"null"),
        b'-' | b'0'..=b'9' => scan::number(bytes, at),
        _ => Err(scan::unexpected(bytes, at)),
    }
}

/// Checks that only whitespace follows.
pub(crate) fn end(bytes: &[u8], at: usize) -> Result<(), Stop> {
    let at = space(bytes, at);
    if at == bytes.len() { Ok(()) } else { Err(Stop::new(at, Cause::Trailing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        build(text.as_bytes(), 64).is_ok()
    }

    #[test]
    fn the_grammar_is_rfc_8259() {
        for good in
            ["{}", "[]", " [ ] ", "[[],{}]", r#"{"a":[1,{"b":null}],"":""}"#, "1", "\"x\"", "true", "[\"\\ud800\"]"]
        {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "[",
            "{",
            "[1,]",
            "[,1]",
            "[,]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            "[1 2]",
            "[1]]",
            "{}{}",
            "[1}",
            r#"{"a":1]"#,
            "tru",
            "nul",
            "[tru]",
            "'a'",
            "\"a",
            "[\"a]",
            "{1:2}",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12\"",
            "[01]",
            "[1.]",
            "//",
            "[1]x",
            "NaN",
            "[-]",
            "{\"a\":1,,\"b\":2}",
            "[[]",
            "[1,,2]",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn depth_is_counted_in_containers() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(accepts(&nested(64)));
        assert!(!accepts(&nested(65)));
        assert!(build(b"[]", 0).is_err());
        assert!(build(b"1", 0).is_ok());
    }

    #[test]
    fn long_containers_are_remembered_with_their_counts() {
        let text = format!("{{\"items\":[{}],\"next\":1}}", vec!["\"0123456789\""; 1000].join(","));
        let index = build(text.as_bytes(), 64).ok();
        let big = index.as_ref().and_then(|index| index.at(9));
        assert_eq!(big.map(|big| (big.count, big.end)), Some((Some(1000), text.len() - 10)));
        assert!(big.is_some_and(|big| big.marks.len() == 3));
    }
}
