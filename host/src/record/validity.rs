//! Which rows of a column have a value.

/// Which rows have a value.
#[derive(Debug, Default, Clone)]
pub(crate) struct Validity {
    pub(super) len: usize,
    pub(super) nulls: usize,
    /// Bits up to the last null or further; those behind the rows are set.
    pub(super) words: Vec<u64>,
}

impl Validity {
    pub(super) fn nulls(len: usize) -> Self {
        let mut words = vec![0; len.div_ceil(64)];
        set_from(&mut words, len);
        Self { len, nulls: len, words }
    }

    #[inline(always)]
    pub(super) fn push_value(&mut self) {
        self.len += 1;
    }

    pub(super) fn push_null(&mut self) {
        self.words.resize(self.len / 64 + 1, u64::MAX);
        if let Some(word) = self.words.last_mut() {
            *word &= !(1 << (self.len % 64));
        }
        self.len += 1;
        self.nulls += 1;
    }

    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.words.get(row / 64).is_none_or(|word| word >> (row % 64) & 1 == 1)
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.nulls) = (0, 0);
        self.words.clear();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        set_from(&mut self.words, len);
        self.nulls = self.words.iter().map(|word| word.count_zeros() as usize).sum();
    }

    pub(super) fn extend(&mut self, other: &Self) {
        if other.nulls > 0 {
            let (first, shift) = (self.len / 64, self.len % 64);
            let need = (self.len + (other.words.len() * 64).min(other.len)).div_ceil(64);
            self.words.resize(need.max(self.words.len()), u64::MAX);
            for (place, word) in other.words.iter().enumerate() {
                if let Some(low) = self.words.get_mut(first + place) {
                    *low &= !(!word << shift);
                }
                if let (1.., Some(high)) = (shift, self.words.get_mut(first + place + 1)) {
                    *high &= !(!word >> (64 - shift));
                }
            }
        }
        self.len += other.len;
        self.nulls += other.nulls;
    }

    /// Takes the bits, if there is a null; starts anew.
    pub(crate) fn take(&mut self) -> (usize, Option<Vec<u64>>) {
        let Self { len, nulls, mut words } = std::mem::take(self);
        words.resize(len.div_ceil(64), u64::MAX);
        (len, (nulls > 0).then_some(words))
    }
}

/// Sets all bits from a place on.
fn set_from(words: &mut Vec<u64>, len: usize) {
    words.truncate(len.div_ceil(64));
    if let (1.., Some(word)) = (len % 64, words.get_mut(len / 64)) {
        *word |= u64::MAX << (len % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_joined_at_every_place() {
        for (len, more) in [(0usize, 1usize), (1, 63), (63, 1), (64, 64), (65, 130), (100, 0), (3, 200)] {
            let valid = |row: usize| row % 5 != 2 && row % 64 != 63 && row < 180;
            let make = |rows: std::ops::Range<usize>| {
                let mut all = Validity::default();
                rows.for_each(|row| if valid(row) { all.push_value() } else { all.push_null() });
                all
            };
            let mut all = make(0..len);
            all.extend(&make(len..len + more));
            all.push_value();
            all.push_null();
            let nulls = 1 + (0..len + more).filter(|row| !valid(*row)).count();
            assert_eq!((all.len, all.nulls), (len + more + 2, nulls));
            for row in 0..len + more {
                assert_eq!(all.is_valid(row), valid(row), "{len} {more} {row}");
            }
            assert!(all.is_valid(len + more) && !all.is_valid(len + more + 1));
        }
    }

    #[test]
    fn validity_survives_truncation() {
        for len in [0usize, 1, 63, 64, 65, 130] {
            for cut in 0..=len {
                let mut all = Validity::default();
                for row in 0..len {
                    if row % 3 == 1 { all.push_null() } else { all.push_value() }
                }
                all.truncate(cut);
                all.push_value();
                all.push_null();
                for row in 0..cut {
                    assert_eq!(all.is_valid(row), row % 3 != 1);
                }
                assert!(all.is_valid(cut) && !all.is_valid(cut + 1));
                assert_eq!(all.nulls, 1 + (0..cut).filter(|row| row % 3 == 1).count());
            }
        }
    }
}
