//! Strings out of and into JSON text.

use super::scan::{self, Cause, Stop, byte};

/// Appends the text that the inside of a JSON string stands for. The string's grammar has been checked; what is refused
/// here is half a surrogate pair.
pub(crate) fn unescape(inside: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(slash) = memchr::memchr(b'\\', inside.get(at..).unwrap_or_default()).map(|found| at + found) {
        out.extend_from_slice(inside.get(at..slash).unwrap_or_default());
        at = slash + 2;
        let plain = match byte(inside, slash + 1) {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                at = code_point(inside, slash, out)?;
                continue;
            }
            other => other,
        };
        out.push(plain);
    }
    out.extend_from_slice(inside.get(at..).unwrap_or_default());
    Ok(())
}

/// Decodes `\uXXXX` (or two of them, a surrogate pair) at `slash`; returns the position after it.
fn code_point(inside: &[u8], slash: usize, out: &mut Vec<u8>) -> Result<usize, Stop> {
    let lone = || Stop::new(slash, Cause::Surrogate);
    let first = scan::hex(inside, slash + 2)?;
    let (code, end) = match first {
        0xd800..=0xdbff => {
            if byte(inside, slash + 6) != b'\\' || byte(inside, slash + 7) != b'u' {
                return Err(lone());
            }
            let second = scan::hex(inside, slash + 8)?;
            if !(0xdc00..=0xdfff).contains(&second) {
                return Err(lone());
            }
            (0x1_0000 + (u32::from(first - 0xd800) << 10) + u32::from(second - 0xdc00), slash + 12)
        }
        other => (u32::from(other), slash + 6),
    };
    let character = char::from_u32(code).ok_or_else(lone)?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(end)
}

/// Appends a text as a JSON string, quotes included, escaping no more than RFC 8259 demands.
pub(crate) fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut at = 0;
    loop {
        let end = scan::special(text, at);
        out.extend_from_slice(text.get(at..end).unwrap_or_default());
        match text.get(end) {
            None => break,
            Some(b'"') => out.extend_from_slice(b"\\\""),
            Some(b'\\') => out.extend_from_slice(b"\\\\"),
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(b'\t') => out.extend_from_slice(b"\\t"),
            Some(control) => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        at = end + 1;
    }
    out.push(b'"');
}

/// Appends valid JSON text without the whitespace between its tokens.
pub(crate) fn compact(json: &[u8], out: &mut Vec<u8>) {
    out.reserve(json.len());
    let mut at = 0;
    let mut kept = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = scan::string(json, at + 1).map_or(json.len(), |(end, _)| end + 1),
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.extend_from_slice(json.get(kept..at).unwrap_or_default());
                at += 1;
                kept = at;
            }
            _ => at += 1,
        }
    }
    out.extend_from_slice(json.get(kept..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(inside: &str) -> Option<String> {
        let mut out = Vec::new();
        unescape(inside.as_bytes(), &mut out).ok()?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn escapes_are_decoded_truthfully() {
        assert_eq!(decoded(r#"a\"b\\c\/d\b\f\n\r\t"#).as_deref(), Some("a\"b\\c/d\u{8}\u{c}\n\r\t"));
        assert_eq!(decoded(r"\u0000\u00e9\u20ac").as_deref(), Some("\0é€"));
        assert_eq!(decoded(r"\ud83d\ude00x").as_deref(), Some("😀x"));
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for lone in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x", r"a\ud83d\n", r"\ud800\u0041"] {
            assert_eq!(decoded(lone), None, "{lone}");
        }
    }

    #[test]
    fn quoting_and_reading_gives_the_text_again() {
        for text in ["", "plain", "a\"b\\", "\0\u{1f}\n\r\t", "é😀\u{7f}", &"long ".repeat(20)] {
            let mut json = Vec::new();
            quote(text.as_bytes(), &mut json);
            assert_eq!(serde_json::from_slice::<String>(&json).ok().as_deref(), Some(text));
        }
    }

    #[test]
    fn compacting_leaves_strings_alone() {
        let mut out = Vec::new();
        compact(b" { \"a b\" : [ 1 ,\n2 , \" \\\" \" ] } ", &mut out);
        assert_eq!(out, b"{\"a b\":[1,2,\" \\\" \"]}");
    }
}
