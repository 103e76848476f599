//! Hashes of primary keys.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::json::text;

/// Hashes a key so that no two different ones, `1` and `"1"` among them, are likely to share a hash; none where a part is
/// null or absent.
pub(crate) fn key_hash<'a>(
    mut parts: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    scratch: &mut Vec<u8>,
) -> Option<u64> {
    if parts.len() == 1 {
        return one_part(parts.next()??, scratch);
    }
    scratch.clear();
    for part in parts {
        key_part(part?, scratch)?;
    }
    Some(xxh3_64(scratch))
}

/// Hashes a key of one part, as nearly all are: a text or a number needs no copy.
#[inline]
pub(super) fn one_part(json: &[u8], scratch: &mut Vec<u8>) -> Option<u64> {
    let inside = match json {
        [b'"', inside @ .., b'"'] => inside,
        [b'-' | b'0'..=b'9' | b't' | b'f', ..] => return Some(xxh3_64_with_seed(json, u64::from(b'v'))),
        _ => {
            scratch.clear();
            key_part(json, scratch)?;
            return Some(xxh3_64(scratch));
        }
    };
    let text = if memchr::memchr(b'\\', inside).is_some() {
        scratch.clear();
        text::unescape(inside, scratch).ok()?;
        scratch.as_slice()
    } else {
        inside
    };
    Some(xxh3_64_with_seed(text, u64::from(b's')))
}

/// Appends one part of a key so that no two different values, or lists of values, give the same bytes.
fn key_part(json: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    match json.first() {
        None | Some(b'n') => return None,
        Some(b'"') => {
            out.push(b's');
            text::unescape(json.get(1..json.len() - 1).unwrap_or_default(), out).ok()?;
        }
        Some(_) => {
            out.push(b'v');
            text::compact(json, out);
        }
    }
    let length = (out.len() - at) as u64;
    out.get_mut(at..at + 8)?.copy_from_slice(&length.to_le_bytes());
    Some(())
}
