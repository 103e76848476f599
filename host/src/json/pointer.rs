//! RFC 6901 look-ups in a body that has been validated.

use std::ops::Range;

use super::index::Index;
use super::scan::{self, byte, space};
use super::text;

/// Splits a pointer into its reference tokens.
pub(crate) fn tokens(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = pointer.strip_prefix('/') else {
        return Err(format!("a JSON pointer starts with `/`: `{pointer}`"));
    };
    rest.split('/')
        .map(|token| unescape(token).ok_or_else(|| format!("`~` is only written as `~0` or `~1`: `{pointer}`")))
        .collect()
}

fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut rest = token;
    while let Some((before, after)) = rest.split_once('~') {
        out.push_str(before);
        out.push(match after.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        rest = after.get(1..)?;
    }
    out.push_str(rest);
    Some(out)
}

/// Escapes one reference token.
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// Finds the span of the value that the tokens lead to.
pub(crate) fn find(bytes: &[u8], index: &Index, tokens: &[String]) -> Option<Range<usize>> {
    let mut at = space(bytes, super::content_start(bytes));
    for token in tokens {
        at = match byte(bytes, at) {
            b'{' => member(bytes, index, at, token)?,
            b'[' => element(bytes, index, at, token)?,
            _ => return None,
        };
    }
    Some(at..value_end(bytes, index, at))
}

/// Counts the elements or members of the container at a position.
pub(crate) fn count(bytes: &[u8], index: &Index, start: usize) -> Option<u64> {
    let object = match byte(bytes, start) {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    if let Some(big) = index.at(start) {
        return Some(big.count);
    }
    let mut count = 0;
    let mut at = space(bytes, start + 1);
    while !matches!(byte(bytes, at), b'}' | b']' | 0) {
        count += 1;
        if object {
            at = value_start(bytes, at)?.1;
        }
        at = next(bytes, value_end(bytes, index, at));
    }
    Some(count)
}

/// Position of the value of the member with a name; of the last one where the name comes more than once, as most
/// parsers see it.
fn member(bytes: &[u8], index: &Index, start: usize, name: &str) -> Option<usize> {
    let mut found = None;
    let mut decoded = Vec::new();
    let mut at = space(bytes, start + 1);
    while byte(bytes, at) == b'"' {
        let (key, value) = value_start(bytes, at)?;
        let raw = bytes.get(key)?;
        let same = if memchr::memchr(b'\\', raw).is_some() {
            decoded.clear();
            text::unescape(raw, &mut decoded).is_ok() && decoded == name.as_bytes()
        } else {
            raw == name.as_bytes()
        };
        if same {
            found = Some(value);
        }
        at = next(bytes, value_end(bytes, index, value));
    }
    found
}

/// Position of the array element with an index.
fn element(bytes: &[u8], index: &Index, start: usize, token: &str) -> Option<usize> {
    if token.len() > 1 && token.starts_with('0') || !token.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let wanted: u64 = token.parse().ok()?;
    let (mut ordinal, mut at) = (0, space(bytes, start + 1));
    if let Some(big) = index.at(start) {
        if wanted >= big.count {
            return None;
        }
        let near = big.marks.partition_point(|mark| mark.0 <= wanted);
        if let Some(mark) = near.checked_sub(1).and_then(|near| big.marks.get(near)) {
            (ordinal, at) = *mark;
        }
    }
    while byte(bytes, at) != b']' && at < bytes.len() {
        if ordinal == wanted {
            return Some(at);
        }
        ordinal += 1;
        at = next(bytes, value_end(bytes, index, at));
    }
    None
}

/// The inside of the name at a position, and where its value starts.
fn value_start(bytes: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let (end, _) = scan::string(bytes, at + 1).ok()?;
    let colon = space(bytes, end + 1);
    Some((at + 1..end, space(bytes, colon + 1)))
}

/// Steps over the comma after a value, to the next element or the closing bracket.
fn next(bytes: &[u8], at: usize) -> usize {
    let at = space(bytes, at);
    if byte(bytes, at) == b',' { space(bytes, at + 1) } else { at }
}

/// Position after the value that starts at a position.
fn value_end(bytes: &[u8], index: &Index, start: usize) -> usize {
    match byte(bytes, start) {
        b'"' => scan::string(bytes, start + 1).map_or(bytes.len(), |(end, _)| end + 1),
        b'{' | b'[' => match index.at(start) {
            Some(big) => big.end,
            None => container_end(bytes, start),
        },
        _ => {
            let mut at = start;
            while !matches!(byte(bytes, at), b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
                at += 1;
            }
            at
        }
    }
}

/// Position after a short container, by its brackets alone: its grammar is known to be right.
fn container_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = scan::string(bytes, at).map_or(bytes.len(), |(end, _)| end + 1),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    at
}
