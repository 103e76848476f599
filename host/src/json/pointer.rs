//! RFC 6901 look-ups in a body that is indexed. Where its grammar has not been checked, a look-up still ends, and what it
//! finds is checked before it is handed out.

use std::borrow::Cow;
use std::ops::Range;

use super::index::Index;
use super::scan::{self, byte, space};
use super::{skim, text};

/// Splits a pointer into its reference tokens.
pub(crate) fn tokens(pointer: &str) -> Result<Vec<Cow<'_, str>>, String> {
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

fn unescape(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('~') {
        return Some(Cow::Borrowed(token));
    }
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
    Some(Cow::Owned(out))
}

/// Escapes one reference token.
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// What the index at hand cannot tell: a long container that it has not counted, or text between values that is no JSON.
/// The validating scan has to look.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsure;

/// Finds the span of the value that the tokens lead to.
pub(crate) fn find(bytes: &[u8], index: &Index, tokens: &[Cow<'_, str>]) -> Result<Option<Range<usize>>, Unsure> {
    find_from(bytes, index, space(bytes, super::content_start(bytes)), tokens)
}

fn find_from(
    bytes: &[u8],
    index: &Index,
    mut at: usize,
    tokens: &[Cow<'_, str>],
) -> Result<Option<Range<usize>>, Unsure> {
    for token in tokens {
        let found = match byte(bytes, at) {
            b'{' => member(bytes, index, at, token)?,
            b'[' => element(bytes, index, at, token)?,
            _ => None,
        };
        let Some(found) = found else { return Ok(None) };
        at = found;
    }
    Ok(Some(at..value_end(bytes, index, at)))
}

/// Where the value starts that the tokens lead to, by the first of names that come twice. It is not known yet where it
/// ends, and whether what stands before it is JSON.
pub(crate) fn start(bytes: &[u8], tokens: &[Cow<'_, str>]) -> Option<usize> {
    let nothing = Index::default();
    let mut at = space(bytes, super::content_start(bytes));
    for token in tokens {
        if byte(bytes, at) != b'{' {
            return None;
        }
        let mut item = first(bytes, at)?;
        loop {
            let (key, value) = value_start(bytes, item).ok()?;
            at = value;
            if bytes.get(key).unwrap_or_default() == token.as_bytes() {
                break;
            }
            item = next(bytes, value_end(bytes, &nothing, value)).ok()??;
        }
    }
    Some(at)
}

/// Counts the elements or members of the container at a position.
pub(crate) fn count(bytes: &[u8], index: &Index, start: usize) -> Result<Option<u64>, Unsure> {
    let object = match byte(bytes, start) {
        b'{' => true,
        b'[' => false,
        _ => return Ok(None),
    };
    if let Some(big) = index.at(start) {
        return big.count.map(Some).ok_or(Unsure);
    }
    let mut count = 0;
    let mut at = first(bytes, start);
    while let Some(item) = at {
        count += 1;
        let value = if object { value_start(bytes, item)?.1 } else { item };
        at = next(bytes, value_end(bytes, index, value))?;
    }
    Ok(Some(count))
}

/// Position of the value of the member with a name; of the last one where the name comes more than once, as most
/// parsers see it.
fn member(bytes: &[u8], index: &Index, start: usize, name: &str) -> Result<Option<usize>, Unsure> {
    member_and_end(bytes, index, start, name).map(|(found, _)| found)
}

/// The same, and the position after the object.
fn member_and_end(bytes: &[u8], index: &Index, start: usize, name: &str) -> Result<(Option<usize>, usize), Unsure> {
    let mut found = None;
    let mut decoded = Vec::new();
    let mut at = first(bytes, start);
    let mut end = space(bytes, start + 1);
    while let Some(item) = at {
        let (key, value) = value_start(bytes, item)?;
        let raw = bytes.get(key).unwrap_or_default();
        let same = if memchr::memchr(b'\\', raw).is_some() {
            decoded.clear();
            text::unescape(raw, &mut decoded).is_ok() && decoded == name.as_bytes()
        } else {
            raw == name.as_bytes()
        };
        if same {
            found = Some(value);
        }
        end = value_end(bytes, index, value);
        at = next(bytes, end)?;
    }
    Ok((found, space(bytes, end) + 1))
}

/// Writes a JSON array of the values that the tokens lead to within each element of the array at a position, `null` where they
/// lead nowhere.
pub(crate) fn values(bytes: &[u8], index: &Index, start: usize, tokens: &[Cow<'_, str>]) -> Result<Vec<u8>, Unsure> {
    let mut out = vec![b'['];
    let mut at = first(bytes, start);
    while let Some(item) = at {
        let (found, end) = match tokens.split_first() {
            None => {
                let end = value_end(bytes, index, item);
                (Some(item..end), end)
            }
            Some((name, rest)) if byte(bytes, item) == b'{' => {
                let (value, end) = member_and_end(bytes, index, item, name)?;
                (value.map(|at| find_from(bytes, index, at, rest)).transpose()?.flatten(), end)
            }
            Some(_) => (find_from(bytes, index, item, tokens)?, value_end(bytes, index, item)),
        };
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(found.and_then(|span| bytes.get(span)).unwrap_or(b"null"));
        at = next(bytes, end)?;
    }
    out.push(b']');
    Ok(out)
}

/// Position of the array element with an index.
fn element(bytes: &[u8], index: &Index, start: usize, token: &str) -> Result<Option<usize>, Unsure> {
    if token.len() > 1 && token.starts_with('0') || !token.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let Ok(wanted) = token.parse::<u64>() else { return Ok(None) };
    let (mut ordinal, mut at) = (0, first(bytes, start));
    if let Some(big) = index.at(start) {
        if wanted >= big.count.ok_or(Unsure)? {
            return Ok(None);
        }
        let near = big.marks.partition_point(|mark| mark.0 <= wanted);
        if let Some(mark) = near.checked_sub(1).and_then(|near| big.marks.get(near)) {
            (ordinal, at) = (mark.0, Some(mark.1));
        }
    }
    while let Some(item) = at {
        if ordinal == wanted {
            return Ok(Some(item));
        }
        ordinal += 1;
        at = next(bytes, value_end(bytes, index, item))?;
    }
    Ok(None)
}

/// The inside of the name at a position, and where its value starts.
fn value_start(bytes: &[u8], at: usize) -> Result<(Range<usize>, usize), Unsure> {
    if byte(bytes, at) != b'"' {
        return Err(Unsure);
    }
    let (end, _) = scan::string(bytes, at + 1).map_err(|_| Unsure)?;
    let colon = space(bytes, end + 1);
    if byte(bytes, colon) != b':' {
        return Err(Unsure);
    }
    Ok((at + 1..end, space(bytes, colon + 1)))
}

/// The first element or member of a container; none where it is empty.
fn first(bytes: &[u8], start: usize) -> Option<usize> {
    let at = space(bytes, start + 1);
    if matches!(byte(bytes, at), b'}' | b']') { None } else { Some(at) }
}

/// The element or member after a value; none where its container ends.
fn next(bytes: &[u8], at: usize) -> Result<Option<usize>, Unsure> {
    let at = space(bytes, at);
    match byte(bytes, at) {
        b',' => match space(bytes, at + 1) {
            after if after < bytes.len() && !matches!(byte(bytes, after), b',' | b'}' | b']') => Ok(Some(after)),
            _ => Err(Unsure),
        },
        b'}' | b']' => Ok(None),
        _ => Err(Unsure),
    }
}

/// Position after the value that starts at a position.
fn value_end(bytes: &[u8], index: &Index, start: usize) -> usize {
    match byte(bytes, start) {
        b'"' => scan::string(bytes, start + 1).map_or(bytes.len(), |(end, _)| end + 1),
        b'{' | b'[' => index.end(start).unwrap_or_else(|| skim::container_end(bytes, start)),
        _ => {
            let mut at = start;
            while !matches!(byte(bytes, at), b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
                at += 1;
            }
            at
        }
    }
}
