//! The lexical ground of everything that reads JSON here: strings, numbers and literals of RFC 8259, over plain bytes.
//!
//! Every function takes the bytes and a position and returns the position after what it read. An error is a [`Stop`]:
//! where and why, in one word, so that results travel in registers.

use wide::u8x16;

/// Why a reader of JSON stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cause {
    /// The bytes end in the middle of a value.
    End,
    /// A byte that the grammar does not allow here.
    Unexpected,
    /// An unescaped control character in a string.
    Control,
    /// An escape that RFC 8259 does not know.
    Escape,
    /// Half of a surrogate pair, escaped: no Unicode text can hold it.
    Surrogate,
    /// Bytes that are not UTF-8.
    Utf8,
    /// Deeper nesting than the limit.
    Depth,
    /// A number that RFC 8259 does not allow.
    Number,
    /// Bytes after the value.
    Trailing,
    /// One object has a name twice.
    Duplicate,
    /// The schema has no place for this value: not an error, but a reason to widen.
    Drift,
    /// The value is not of its column's type: it goes beside the column, or the schema has to widen.
    Misfit,
    /// A column would pass 2 GiB.
    Full,
    /// The columns of one page would take too much memory.
    Room,
}

/// A place and a [`Cause`] packed in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop(usize);

const CAUSES: [Cause; 14] = [
    Cause::End,
    Cause::Unexpected,
    Cause::Control,
    Cause::Escape,
    Cause::Surrogate,
    Cause::Utf8,
    Cause::Depth,
    Cause::Number,
    Cause::Trailing,
    Cause::Duplicate,
    Cause::Drift,
    Cause::Misfit,
    Cause::Full,
    Cause::Room,
];

impl Stop {
    pub(crate) fn new(at: usize, cause: Cause) -> Self {
        Self(at << 8 | cause as usize)
    }

    pub(crate) fn at(self) -> usize {
        self.0 >> 8
    }

    pub(crate) fn cause(self) -> Cause {
        CAUSES.get(self.0 & 0xff).copied().unwrap_or(Cause::Unexpected)
    }
}

/// What went wrong, at the byte where it did: `End` if the bytes are over.
#[cold]
pub(crate) fn unexpected(bytes: &[u8], at: usize) -> Stop {
    Stop::new(at, if at < bytes.len() { Cause::Unexpected } else { Cause::End })
}

/// The byte at a position; zero, which no JSON token starts with, past the end.
#[inline(always)]
pub(crate) fn byte(bytes: &[u8], at: usize) -> u8 {
    match bytes.get(at) {
        Some(byte) => *byte,
        None => 0,
    }
}

/// Skips whitespace.
#[inline(always)]
pub(crate) fn space(bytes: &[u8], at: usize) -> usize {
    if byte(bytes, at) > b' ' { at } else { space_slow(bytes, at) }
}

fn space_slow(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Position of the first quote, backslash or control character at or after `at`; the length where there is none.
#[inline(always)]
pub(crate) fn special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let hits = specials(*block);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize;
        }
        at += 16;
    }
    special_tail(bytes, at)
}

#[cold]
fn special_tail(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        if *byte == b'"' || *byte == b'\\' || *byte < 0x20 {
            return at;
        }
        at += 1;
    }
    at
}

/// Sets one bit for each byte that is a quote, a backslash or a control character.
#[inline(always)]
pub(crate) fn specials(block: [u8; 16]) -> u32 {
    let bytes = u8x16::new(block);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let slash = bytes.simd_eq(u8x16::splat(b'\\'));
    let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    (quote | slash | control).to_bitmask()
}

/// Reads a string from the byte after its quote; returns the position of its closing quote and whether it has escapes.
#[inline(always)]
pub(crate) fn string(bytes: &[u8], at: usize) -> Result<(usize, bool), Stop> {
    let end = special(bytes, at);
    if byte(bytes, end) == b'"' { Ok((end, false)) } else { string_slow(bytes, end).map(|end| (end, true)) }
}

/// Goes on where the fast path met an escape, a control character or the end.
fn string_slow(bytes: &[u8], mut at: usize) -> Result<usize, Stop> {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => {
                    hex(bytes, at + 2)?;
                    at += 6;
                }
                Some(_) => return Err(Stop::new(at, Cause::Escape)),
                None => return Err(Stop::new(at + 1, Cause::End)),
            },
            Some(_) => return Err(Stop::new(at, Cause::Control)),
            None => return Err(Stop::new(at, Cause::End)),
        }
        at = special(bytes, at);
    }
}

/// Reads four hexadecimal digits.
pub(crate) fn hex(bytes: &[u8], at: usize) -> Result<u16, Stop> {
    let mut value = 0u16;
    for offset in at..at + 4 {
        let digit = match bytes.get(offset) {
            Some(byte @ b'0'..=b'9') => byte - b'0',
            Some(byte @ b'a'..=b'f') => byte - b'a' + 10,
            Some(byte @ b'A'..=b'F') => byte - b'A' + 10,
            Some(_) => return Err(Stop::new(offset, Cause::Escape)),
            None => return Err(Stop::new(offset, Cause::End)),
        };
        value = value << 4 | u16::from(digit);
    }
    Ok(value)
}

/// Whether a short text stands at a position. Names are mostly of 4 to 24 bytes, where a call to compare memory costs
/// more than the two or three words that overlap.
#[inline(always)]
pub(crate) fn starts_with(bytes: &[u8], at: usize, text: &[u8]) -> bool {
    let Some(here) = bytes.get(at..).and_then(|rest| rest.get(..text.len())) else { return false };
    match (here.first_chunk::<8>(), text.first_chunk::<8>()) {
        (Some(one), Some(two)) => {
            let middle = text.len() <= 16 || {
                let rest = 8..text.len() - 8;
                let words = (
                    here.get(8..).and_then(|here| here.first_chunk::<8>()),
                    text.get(8..).and_then(|text| text.first_chunk::<8>()),
                );
                if text.len() <= 24 { words.0 == words.1 } else { here.get(rest.clone()) == text.get(rest) }
            };
            one == two && middle && here.last_chunk::<8>() == text.last_chunk::<8>()
        }
        _ => match (here.first_chunk::<4>(), text.first_chunk::<4>()) {
            (Some(one), Some(two)) => one == two && here.last_chunk::<4>() == text.last_chunk::<4>(),
            _ => here == text,
        },
    }
}

/// Reads `true`, `false` or `null`.
#[inline(always)]
pub(crate) fn literal(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Stop> {
    if bytes.get(at..).is_some_and(|rest| rest.starts_with(word)) {
        Ok(at + word.len())
    } else {
        Err(literal_fault(bytes, at, word))
    }
}

#[cold]
fn literal_fault(bytes: &[u8], at: usize, word: &[u8]) -> Stop {
    let same = word.iter().enumerate().take_while(|(offset, byte)| bytes.get(at + offset) == Some(byte)).count();
    unexpected(bytes, at + same)
}

/// Skips a number, checking its grammar.
pub(crate) fn number(bytes: &[u8], start: usize) -> Result<usize, Stop> {
    let mut at = start + usize::from(byte(bytes, start) == b'-');
    match byte(bytes, at) {
        b'0' => at += 1,
        b'1'..=b'9' => at = digits(bytes, at + 1),
        _ => return Err(number_fault(bytes, at)),
    }
    if byte(bytes, at).is_ascii_digit() {
        return Err(Stop::new(at, Cause::Number));
    }
    if byte(bytes, at) == b'.' {
        at = some_digits(bytes, at + 1)?;
    }
    if byte(bytes, at) | 0x20 == b'e' {
        at += 1;
        at += usize::from(matches!(byte(bytes, at), b'+' | b'-'));
        at = some_digits(bytes, at)?;
    }
    Ok(at)
}

#[inline(always)]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while byte(bytes, at).is_ascii_digit() {
        at += 1;
    }
    at
}

fn some_digits(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    if byte(bytes, at).is_ascii_digit() { Ok(digits(bytes, at + 1)) } else { Err(number_fault(bytes, at)) }
}

#[cold]
pub(crate) fn number_fault(bytes: &[u8], at: usize) -> Stop {
    Stop::new(at, if at < bytes.len() { Cause::Number } else { Cause::End })
}

/// Checks that bytes are UTF-8.
pub(crate) fn utf8(bytes: &[u8]) -> Result<(), Stop> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => {
            let at = std::str::from_utf8(bytes).err().map_or(0, |error| error.valid_up_to());
            Err(Stop::new(at, Cause::Utf8))
        }
    }
}

/// The name of what a value's first byte announces.
pub(crate) fn kind(first: u8) -> &'static str {
    match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        b'-' | b'0'..=b'9' => "a number",
        _ => "no JSON",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_byte_is_found_at_every_distance() {
        for length in 0..70 {
            for byte in [b'"', b'\\', 0x00, 0x1f, b'\n'] {
                let mut bytes = vec![b'x'; length];
                bytes.push(byte);
                bytes.extend_from_slice(&[b'y'; 20]);
                assert_eq!(special(&bytes, 0), length);
            }
            let plain = "\u{7f}é😀 ".repeat(length);
            assert_eq!(special(plain.as_bytes(), 0), plain.len());
        }
    }

    #[test]
    fn texts_of_every_length_are_compared_whole() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).map(|place| b'a' + place % 26).collect();
            let mut bytes = vec![b'-'; 3];
            bytes.extend_from_slice(&text);
            assert!(starts_with(&bytes, 3, &text));
            for place in 3..bytes.len() {
                let mut other = bytes.clone();
                other[place] ^= 1;
                assert!(!starts_with(&other, 3, &text), "{length} {place}");
            }
            assert!(length == 0 || !starts_with(&bytes[..bytes.len() - 1], 3, &text));
        }
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.5", "1e5", "1E+5", "-1.25e-10", "0.0", "0e0"] {
            assert_eq!(number(good.as_bytes(), 0), Ok(good.len()), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "-a", "00"] {
            assert!(number(bad.as_bytes(), 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stop_keeps_its_place_and_cause() {
        for cause in CAUSES {
            let stop = Stop::new(123_456_789, cause);
            assert_eq!((stop.at(), stop.cause()), (123_456_789, cause));
        }
    }
}
