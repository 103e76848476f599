//! Records that are no JSON: what in them is personal data cannot be told, so nothing of them is handed on.
//!
//! Such a record is replaced by a placeholder, which is no JSON either: so it takes the way of every record that cannot be
//! stored, and its dead letter says what is withheld. An archive that is treated has the same placeholder in its place, so
//! that a replay makes the same letter.

use std::ops::Range;

use crate::json::scan::{Stop, byte};
use crate::json::{self, Cause};

/// What a placeholder begins with, behind its bracket.
const MARK: &str = "withheld: ";

/// Causes that a placeholder can tell, each in the words of `json::what`.
const CAUSES: [Cause; 8] = [
    Cause::End,
    Cause::Unexpected,
    Cause::Control,
    Cause::Escape,
    Cause::Utf8,
    Cause::Depth,
    Cause::Number,
    Cause::Trailing,
];

/// What is known of a record that is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Withheld {
    /// Its length as it came.
    pub(crate) bytes: usize,
    /// Why it is no JSON.
    pub(crate) cause: &'static str,
}

impl Withheld {
    /// What stands in place of a record that stops being JSON. Nothing of the record is in it.
    pub(super) fn new(record: &[u8], stop: Stop) -> Self {
        Self { bytes: record.len(), cause: json::what(stop.cause()) }
    }

    /// Reads a placeholder.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let inside = [('{', '}'), ('[', ']')].iter().find_map(|(open, close)| {
            let inside = text.strip_prefix(*open)?;
            inside.strip_suffix(*close)
        })?;
        let (bytes, cause) = inside.strip_prefix(MARK)?.split_once(" bytes, ")?;
        let cause = CAUSES.iter().map(|known| json::what(*known)).find(|known| *known == cause)?;
        let bytes: usize = bytes.parse().ok()?;
        Some(Self { bytes, cause })
    }

    /// Writes the placeholder, in brackets like those of the record: of what is no object, none is made.
    pub(super) fn write(self, record: &[u8]) -> String {
        let (open, close) = if byte(record, 0) == b'{' { ('{', '}') } else { ('[', ']') };
        format!("{open}{MARK}{} bytes, {}{close}", self.bytes, self.cause)
    }
}

/// The placeholder of a record that is no JSON. Where texts may have been treated before, one that is a placeholder stays.
pub(super) fn placeholder(record: &[u8], stop: Stop, again: bool) -> String {
    match Withheld::parse(record).filter(|_| again) {
        Some(known) => known.write(record),
        None => Withheld::new(record, stop).write(record),
    }
}

/// A body with elements that are no JSON, where all else is: what is left of it, and the placeholders.
pub(super) struct Patched {
    /// The body, with a number in place of each such element.
    pub(super) rest: Vec<u8>,
    /// Where they are, in order, and what is put there.
    pub(super) holes: Vec<(Range<usize>, String)>,
}

/// Takes such a body apart; none where it is JSON, or where it is none as a whole.
pub(super) fn patched(body: &[u8], again: bool) -> Option<Patched> {
    json::sound(body).err()?;
    let (rest, holes) = json::holes(body)?;
    let placeholder = |hole: Range<usize>| {
        let element = body.get(hole.clone()).unwrap_or_default();
        let stop = json::sound(element).err().unwrap_or_else(|| Stop::new(0, Cause::Unexpected));
        (hole, placeholder(element, stop, again))
    };
    Some(Patched { rest, holes: holes.into_iter().map(placeholder).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_tells_nothing_but_length_and_cause() {
        let record = b"{\"mail\":\"a@b.c\0\"}";
        let stop = json::sound(record).unwrap_err();
        let text = placeholder(record, stop, false);
        assert_eq!(text, "{withheld: 17 bytes, a control character in a string}");
        assert!(json::sound(text.as_bytes()).is_err());
        let known = Withheld::parse(text.as_bytes()).unwrap();
        assert_eq!((known.bytes, known.cause), (17, "a control character in a string"));
        let stop = json::sound(text.as_bytes()).unwrap_err();
        assert_eq!(placeholder(text.as_bytes(), stop, true), text);
        assert_ne!(placeholder(text.as_bytes(), stop, false), text, "an API may send whatever it likes");
        assert_eq!(placeholder(b"oops", Stop::new(0, Cause::Unexpected), false).as_bytes().first(), Some(&b'['));
        for other in ["{withheld: x bytes, a control character in a string}", "{withheld: 1 bytes, a@b.c}", "{}", ""] {
            assert_eq!(Withheld::parse(other.as_bytes()), None, "{other}");
        }
    }
}
