//! The fields of an object: their types, and the columns in which their values are.
//!
//! A column that has been written keeps its type, so that files of different times can be read together. A value that does
//! not fit it goes to a column beside it, with null in its own:
//!
//! | column | holds |
//! | --- | --- |
//! | `price__number` | fractions, where `price` has whole numbers |
//! | `price__text` | other scalars: strings as they are, the rest as written |
//! | `price__json` | objects and arrays, or whatever else comes where `price` has one of these: JSON text |
//!
//! A name that is taken (also by one that differs in case alone, for readers do not tell those apart) gets `_2`, `_3` and
//! so on behind it: that of a column beside another, or that of a field that comes later under such a column's name.

use std::collections::HashMap;

use super::{Kinds, Type};

/// The form of a column beside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `f64` beside whole numbers.
    Number,
    /// Text beside a column of other scalars.
    Text,
    /// JSON text.
    Json,
}

impl Form {
    /// All of them, in the order of their places.
    pub const ALL: [Self; 3] = [Self::Number, Self::Text, Self::Json];

    /// Returns the form's name, as it ends the column's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    fn kind(self) -> Type {
        match self {
            Self::Number => Type::Float,
            Self::Text => Type::Text(Kinds::NONE),
            Self::Json => Type::Json(Kinds::NONE),
        }
    }
}

/// Places of the columns beside a field's own, by [`Form`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside([Option<u32>; 3]);

impl Beside {
    /// Returns the place of the column of a form.
    #[must_use]
    pub fn get(self, form: Form) -> Option<usize> {
        self.0.get(form as usize).copied().flatten().and_then(|place| usize::try_from(place).ok())
    }

    /// Returns the places.
    pub fn places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().flatten().filter_map(|place| usize::try_from(place).ok())
    }

    fn set(&mut self, form: Form, place: Option<usize>) {
        if let Some(slot) = self.0.get_mut(form as usize) {
            *slot = place.and_then(|place| u32::try_from(place).ok());
        }
    }
}

/// A named type.
#[derive(Debug, Clone, Default)]
pub struct Field {
    /// The name, as in the records; of a column beside another, the column's.
    pub name: String,
    /// The type.
    pub kind: Type,
    /// Name of its column, where it is not the field's own.
    pub(super) column: Option<String>,
    /// Of which field, and in which form, this column holds what does not fit.
    pub(super) of: Option<(usize, Form)>,
    /// Columns beside this one.
    pub(super) beside: Beside,
    /// Whether the column is in a file, so that its type is settled.
    pub(super) written: bool,
    /// Whether a record had the field.
    pub(crate) seen: bool,
    /// Whether a record lacked it, or had null.
    pub(crate) nullable: bool,
    /// Whether a complete reading had none of it, after others had.
    pub(super) gone: bool,
    /// Values counted since the schema was made or read; see [`Fields::objects`].
    pub(crate) values: u64,
}

/// What was counted is no part of what is known.
impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        let flags = |field: &Self| (field.written, field.seen, field.nullable, field.gone);
        self.name == other.name
            && self.kind == other.kind
            && self.column == other.column
            && self.of == other.of
            && self.beside == other.beside
            && flags(self) == flags(other)
    }
}

impl Field {
    /// Returns the name of its column in files.
    #[must_use]
    pub fn column(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }

    /// Returns whether it is a field of the records, and not a column beside one.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.of.is_none()
    }

    /// Returns whether its column is in a file, so that its type is settled.
    pub(crate) fn is_written(&self) -> bool {
        self.written
    }

    /// Returns whether every record had it.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.seen && !self.nullable && !self.gone
    }

    /// Returns whether a record had it.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// Returns whether a complete reading had none of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Returns the columns beside its own.
    #[must_use]
    pub fn beside(&self) -> Beside {
        self.beside
    }
}

/// The fields of an object, in the order in which they were first seen.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    list: Vec<Field>,
    places: HashMap<String, usize>,
    /// Names of columns that are not those of their fields.
    other: Vec<String>,
    /// Whether no more names are taken in: an object with another one goes beside the column as a whole.
    closed: bool,
    /// Whether objects came before those that are counted, so that a new field is known to be missing in some.
    pub(super) old: bool,
    /// Objects counted since the schema was made or read. Where columns are built, they are counted there instead.
    pub(crate) objects: u64,
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list && self.closed == other.closed && self.old == other.old
    }
}

impl Fields {
    /// Returns the number of columns: fields, and columns beside them.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the number of names that the records have.
    pub fn names(&self) -> usize {
        self.places.len()
    }

    /// Returns whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the fields and the columns beside them, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Field> {
        self.list.iter_mut()
    }

    /// Returns a field by its name in the records.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.list.get(*self.places.get(name)?)
    }

    /// Returns a field, or a column beside one, by its place.
    pub fn at(&self, place: usize) -> Option<&Field> {
        self.list.get(place)
    }

    pub(crate) fn at_mut(&mut self, place: usize) -> Option<&mut Field> {
        self.list.get_mut(place)
    }

    /// Returns the type of a field.
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.field(name).map(|field| &field.kind)
    }

    /// Returns the type of a field, which is made as [`Type::Unknown`] at the end if it is new.
    pub fn entry(&mut self, name: &str) -> &mut Type {
        let place = self.ensure(name);
        &mut self.list[place].kind
    }

    /// Returns the place of a field, which is made if it is new.
    pub(crate) fn ensure(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let taken = self.other.iter().any(|other| other.eq_ignore_ascii_case(name));
        let column = taken.then(|| self.free(name));
        self.other.extend(column.clone());
        let place = self.list.len();
        self.places.insert(name.to_owned(), place);
        self.list.push(Field { name: name.to_owned(), column, nullable: self.old, ..Field::default() });
        place
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Returns the column of a form beside a field's own, which is made if it is new.
    pub(crate) fn beside(&mut self, of: usize, form: Form) -> Option<&mut Field> {
        let field = self.list.get(of)?;
        let place = match field.beside.get(form) {
            Some(place) => place,
            None => {
                let name = format!("{}__{}", field.column(), form.name());
                let name = if self.is_taken(&name) { self.free(&name) } else { name };
                self.other.push(name.clone());
                let place = self.list.len();
                let beside = Field { name, kind: form.kind(), of: Some((of, form)), ..Field::default() };
                self.list.push(beside);
                self.list.get_mut(of)?.beside.set(form, Some(place));
                place
            }
        };
        self.list.get_mut(place)
    }

    fn is_taken(&self, name: &str) -> bool {
        let same = |other: &String| other.eq_ignore_ascii_case(name);
        self.other.iter().any(same) || self.places.keys().any(same)
    }

    /// A name that is not taken.
    fn free(&self, name: &str) -> String {
        (2..).map(|number: u32| format!("{name}_{number}")).find(|name| !self.is_taken(name)).unwrap_or_default()
    }

    /// Whether no more names are taken in.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes no more names in, and forgets those from a place on.
    pub(crate) fn close(&mut self, len: usize) {
        self.closed = true;
        for field in self.list.drain(len.min(self.list.len())..) {
            self.other.retain(|other| other != field.column());
            if field.of.is_none() {
                self.places.remove(&field.name);
            }
        }
        for field in &mut self.list {
            for form in Form::ALL {
                if field.beside.get(form).is_some_and(|place| place >= len) {
                    field.beside.set(form, None);
                }
            }
        }
    }

    /// Returns whether a record is known to have lacked a field, or to have had null.
    pub(crate) fn is_nullable(&self, field: &Field) -> bool {
        field.nullable || field.values < self.objects
    }

    /// All kinds of values that a field has held, in whichever column.
    pub fn kinds(&self, field: &Field) -> Kinds {
        let beside = field.beside.places().filter_map(|place| self.list.get(place));
        beside.fold(field.kind.kinds(), |kinds, beside| kinds.with(beside.kind.kinds()))
    }

    pub(super) fn new(closed: bool, old: bool) -> Self {
        Self { closed, old, ..Self::default() }
    }

    pub(super) fn push(&mut self, field: Field) {
        let place = self.list.len();
        match field.of {
            Some((of, form)) => {
                self.other.push(field.name.clone());
                if let Some(own) = self.list.get_mut(of) {
                    own.beside.set(form, Some(place));
                }
            }
            None => {
                self.other.extend(field.column.clone());
                self.places.insert(field.name.clone(), place);
            }
        }
        self.list.push(field);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fields: &Fields) -> Vec<&str> {
        fields.iter().map(Field::column).collect()
    }

    #[test]
    fn a_column_beside_another_takes_no_name_of_a_field() {
        let mut fields = Fields::default();
        let place = fields.ensure("a");
        fields.ensure("A__TEXT");
        fields.beside(place, Form::Text);
        fields.beside(place, Form::Text);
        fields.beside(place, Form::Json);
        assert_eq!(names(&fields), ["a", "A__TEXT", "a__text_2", "a__json"]);
        // A field that comes later under that name keeps its name in the records, and has another column.
        let place = fields.ensure("a__json");
        assert_eq!(fields.ensure("a__json"), place);
        fields.beside(place, Form::Text);
        assert_eq!(names(&fields), ["a", "A__TEXT", "a__text_2", "a__json", "a__json_2", "a__json_2__text"]);
        assert_eq!(fields.names(), 3);
    }

    #[test]
    fn closing_forgets_what_came_too_much() {
        let mut fields = Fields::default();
        fields.ensure("a");
        fields.beside(0, Form::Json);
        fields.ensure("b");
        fields.beside(0, Form::Text);
        fields.close(2);
        assert_eq!(names(&fields), ["a", "a__json"]);
        assert!(!fields.knows("b"));
        let beside: Vec<usize> = fields.at(0).map(|field| field.beside().places().collect()).unwrap_or_default();
        assert_eq!(beside, [1]);
        fields.beside(0, Form::Text);
        assert_eq!(names(&fields), ["a", "a__json", "a__text"]);
    }
}
