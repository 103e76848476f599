//! What is known of a stream's records: the type of each field, how types widen, how they are written down, and how what the
//! records hold changes over time.
//!
//! Types form a lattice: [`Type::join`] gives the narrowest type that holds the values of both, so a schema only ever
//! widens, in whatever order the pages come.
//!
//! - whole numbers beyond 64 bits, and fractions that no `f64` stands for, make the column text of their digits;
//! - whole numbers and fractions together are `f64` as long as every whole number is exact there, else text;
//! - scalars of different kinds together are text: strings as they are, the others as written;
//! - a scalar and an object, a scalar and an array, an object and an array together are JSON text.
//!
//! That holds as long as nothing is written. A column that is in a file keeps its type, and what does not fit goes to a
//! column beside it: see [`fields`].

mod arrow;
mod declared;
mod description;
pub mod drift;
pub mod fields;
mod json_schema;
mod kinds;

pub use self::declared::DeclaredError;
pub use self::description::DescriptionError;
pub use self::drift::{Change, drift};
pub use self::fields::{Field, Fields, Form};
pub use self::kinds::Kinds;

/// Fields that a nested object may have before it counts as a map whose keys are data, and becomes JSON text. An object
/// keyed by identifiers would else make a column of each record.
pub const MAX_NESTED_FIELDS: usize = 1_000;

/// Fields that a record may have. Parquet's metadata grows with each of them in each row group.
pub const MAX_FIELDS: usize = 20_000;

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Type {
    /// Only ever null.
    #[default]
    Unknown,
    /// `true` and `false`.
    Bool,
    /// Whole numbers of 64 bits.
    Int {
        /// Whether one of them is beyond 2^53, where `f64` is no longer exact.
        wide: bool,
    },
    /// Numbers that `f64` holds faithfully.
    Float,
    /// Text, and the kinds of values of which it is.
    Text(Kinds),
    /// An instant in microseconds, UTC. Only where a schema declares it.
    Timestamp,
    /// The JSON text of values of these kinds.
    Json(Kinds),
    /// An object.
    Struct(Fields),
    /// An array, and what its items are.
    List(Box<Items>),
}

/// The items of an array.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Items {
    /// Their type.
    pub kind: Type,
    /// Whether one of them was null.
    pub(crate) nullable: bool,
    /// Whether one of them had a value.
    pub(crate) seen: bool,
}

impl Items {
    /// Returns whether every item had a value.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.seen && !self.nullable
    }

    /// Returns whether an item was null.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Notes whether items were null, and whether they had values.
    pub(crate) fn note(&mut self, nulls: bool, values: bool) {
        self.nullable |= nulls;
        self.seen |= values;
    }
}

impl From<Type> for Items {
    fn from(kind: Type) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl std::ops::Deref for Items {
    type Target = Type;

    fn deref(&self) -> &Type {
        &self.kind
    }
}

impl std::ops::DerefMut for Items {
    fn deref_mut(&mut self) -> &mut Type {
        &mut self.kind
    }
}

/// What is known of a stream's records.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// The fields of a record.
    pub fields: Fields,
}

impl Type {
    /// Widens this type so that it also holds the values of another.
    pub fn join(&mut self, other: Type) {
        use Type::{Bool, Float, Int, Json, List, Struct, Text, Timestamp, Unknown};
        let kinds = self.kinds().with(other.kinds());
        let joined = match (std::mem::take(self), other) {
            (Unknown, kind) | (kind, Unknown) => kind,
            (Int { wide: one }, Int { wide: two }) => Int { wide: one || two },
            (Int { wide: false }, Float) | (Float, Int { wide: false }) => Float,
            (Bool, Bool) => Bool,
            (Float, Float) => Float,
            (Timestamp, Timestamp) => Timestamp,
            (Struct(mut one), Struct(two)) => {
                for Field { name, kind, .. } in &two {
                    one.entry(name).join(kind.clone());
                }
                if one.names() > MAX_NESTED_FIELDS { Json(kinds) } else { Struct(one) }
            }
            (List(mut one), List(two)) => {
                one.note(two.nullable, two.seen);
                one.join(two.kind);
                List(one)
            }
            (Json(_) | Struct(_) | List(_), _) | (_, Json(_) | Struct(_) | List(_)) => Json(kinds),
            (_, _) => Text(kinds),
        };
        *self = joined;
    }

    /// Takes a scalar's type in where the column's own stays what it is; false where it would not.
    pub(crate) fn admit(&mut self, other: &Type) -> bool {
        match (&mut *self, other) {
            (Self::Unknown, _) => *self = other.clone(),
            (Self::Int { wide }, Self::Int { wide: also }) => *wide |= also,
            (Self::Text(kinds) | Self::Json(kinds), _) => *kinds = kinds.with(other.kinds()),
            (Self::Bool, Self::Bool)
            | (Self::Float, Self::Float | Self::Int { wide: false })
            | (Self::Timestamp, Self::Timestamp) => {}
            _ => return false,
        }
        true
    }

    /// Returns the kinds of values that it has held.
    pub fn kinds(&self) -> Kinds {
        match self {
            Self::Unknown => Kinds::NONE,
            Self::Bool => Kinds::BOOLEAN,
            Self::Int { .. } => Kinds::INTEGER,
            Self::Float => Kinds::NUMBER,
            Self::Timestamp => Kinds::TEXT,
            Self::Text(kinds) | Self::Json(kinds) => *kinds,
            Self::Struct(_) => Kinds::OBJECT,
            Self::List(_) => Kinds::ARRAY,
        }
    }

    fn each_object(&mut self, change: &mut impl FnMut(&mut Fields)) {
        match self {
            Self::Struct(fields) => each_object(fields, change),
            Self::List(item) => item.each_object(change),
            _ => {}
        }
    }
}

/// Calls a function with the fields of an object and of all objects in it.
fn each_object(fields: &mut Fields, change: &mut impl FnMut(&mut Fields)) {
    change(fields);
    fields.iter_mut().for_each(|field| field.kind.each_object(change));
}

impl Schema {
    /// Says that the columns are in a file: their types stay what they are from now on. A column of nothing but nulls has
    /// none yet. `any` says whether the file has rows, so that a field that comes later is missing in some.
    pub(crate) fn settle(&mut self, any: bool) {
        each_object(&mut self.fields, &mut |fields| {
            fields.old |= any;
            fields.iter_mut().for_each(|field| field.written = field.kind != Type::Unknown);
        });
    }

    /// Forgets what was counted.
    pub(crate) fn forget_counts(&mut self) {
        each_object(&mut self.fields, &mut |fields| {
            fields.objects = 0;
            fields.iter_mut().for_each(|field| field.values = 0);
        });
    }

    /// Begins to note anew which fields records have.
    pub(crate) fn forget_seen(&mut self) {
        each_object(&mut self.fields, &mut |fields| fields.iter_mut().for_each(|field| field.seen = false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(mut one: Type, two: Type) -> Type {
        one.join(two);
        one
    }

    fn object(name: &str, kind: Type) -> Type {
        Type::Struct([(name.to_owned(), kind)].into_iter().collect())
    }

    #[test]
    fn types_widen_as_documented() {
        use Type::{Bool, Float, List, Timestamp, Unknown};
        let int = Type::Int { wide: false };
        let wide = Type::Int { wide: true };
        let list = || List(Box::default());
        let text = |kinds: &[Kinds]| Type::Text(kinds.iter().fold(Kinds::NONE, |all, one| all.with(*one)));
        let json = |kinds: &[Kinds]| Type::Json(kinds.iter().fold(Kinds::NONE, |all, one| all.with(*one)));
        let string = || text(&[Kinds::TEXT]);
        for (one, two, both) in [
            (Unknown, Bool, Bool),
            (int.clone(), Float, Float),
            (wide.clone(), Float, text(&[Kinds::INTEGER, Kinds::NUMBER])),
            (wide.clone(), int.clone(), wide),
            (Bool, int.clone(), text(&[Kinds::BOOLEAN, Kinds::INTEGER])),
            (string(), Float, text(&[Kinds::TEXT, Kinds::NUMBER])),
            (Timestamp, string(), string()),
            (Timestamp, Timestamp, Timestamp),
            (string(), list(), json(&[Kinds::TEXT, Kinds::ARRAY])),
            (object("a", Bool), list(), json(&[Kinds::OBJECT, Kinds::ARRAY])),
            (object("a", Bool), int.clone(), json(&[Kinds::OBJECT, Kinds::INTEGER])),
            (json(&[Kinds::ARRAY]), string(), json(&[Kinds::ARRAY, Kinds::TEXT])),
            (List(Box::new(int.into())), List(Box::new(Float.into())), List(Box::new(Float.into()))),
        ] {
            assert_eq!(joined(one.clone(), two.clone()), both);
            assert_eq!(joined(two, one), both);
        }
        let Type::Struct(fields) = joined(object("a", Bool), object("b", string())) else {
            unreachable!("two objects make an object");
        };
        assert_eq!(fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_object_with_too_many_fields_is_a_map() {
        let fields = |from: usize| Type::Struct((from..from + 600).map(|id| (id.to_string(), Type::Bool)).collect());
        assert_eq!(joined(fields(0), fields(600)), Type::Json(Kinds::OBJECT));
    }
}
