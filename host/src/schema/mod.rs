//! What is known of a stream's records: the type of each field, how types widen, and how they are written down.
//!
//! Types form a lattice: [`Type::join`] gives the narrowest type that holds the values of both, so a schema only ever
//! widens, in whatever order the pages come.
//!
//! - whole numbers beyond 64 bits, and fractions that no `f64` stands for, make the column text of their digits;
//! - whole numbers and fractions together are `f64` as long as every whole number is exact there, else text;
//! - scalars of different kinds together are text: strings as they are, the others as written;
//! - a scalar and an object, a scalar and an array, an object and an array together are JSON text.

mod arrow;
mod declared;
mod description;
mod diff;

use std::collections::HashMap;

pub use self::declared::DeclaredError;
pub use self::description::DescriptionError;
pub use self::diff::{Change, diff};

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
    /// Text.
    Text,
    /// An instant in microseconds, UTC. Only where a schema declares it.
    Timestamp,
    /// The JSON text of values of any kind.
    Json,
    /// An object.
    Struct(Fields),
    /// An array, and the type of its items.
    List(Box<Type>),
}

/// A named type.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The name, as in the records.
    pub name: String,
    /// The type.
    pub kind: Type,
}

/// The fields of an object, in the order in which they were first seen.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    list: Vec<Field>,
    places: HashMap<String, usize>,
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
        let joined = match (std::mem::take(self), other) {
            (Unknown, kind) | (kind, Unknown) => kind,
            (Int { wide: one }, Int { wide: two }) => Int { wide: one || two },
            (Int { wide: false }, Float) | (Float, Int { wide: false }) => Float,
            (Bool, Bool) => Bool,
            (Float, Float) => Float,
            (Timestamp, Timestamp) => Timestamp,
            (Struct(mut one), Struct(two)) => {
                for Field { name, kind } in two.list {
                    one.entry(&name).join(kind);
                }
                if one.len() > MAX_NESTED_FIELDS { Json } else { Struct(one) }
            }
            (List(mut one), List(two)) => {
                one.join(*two);
                List(one)
            }
            (Json | Struct(_) | List(_), _) | (_, Json | Struct(_) | List(_)) => Json,
            (_, _) => Text,
        };
        *self = joined;
    }
}

impl Fields {
    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the fields in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.list.iter()
    }

    /// Returns the type of a field.
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.list.get(*self.places.get(name)?).map(|field| &field.kind)
    }

    /// Returns the type of a field, which is made as [`Type::Unknown`] at the end if it is new.
    pub fn entry(&mut self, name: &str) -> &mut Type {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push(Field { name: name.to_owned(), kind: Type::Unknown });
                self.list.len() - 1
            }
        };
        &mut self.list[place].kind
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl FromIterator<(String, Type)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Type)>>(fields: I) -> Self {
        let mut all = Self::default();
        for (name, kind) in fields {
            all.entry(&name).join(kind);
        }
        all
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = &'a Field;
    type IntoIter = std::slice::Iter<'a, Field>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Schema {
    /// Widens this schema so that it also holds the records of another.
    pub fn join(&mut self, other: Schema) {
        for Field { name, kind } in other.fields.list {
            self.fields.entry(&name).join(kind);
        }
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
        use Type::{Bool, Float, Json, List, Text, Timestamp, Unknown};
        let int = Type::Int { wide: false };
        let wide = Type::Int { wide: true };
        let list = || List(Box::new(Unknown));
        for (one, two, both) in [
            (Unknown, Bool, Bool),
            (int.clone(), Float, Float),
            (wide.clone(), Float, Text),
            (wide.clone(), int.clone(), wide),
            (Bool, int.clone(), Text),
            (Text, Float, Text),
            (Timestamp, Text, Text),
            (Timestamp, Timestamp, Timestamp),
            (Text, list(), Json),
            (object("a", Bool), list(), Json),
            (object("a", Bool), int.clone(), Json),
            (Json, Text, Json),
            (List(Box::new(int)), List(Box::new(Float)), List(Box::new(Float))),
        ] {
            assert_eq!(joined(one.clone(), two.clone()), both);
            assert_eq!(joined(two, one), both);
        }
        let Type::Struct(fields) = joined(object("a", Bool), object("b", Text)) else {
            unreachable!("two objects make an object");
        };
        assert_eq!(fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_object_with_too_many_fields_is_a_map() {
        let fields = |from: usize| Type::Struct((from..from + 600).map(|id| (id.to_string(), Type::Bool)).collect());
        assert_eq!(joined(fields(0), fields(600)), Type::Json);
    }
}
