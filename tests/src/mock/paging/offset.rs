//! Offset and limit.

use super::{Ask, Paging, slice};
use crate::mock::{
    answer::{Answer, Envelope},
    dataset::Dataset,
};

/// `?offset=200&limit=100`, answered by `{"items": […], "total": …}` or a bare array.
#[derive(Clone, Debug)]
pub struct Offset {
    /// Name of the parameter that counts the records to leave out.
    pub offset: &'static str,
    /// Name of the parameter with the page size.
    pub limit: &'static str,
    /// The body is the array itself; a total can then stand in a header only.
    pub bare: bool,
    /// Past the end the last page comes again, instead of an empty one.
    pub clamp: bool,
    /// The API refuses to go beyond this offset: it answers as if nothing were there.
    pub cap: Option<usize>,
}

impl Default for Offset {
    fn default() -> Self {
        Self { offset: "offset", limit: "limit", bare: false, clamp: false, cap: None }
    }
}

impl From<Offset> for Paging {
    fn from(paging: Offset) -> Self {
        Self::Offset(paging)
    }
}

impl Offset {
    pub(super) fn answer(&self, ask: &Ask<'_>, data: &Dataset) -> Answer {
        let rows = data.listed();
        let size = ask.size(self.limit);
        let mut from = ask.number(self.offset).unwrap_or(0);
        if self.clamp && from >= rows.len() {
            from = rows.len().saturating_sub(size);
        }
        let hidden = self.cap.is_some_and(|cap| from >= cap);
        let ids = if hidden { Vec::new() } else { slice(rows, from, ask.kept(size)) };
        let (mut fields, mut headers) = (Vec::new(), Vec::new());
        ask.count(rows.len(), size, &mut fields, &mut headers);
        let envelope = if self.bare { Envelope::Bare } else { Envelope::Object(fields) };
        Answer { ids, envelope, headers }
    }
}
