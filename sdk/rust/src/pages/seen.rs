//! Remembering what was seen, in bounded memory.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// How many values are remembered; circles up to this length are found at their first repetition.
const REMEMBERED: usize = 64;
/// 48 bits, which are 8 characters in a checkpoint: among a million pages, a false alarm has a
/// chance of one in four million.
const MASK: u64 = (1 << 48) - 1;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A hash as a checkpoint has it.
type Digits = [u8; 8];

/// A memory of tokens, URLs or pages that finds a value that comes again.
///
/// It keeps the hashes of the last 64 values, and one older hash that it compares with every new one
/// and replaces after 1, 2, 4, 8, … values (Brent's way), so that it finds a circle of any length.
///
/// ```
/// use connector_sdk::pages::Seen;
///
/// let mut seen = Seen::default();
/// assert!(seen.insert(&["a"]) && seen.insert(&["b"]));
/// assert!(!seen.insert(&["a"]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Seen {
    /// In the form in which each page's checkpoint has them, as they are written more often than they change.
    recent: Vec<Digits>,
    anchor: u64,
    since_anchor: u64,
    anchor_life: u64,
}

impl Seen {
    /// Takes in a value made of some texts; false where it was seen before.
    #[must_use]
    pub fn insert(&mut self, texts: &[&str]) -> bool {
        self.insert_hash(texts.iter().fold(0, |hash, text| mix(hash, text.as_bytes())))
    }

    /// Takes in a value made of some numbers, see [`insert`](Seen::insert).
    pub(super) fn insert_numbers(&mut self, numbers: &[u64]) -> bool {
        self.insert_hash(numbers.iter().fold(0, |hash, number| mix(hash, &number.to_le_bytes())))
    }

    fn insert_hash(&mut self, hash: u64) -> bool {
        let hash = hash & MASK;
        let digits = digits(hash);
        if self.recent.contains(&digits) || (self.anchor_life > 0 && hash == self.anchor) {
            return false;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.remove(0);
        }
        self.recent.push(digits);
        self.since_anchor += 1;
        if self.since_anchor >= self.anchor_life {
            self.anchor = hash;
            self.since_anchor = 0;
            self.anchor_life = (self.anchor_life * 2).max(1);
        }
        true
    }

    /// Writes what is remembered as a JSON text.
    pub(super) fn write(&self, out: &mut String) {
        out.push('"');
        let anchors = self.anchors().map(digits);
        for digits in [anchors.as_flattened(), self.recent.as_flattened()] {
            out.push_str(std::str::from_utf8(digits).unwrap_or_default());
        }
        out.push('"');
    }

    fn anchors(&self) -> [u64; 3] {
        [self.anchor, self.since_anchor, self.anchor_life]
    }
}

fn digits(value: u64) -> Digits {
    [42, 36, 30, 24, 18, 12, 6, 0].map(|shift| DIGITS[(value >> shift & 63) as usize])
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // None of the digits has to be escaped, so nobody has to look for one that does.
        let mut text = String::with_capacity(8 * (self.recent.len() + 3) + 2);
        self.write(&mut text);
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl TryFrom<String> for Seen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "memory of what was seen is damaged";
        let (all, []) = text.as_bytes().as_chunks::<8>() else { return Err(WRONG) };
        if !all.as_flattened().iter().all(|byte| DIGITS.contains(byte)) {
            return Err(WRONG);
        }
        let value = |digits: &Digits| {
            let place = |byte: &u8| DIGITS.iter().position(|digit| digit == byte).unwrap_or_default();
            digits.iter().fold(0, |value, byte| value << 6 | place(byte) as u64)
        };
        match all {
            [] => Ok(Self::default()),
            [anchor, since_anchor, anchor_life, recent @ ..] if recent.len() <= REMEMBERED => Ok(Self {
                recent: recent.to_vec(),
                anchor: value(anchor),
                since_anchor: value(since_anchor),
                anchor_life: value(anchor_life),
            }),
            _ => Err(WRONG),
        }
    }
}

/// Mixes bytes into a hash, eight at a time. Not against an attacker: an API that makes its own
/// pages collide only stops its own read.
fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut step = |word: u64| {
        hash = (hash ^ word).wrapping_mul(FACTOR);
        hash ^= hash >> 29;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| step(u64::from_le_bytes(*word)));
    step(rest.iter().fold(1, |word, byte| word << 8 | u64::from(*byte)));
    // The length ends a text, so that "ab" and "c" differ from "a" and "bc".
    step(bytes.len() as u64);
    step(FACTOR);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_any_length_is_found() {
        for length in (1..=64).chain([65, 100, 1000]) {
            let mut seen = Seen::default();
            let mut steps = 0_u64;
            for i in 0.. {
                // Three values lead into the circle.
                let value = if i < 3 { i } else { 3 + (i - 3) % length };
                steps += 1;
                if !seen.insert(&[&value.to_string()]) {
                    break;
                }
            }
            if length <= 64 {
                assert_eq!(steps, 3 + length + 1, "a short circle is found at its first repetition");
            } else {
                assert!(steps <= 3 * (3 + length), "length {length} took {steps}");
            }
        }
    }

    #[test]
    fn a_hundred_thousand_different_values_raise_no_alarm() {
        let mut seen = Seen::default();
        assert!((0..100_000).all(|i: u32| seen.insert(&[&i.to_string()])));
    }

    #[test]
    fn the_parts_of_a_value_do_not_run_together() {
        let mut seen = Seen::default();
        assert!(
            seen.insert(&["ab", "c"])
                && seen.insert(&["a", "bc"])
                && seen.insert(&["abc"])
                && seen.insert(&["", "abc"])
        );
    }

    #[test]
    fn the_memory_survives_a_checkpoint() {
        let mut seen = Seen::default();
        assert!((0..200).all(|i: u32| seen.insert(&[&i.to_string()])));
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(text.len(), 8 * 67 + 2);
        let mut back: Seen = serde_json::from_str(&text).unwrap();
        assert_eq!(back, seen);
        assert!(!back.insert(&["150"]));
    }

    #[test]
    fn a_damaged_memory_is_refused() {
        for text in ["AAAA", "AAAAAAA!AAAAAAAAAAAAAAAA", "AAAAAAAA"] {
            assert!(Seen::try_from(text.to_owned()).is_err());
        }
    }
}
