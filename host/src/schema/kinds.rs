//! Which kinds of JSON values a field has held.

use std::fmt;

/// A set of kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// None: only ever null.
    pub const NONE: Self = Self(0);
    /// `true` and `false`.
    pub const BOOLEAN: Self = Self(1);
    /// Whole numbers of 64 bits.
    pub const INTEGER: Self = Self(1 << 1);
    /// Numbers with a fraction or an exponent that `f64` holds.
    pub const NUMBER: Self = Self(1 << 2);
    /// Numbers whose digits neither of these holds.
    pub const DIGITS: Self = Self(1 << 3);
    /// Strings.
    pub const TEXT: Self = Self(1 << 4);
    /// Objects.
    pub const OBJECT: Self = Self(1 << 5);
    /// Arrays.
    pub const ARRAY: Self = Self(1 << 6);

    /// Each kind and its name.
    const NAMES: [(Self, &'static str); 7] = [
        (Self::BOOLEAN, "boolean"),
        (Self::INTEGER, "integer"),
        (Self::NUMBER, "number"),
        (Self::DIGITS, "long number"),
        (Self::TEXT, "text"),
        (Self::OBJECT, "object"),
        (Self::ARRAY, "array"),
    ];

    /// Returns whether all kinds of another set are in this one.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Returns the kinds of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the kinds that are not in another set.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether one of them has parts: an object or an array.
    #[must_use]
    pub fn is_nested(self) -> bool {
        self.0 & (Self::OBJECT.0 | Self::ARRAY.0) != 0
    }

    /// Returns the names, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(kind, _)| self.contains(*kind)).map(|(_, name)| name)
    }

    /// Returns each kind by itself, in a fixed order.
    pub fn each(self) -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().map(|(kind, _)| kind).filter(move |kind| self.contains(*kind))
    }

    /// Returns the kind of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(kind, _)| kind)
    }
}

impl fmt::Display for Kinds {
    /// Writes `integer`, `integer or text`; `null` for none.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        match names.split_last() {
            None => out.write_str("null"),
            Some((last, [])) => out.write_str(last),
            Some((last, others)) => write!(out, "{} or {last}", others.join(", ")),
        }
    }
}
