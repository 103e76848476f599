//! The quick look over a whole body: brackets and strings alone, 64 bytes at a time, at several gigabytes a second.
//!
//! It finds where containers start and end, which is what a look-up needs, and leaves the grammar of what stands in them
//! to whoever reads it: a value that is handed out is checked then, and records are checked as they are decoded. What is
//! not sound in its brackets and strings gets no index here; the validating scan says why.

use wide::u8x16;

use super::index::{BIG_BYTES, Big, Index, end};
use super::scan::{self, byte, space};

const BLOCK_BYTES: usize = 64;

/// A container that is open. Most are short objects, so there is little to it.
#[derive(Clone, Copy)]
struct Open {
    start: usize,
    array: bool,
}

/// The elements of an open array, as far as they are containers.
struct Elements {
    count: u64,
    /// Whether all elements so far are containers, so that `count` counts all.
    regular: bool,
    /// Position after the last of them.
    last_end: usize,
    marked: usize,
    marks: Vec<(u64, usize)>,
}

impl Elements {
    fn new(start: usize) -> Self {
        Self { count: 0, regular: true, last_end: start + 1, marked: start, marks: Vec::new() }
    }

    /// Notes that an element that is a container starts.
    #[inline(always)]
    fn next(&mut self, bytes: &[u8], at: usize) {
        let mut after = space(bytes, self.last_end);
        if self.count > 0 && byte(bytes, after) == b',' {
            after = space(bytes, after + 1);
        }
        self.regular &= after == at;
        if at - self.marked >= BIG_BYTES {
            self.marks.push((self.count, at));
            self.marked = at;
        }
        self.count += 1;
    }
}

/// Indexes a body whose brackets and strings are sound, that is UTF-8, and no deeper than the limit.
pub(super) fn skim(bytes: &[u8], max_depth: usize) -> Option<Index> {
    scan::utf8(bytes).ok()?;
    let root = space(bytes, super::content_start(bytes));
    if !matches!(byte(bytes, root), b'{' | b'[') {
        return None;
    }
    let mut containers = Containers {
        bytes,
        max_depth,
        open: Vec::with_capacity(16),
        arrays: Vec::with_capacity(4),
        index: Index::default(),
    };
    let mut strings = Strings::default();
    let mut at = root;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK_BYTES>()) {
        if let Some(after) = containers.block(at, strings.brackets(block))? {
            return containers.finish(after);
        }
        at += BLOCK_BYTES;
    }
    let mut last = [b' '; BLOCK_BYTES];
    let rest = bytes.get(at..).unwrap_or_default();
    last.get_mut(..rest.len())?.copy_from_slice(rest);
    let after = containers.block(at, strings.brackets(&last))??;
    containers.finish(after)
}

/// Position after the container that starts at a position, by its brackets alone: its grammar is known to be right, or will
/// be checked.
pub(crate) fn container_end(bytes: &[u8], start: usize) -> usize {
    let mut strings = Strings::default();
    let mut depth = 0usize;
    let mut at = start;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let mut last = [b' '; BLOCK_BYTES];
        let block = rest.first_chunk().unwrap_or_else(|| {
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            &last
        });
        let mut brackets = strings.brackets(block);
        while brackets != 0 {
            let bracket = at + brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            match byte(bytes, bracket) {
                b'{' | b'[' => depth += 1,
                _ if depth <= 1 => return bracket + 1,
                _ => depth -= 1,
            }
        }
        at += BLOCK_BYTES;
    }
    bytes.len()
}

struct Containers<'a> {
    bytes: &'a [u8],
    max_depth: usize,
    open: Vec<Open>,
    /// One for each array in `open`.
    arrays: Vec<Elements>,
    index: Index,
}

impl Containers<'_> {
    /// Goes over the brackets of a block; returns the position after the root where it ends here.
    #[inline(always)]
    #[expect(clippy::option_option, reason = "unsound, or sound and at its end or not")]
    fn block(&mut self, start: usize, mut brackets: u64) -> Option<Option<usize>> {
        while brackets != 0 {
            let at = start + brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            match byte(self.bytes, at) {
                first @ (b'{' | b'[') => {
                    if self.open.last().is_some_and(|parent| parent.array)
                        && let Some(elements) = self.arrays.last_mut()
                    {
                        elements.next(self.bytes, at);
                    }
                    if self.open.len() == self.max_depth {
                        return None;
                    }
                    let array = first == b'[';
                    self.open.push(Open { start: at, array });
                    if array {
                        self.arrays.push(Elements::new(at));
                    }
                }
                last => {
                    let closed = self.open.pop()?;
                    if closed.array != (last == b']') {
                        return None;
                    }
                    let elements = if closed.array { self.arrays.pop() } else { None };
                    if at + 1 - closed.start >= BIG_BYTES {
                        self.remember(closed.start, at, elements);
                    }
                    match self.open.last() {
                        None => return Some(Some(at + 1)),
                        Some(parent) if parent.array => {
                            if let Some(elements) = self.arrays.last_mut() {
                                elements.last_end = at + 1;
                            }
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        Some(None)
    }

    /// Notes a long container, with its count where that is known.
    #[inline(never)]
    fn remember(&mut self, start: usize, closing: usize, elements: Option<Elements>) {
        let counted = elements.filter(|all| all.regular && space(self.bytes, all.last_end) == closing);
        let (count, marks) = counted.map_or((None, Vec::new()), |all| (Some(all.count), all.marks));
        self.index.big.push(Big { start, end: closing + 1, count, marks });
    }

    fn finish(mut self, after: usize) -> Option<Index> {
        end(self.bytes, after).ok()?;
        self.index.big.sort_unstable_by_key(|big| big.start);
        Some(self.index)
    }
}

/// Where strings are, from block to block.
#[derive(Default)]
struct Strings {
    /// All ones where the next block starts in a string.
    inside: u64,
    /// One where the next block's first byte is escaped.
    escaped: u64,
}

impl Strings {
    /// One bit for each bracket of a block that stands outside of strings.
    #[inline(always)]
    fn brackets(&mut self, block: &[u8; BLOCK_BYTES]) -> u64 {
        let (mut quotes, mut slashes, mut brackets) = (0u64, 0u64, 0u64);
        for (part, chunk) in block.as_chunks::<16>().0.iter().enumerate() {
            let bytes = u8x16::new(*chunk);
            let bit = u8x16::splat(0x20) | bytes;
            let bracket = bit.simd_eq(u8x16::splat(b'{')) | bit.simd_eq(u8x16::splat(b'}'));
            quotes |= u64::from(bytes.simd_eq(u8x16::splat(b'"')).to_bitmask()) << (part * 16);
            slashes |= u64::from(bytes.simd_eq(u8x16::splat(b'\\')).to_bitmask()) << (part * 16);
            brackets |= u64::from(bracket.to_bitmask()) << (part * 16);
        }
        if slashes | self.escaped != 0 {
            quotes &= !self.escapes(slashes);
        }
        // A bit is inside where an odd number of quotes stands before it or on it.
        let mut inside = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        inside ^= self.inside;
        self.inside = 0u64.wrapping_sub(inside >> 63);
        brackets & !inside
    }

    /// One bit for each byte that a backslash before it escapes.
    #[cold]
    fn escapes(&mut self, slashes: u64) -> u64 {
        let (mut escaped, mut rest) = (self.escaped, slashes & !self.escaped);
        self.escaped = 0;
        while rest != 0 {
            let at = rest.trailing_zeros();
            rest &= rest - 1;
            if at == 63 {
                self.escaped = 1;
            } else {
                escaped |= 2 << at;
                rest &= !(2 << at);
            }
        }
        escaped
    }
}

#[cfg(test)]
mod tests {
    use super::super::index;
    use super::*;

    /// Every container of at least 4 KiB as both scans see it.
    fn agree(text: &str) {
        let exact = index::build(text.as_bytes(), 64).unwrap();
        let quick = skim(text.as_bytes(), 64).unwrap();
        assert_eq!(exact.big.len(), quick.big.len(), "{text}");
        for (exact, quick) in exact.big.iter().zip(&quick.big) {
            assert_eq!((exact.start, exact.end), (quick.start, quick.end));
            assert_eq!(container_end(text.as_bytes(), exact.start), exact.end);
            if quick.count.is_some() {
                assert_eq!(exact.count, quick.count, "{text}");
                assert_eq!(exact.marks, quick.marks);
            }
        }
    }

    fn count(text: &str) -> Option<u64> {
        skim(text.as_bytes(), 64).unwrap().big.iter().find(|big| byte(text.as_bytes(), big.start) == b'[')?.count
    }

    #[test]
    fn both_scans_find_the_same_containers() {
        let mut random = fastrand::Rng::with_seed(7);
        let pieces = ["\\\\", "\\\"", "]", "[", "{", "}", ",", ":", "é", "🦀", "x", "longer text ", "\\u005b", "/"];
        for round in 0..300 {
            let mut items = Vec::new();
            for _ in 0..random.usize(1..200) {
                let text: String = (0..random.usize(0..40)).map(|_| pieces[random.usize(..pieces.len())]).collect();
                items.push(match random.usize(..if round % 2 == 0 { 1 } else { 4 }) {
                    0 => format!("{{\"{text}\":[1,{{\"a\":\"{text}\"}}]}}"),
                    1 => format!("\"{text}\""),
                    2 => "[]".to_owned(),
                    _ => "12".to_owned(),
                });
            }
            let comma = [",", " , ", ",\n  "][random.usize(..3)];
            agree(&format!("{{\"items\":[{}],\"next\":\"]\\\\\"}}", items.join(comma)));
            agree(&format!(" [{}] ", items.join(comma)));
        }
    }

    #[test]
    fn only_what_is_regular_is_counted() {
        let long = "x".repeat(5000);
        assert_eq!(count(&format!("[{{\"a\":\"{long}\"}}, {{}}]")), Some(2));
        assert_eq!(count(&format!("[ [ \"{long}\" ] ]")), Some(1));
        assert_eq!(count(&format!("[\"{long}\"]")), None);
        for irregular in ["{},1", "1,{}", "{},1,{}", "\"x\""] {
            assert_eq!(count(&format!("[{{\"a\":\"{long}\"}},{irregular}]")), None, "{irregular}");
        }
    }

    #[test]
    fn what_is_not_sound_in_brackets_and_strings_is_left_to_the_validating_scan() {
        for bad in ["", "1", "[", "{\"a\":[}", "[]]", "[] x", "{\"a", "[\"\\\"]", "<html>", "[[[", "{]", "[\"a\"\"]"] {
            assert!(skim(bad.as_bytes(), 8).is_none(), "{bad}");
        }
        assert!(skim(b"[[]]", 1).is_none());
        assert!(skim(b"[\"\xff\"]", 8).is_none());
        assert!(skim("[]".as_bytes(), 1).is_some());
    }
}
