//! A page's JSON text, read by somebody who knows what stands in it.

use anyhow::{Context, bail};
use wide::u8x16;

/// Zeros behind a page, so that a block of 16 bytes can be looked at from any place in it.
pub const PADDING: usize = 16;

/// The text and the place of the reader.
#[derive(Debug)]
pub struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    /// Starts at a page's first byte. The page ends in [`PADDING`] zeros.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The byte here; zero past the end.
    #[inline(always)]
    #[must_use]
    pub fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Goes one byte on.
    #[inline(always)]
    pub fn step(&mut self) {
        self.at += 1;
    }

    /// Steps over a text, if it stands here.
    #[inline(always)]
    pub fn take(&mut self, text: &str) -> bool {
        let here = self.bytes.get(self.at..self.at + text.len()) == Some(text.as_bytes());
        if here {
            self.at += text.len();
        }
        here
    }

    /// Steps over whitespace.
    pub fn space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Steps over whitespace around a byte that must be there.
    pub fn expect(&mut self, byte: u8) -> anyhow::Result<()> {
        self.space();
        if self.byte() != byte {
            return self.unexpected();
        }
        self.step();
        self.space();
        Ok(())
    }

    /// Says what is wrong here.
    #[cold]
    pub fn unexpected<T>(&self) -> anyhow::Result<T> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let rest = String::from_utf8_lossy(rest.get(..20).unwrap_or(rest)).into_owned();
        bail!("unexpected text at byte {}: {rest}", self.at)
    }

    /// Copies what stands between the quotes to `out` at `end`; returns where it ends there. Looks at each byte once: the
    /// block that is searched for the end is the block that is copied.
    #[inline(always)]
    pub fn string(&mut self, out: &mut Vec<u8>, mut end: usize) -> anyhow::Result<usize> {
        let mut at = self.at + 1;
        loop {
            let Some(block) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) else {
                return self.unexpected();
            };
            let Some(place) = out.get_mut(end..).and_then(|rest| rest.first_chunk_mut::<16>()) else {
                grow(out);
                continue;
            };
            *place = *block;
            let hits = specials(*block);
            if hits != 0 {
                let before = hits.trailing_zeros() as usize;
                at += before;
                end += before;
                break;
            }
            at += 16;
            end += 16;
        }
        self.at = at;
        if self.byte() != b'"' {
            return self.escaped(out, end);
        }
        self.at += 1;
        Ok(end)
    }

    /// Goes on at the first escape.
    #[cold]
    fn escaped(&mut self, out: &mut Vec<u8>, mut end: usize) -> anyhow::Result<usize> {
        loop {
            let start = self.at;
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok(end);
                }
                b'\\' => {
                    self.at += 2;
                    let unit = match self.bytes.get(start + 1) {
                        Some(b'b') => '\u{8}',
                        Some(b'f') => '\u{c}',
                        Some(b'n') => '\n',
                        Some(b'r') => '\r',
                        Some(b't') => '\t',
                        Some(b'u') => self.code_point()?,
                        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
                        _ => return self.unexpected(),
                    };
                    end = put(out, end, unit.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..0x20 => return self.unexpected(),
                _ => {
                    while !matches!(self.byte(), b'"' | b'\\' | 0..0x20) {
                        self.at += 1;
                    }
                    end = put(out, end, self.bytes.get(start..self.at).unwrap_or_default());
                }
            }
        }
    }

    fn code_point(&mut self) -> anyhow::Result<char> {
        let high = self.unit()?;
        if let Some(character) = char::from_u32(high) {
            return Ok(character);
        }
        if !self.take("\\u") {
            return self.unexpected();
        }
        let low = self.unit()?;
        char::decode_utf16([high as u16, low as u16]).next().and_then(Result::ok).context("half a surrogate pair")
    }

    fn unit(&mut self) -> anyhow::Result<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).context("an escape that is cut off")?;
        self.at += 4;
        Ok(u32::from_str_radix(std::str::from_utf8(digits)?, 16)?)
    }

    /// Reads digits; returns their value and how many there are.
    #[inline(always)]
    pub fn digits(&mut self, mut value: u64) -> (u64, usize) {
        let start = self.at;
        loop {
            let digit = self.byte().wrapping_sub(b'0');
            if digit > 9 {
                return (value, self.at - start);
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
    }

    /// The place of the reader.
    #[must_use]
    pub fn place(&self) -> usize {
        self.at
    }

    /// The text since a place, to be read once more by a slower way.
    pub fn since(&mut self, place: usize) -> anyhow::Result<&'a str> {
        while matches!(self.byte(), b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        Ok(std::str::from_utf8(self.bytes.get(place..self.at).unwrap_or_default())?)
    }
}

/// Sets one bit for each byte that is a quote, a backslash or a control character.
#[inline(always)]
fn specials(block: [u8; 16]) -> u32 {
    let bytes = u8x16::new(block);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let slash = bytes.simd_eq(u8x16::splat(b'\\'));
    let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    (quote | slash | control).to_bitmask()
}

#[cold]
fn grow(out: &mut Vec<u8>) {
    out.resize((out.len() * 2).max(64 << 10), 0);
}

fn put(out: &mut Vec<u8>, end: usize, bytes: &[u8]) -> usize {
    while out.len() < end + bytes.len() {
        grow(out);
    }
    if let Some(place) = out.get_mut(end..end + bytes.len()) {
        place.copy_from_slice(bytes);
    }
    end + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(json: &str) -> Option<String> {
        let padded = [json.as_bytes(), &[0; PADDING]].concat();
        let mut text = Text::new(&padded);
        let mut out = Vec::new();
        let end = text.string(&mut out, 0).ok()?;
        (text.place() == json.len()).then(|| String::from_utf8_lossy(out.get(..end).unwrap_or_default()).into_owned())
    }

    #[test]
    fn strings_of_every_length_and_escape_are_what_serde_reads() {
        for length in 0..70 {
            for tail in ["", "\\n", "\\\"x", "\\u00e9", "\\ud83e\\udd80", "é🦀", "\\\\\\/"] {
                let json = format!("\"{}{tail}\"", "x".repeat(length));
                assert_eq!(string(&json), serde_json::from_str(&json).ok(), "{json}");
            }
        }
        for bad in ["\"abc", "\"a\nb\"", "\"\\x\"", "\"\\ud83e\""] {
            assert_eq!(string(bad), None, "{bad}");
        }
    }
}
