//! Page numbers.

use super::{Ask, Paging, slice};
use crate::mock::{
    answer::{Answer, Envelope},
    dataset::Dataset,
};

/// `?page=3&per_page=100`. A page that a fault makes short hides the rest of its records for good,
/// as an API does that filters what the caller may not see after it has counted.
#[derive(Clone, Debug)]
pub struct Page {
    /// Name of the parameter with the page number.
    pub page: &'static str,
    /// Name of the parameter with the page size.
    pub size: &'static str,
    /// Number of the first page, 0 or 1.
    pub first: usize,
    /// The body is the array itself.
    pub bare: bool,
    /// Past the end the last page comes again, instead of an empty one.
    pub clamp: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { page: "page", size: "per_page", first: 1, bare: false, clamp: false }
    }
}

impl From<Page> for Paging {
    fn from(paging: Page) -> Self {
        Self::Page(paging)
    }
}

impl Page {
    pub(super) fn answer(&self, ask: &Ask<'_>, data: &Dataset) -> Answer {
        let rows = data.listed();
        let size = ask.size(self.size);
        let mut index = ask.number(self.page).unwrap_or(self.first).saturating_sub(self.first);
        if self.clamp {
            index = index.min(rows.len().saturating_sub(1) / size);
        }
        let ids = slice(rows, index.saturating_mul(size), ask.kept(size));
        let (mut fields, mut headers) = (Vec::new(), Vec::new());
        ask.count(rows.len(), size, &mut fields, &mut headers);
        let envelope = if self.bare { Envelope::Bare } else { Envelope::Object(fields) };
        Answer { ids, envelope, headers }
    }
}
