//! A strict walk over one value: grammar, depth, names that come twice, and texts that Unicode cannot hold.

use xxhash_rust::xxh3::xxh3_64;

use crate::json::scan::{self, Cause, Stop, byte, space};
use crate::json::text;

/// Walks values. Kept between values for its memory.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    /// Names of the objects that are open: hash, and the span of the inside of the string.
    names: Vec<(u64, usize, usize)>,
    scratch: Vec<u8>,
}

impl Walker {
    /// Walks over the value at a position; returns the position after it.
    pub(crate) fn walk(&mut self, bytes: &[u8], at: usize, depth: usize) -> Result<usize, Stop> {
        self.names.clear();
        self.value(bytes, at, depth)
    }

    fn value(&mut self, bytes: &[u8], at: usize, depth: usize) -> Result<usize, Stop> {
        match byte(bytes, at) {
            b'"' => self.string(bytes, at).map(|end| end + 1),
            b'{' | b'[' if depth == 0 => Err(Stop::new(at, Cause::Depth)),
            b'{' => self.object(bytes, at, depth - 1),
            b'[' => self.array(bytes, at, depth - 1),
            b't' => scan::literal(bytes, at, b"true"),
            b'f' => scan::literal(bytes, at, b"false"),
            b'n' => scan::literal(bytes, at, b"null"),
            b'-' | b'0'..=b'9' => scan::number(bytes, at),
            _ => Err(scan::unexpected(bytes, at)),
        }
    }

    /// Walks over a string from its opening quote; returns the position of the closing one.
    fn string(&mut self, bytes: &[u8], at: usize) -> Result<usize, Stop> {
        let (end, escaped) = scan::string(bytes, at + 1)?;
        if escaped {
            self.scratch.clear();
            text::unescape(bytes.get(at + 1..end).unwrap_or_default(), &mut self.scratch)
                .map_err(|stop| Stop::new(at + 1 + stop.at(), stop.cause()))?;
        }
        Ok(end)
    }

    fn array(&mut self, bytes: &[u8], start: usize, depth: usize) -> Result<usize, Stop> {
        let mut at = space(bytes, start + 1);
        if byte(bytes, at) == b']' {
            return Ok(at + 1);
        }
        loop {
            at = space(bytes, self.value(bytes, at, depth)?);
            match byte(bytes, at) {
                b',' => at = space(bytes, at + 1),
                b']' => return Ok(at + 1),
                _ => return Err(scan::unexpected(bytes, at)),
            }
        }
    }

    fn object(&mut self, bytes: &[u8], start: usize, depth: usize) -> Result<usize, Stop> {
        let mut at = space(bytes, start + 1);
        if byte(bytes, at) == b'}' {
            return Ok(at + 1);
        }
        let outer = self.names.len();
        loop {
            if byte(bytes, at) != b'"' {
                return Err(scan::unexpected(bytes, at));
            }
            let end = self.string(bytes, at)?;
            let hash = hash(bytes, at + 1, end);
            self.names.push((hash, at + 1, end));
            at = space(bytes, end + 1);
            if byte(bytes, at) != b':' {
                return Err(scan::unexpected(bytes, at));
            }
            at = space(bytes, at + 1);
            at = space(bytes, self.value(bytes, at, depth)?);
            match byte(bytes, at) {
                b',' => at = space(bytes, at + 1),
                b'}' => break,
                _ => return Err(scan::unexpected(bytes, at)),
            }
        }
        if let Some(twice) = self.twice(bytes, outer) {
            return Err(Stop::new(twice, Cause::Duplicate));
        }
        self.names.truncate(outer);
        Ok(at + 1)
    }

    /// The end of a name that came before in the same object.
    fn twice(&mut self, bytes: &[u8], outer: usize) -> Option<usize> {
        let names = self.names.get_mut(outer..)?;
        names.sort_unstable();
        let mut rest: &[(u64, usize, usize)] = names;
        while let Some((one, others)) = rest.split_first() {
            let same = others.iter().take_while(|other| other.0 == one.0);
            let twin = same
                .map(|other| (other.1, other.2))
                .find(|other| name(bytes, one.1, one.2) == name(bytes, other.0, other.1));
            if let Some((_, end)) = twin {
                return Some(end + 1);
            }
            rest = others;
        }
        None
    }
}

fn hash(bytes: &[u8], start: usize, end: usize) -> u64 {
    let raw = bytes.get(start..end).unwrap_or_default();
    if memchr::memchr(b'\\', raw).is_some() { xxh3_64(&name(bytes, start, end)) } else { xxh3_64(raw) }
}

fn name(bytes: &[u8], start: usize, end: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Its grammar has been checked; what cannot be decoded has been refused.
    text::unescape(bytes.get(start..end).unwrap_or_default(), &mut out).map_or_else(|_| Vec::new(), |()| out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> Option<Cause> {
        Walker::default().walk(text.as_bytes(), 0, 8).err().map(Stop::cause)
    }

    #[test]
    fn names_that_come_twice_are_found_at_any_depth() {
        assert_eq!(cause(r#"{"a":1,"b":{"a":1,"c":[{"a":1},{"a":2}]}}"#), None);
        assert_eq!(cause(r#"{"a":1,"b":2,"a":3}"#), Some(Cause::Duplicate));
        assert_eq!(cause(r#"{"x":[{"a":1,"\u0061":2}]}"#), Some(Cause::Duplicate));
        assert_eq!(cause(r#"{"":1,"":2}"#), Some(Cause::Duplicate));
        assert_eq!(cause(r#"{"a":1,"A":2}"#), None);
    }

    #[test]
    fn depth_and_surrogates_are_checked() {
        assert_eq!(cause("[[[[[[[[1]]]]]]]]"), None);
        assert_eq!(cause("[[[[[[[[[1]]]]]]]]]"), Some(Cause::Depth));
        assert_eq!(cause(r#"["\ud800"]"#), Some(Cause::Surrogate));
        assert_eq!(cause(r#"{"\udc00":1}"#), Some(Cause::Surrogate));
    }
}
