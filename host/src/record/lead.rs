//! What stands between two values of a record, found again where it stood the last time.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, u8x32};

/// What stands before a field's value: a brace or a comma, the name, the colon, and whitespace as the records write it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lead {
    bytes: [u8; 40],
    /// Their number; more than there are where the text is too long to be found again.
    len: u32,
    /// Bits of the first 32 bytes that are not looked at.
    spare: u32,
}

impl Default for Lead {
    fn default() -> Self {
        Self { bytes: [0; 40], len: u32::MAX, spare: 0 }
    }
}

impl Lead {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut lead = Self::default();
        if let Some(place) = lead.bytes.get_mut(..text.len()) {
            place.copy_from_slice(text);
            lead.len = text.len() as u32;
            lead.spare = u32::MAX.checked_shl(lead.len).unwrap_or(0);
        }
        lead
    }

    /// The position after the text, if it stands at a position; else zero.
    #[inline(always)]
    pub(super) fn after<S: Simd>(&self, simd: S, bytes: &[u8], at: usize) -> usize {
        self.found(simd, bytes, at).unwrap_or(0)
    }

    #[inline(always)]
    fn found<S: Simd>(&self, simd: S, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = bytes.get(at..)?;
        if same(simd, rest, &self.bytes)? | self.spare != u32::MAX {
            return None;
        }
        let len = self.len as usize;
        if len > 32 {
            let tail = len - 32..len;
            if same(simd, rest.get(tail.clone())?, self.bytes.get(tail)?)? != u32::MAX {
                return None;
            }
        }
        Some(at + len)
    }
}

/// Sets one bit for each of the first 32 bytes that is the same in both.
#[inline(always)]
fn same<S: Simd>(simd: S, one: &[u8], other: &[u8]) -> Option<u32> {
    let (one, other) = (one.first_chunk::<32>()?, other.first_chunk::<32>()?);
    Some(u8x32::simd_from(simd, *one).simd_eq(u8x32::simd_from(simd, *other)).to_bitmask() as u32)
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    #[test]
    fn leads_of_every_length_are_compared_whole() {
        fn check<S: Simd>(simd: S) {
            for length in 1..60u8 {
                let text: Vec<u8> = (0..length).map(|place| b'a' + place % 26).collect();
                let lead = Lead::new(&text);
                let mut bytes = [b"---", text.as_slice(), &[b'-'; 32]].concat();
                let end = if length <= 40 { 3 + text.len() } else { 0 };
                assert_eq!(lead.after(simd, &bytes, 3), end, "{length}");
                for place in 3..3 + text.len() {
                    bytes[place] ^= 1;
                    assert_eq!(lead.after(simd, &bytes, 3), 0, "{length} {place}");
                    bytes[place] ^= 1;
                }
                assert_eq!(lead.after(simd, &bytes[..2 + text.len()], 3), 0);
            }
            assert_eq!(Lead::default().after(simd, &[0; 64], 0), 0);
        }
        dispatch!(Level::new(), simd => check(simd));
        dispatch!(Level::baseline(), simd => check(simd));
    }
}
