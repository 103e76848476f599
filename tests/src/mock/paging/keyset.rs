//! By the last key: the reader names the sort value, and perhaps the id, of the last record it has.

use super::{Ask, Paging};
use crate::mock::{
    answer::{Answer, Envelope},
    dataset::Dataset,
    time,
};

/// What the server compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// Records after the pair of sort value and id: nothing is lost.
    #[default]
    Pair,
    /// Records with the sort value or a later one: the border comes again, and a page full of ties
    /// never ends.
    AtLeast,
    /// Records with a later sort value: ties across a page border are lost by the API itself.
    Later,
}

/// `?after=2024-01-01T00:00:00Z&after_id=17&limit=100`, sorted by `updated_at`, then `id`.
#[derive(Clone, Debug)]
pub struct Keyset {
    /// Name of the parameter with the sort value.
    pub after: &'static str,
    /// Name of the parameter with the tie-breaker.
    pub after_id: &'static str,
    /// Name of the parameter with the page size.
    pub limit: &'static str,
    /// What is compared.
    pub compare: Compare,
    /// The body is the array itself.
    pub bare: bool,
    /// The key is the id alone, in `after_id`; there are no ties.
    pub by_id: bool,
}

impl Default for Keyset {
    fn default() -> Self {
        Self {
            after: "after",
            after_id: "after_id",
            limit: "limit",
            compare: Compare::default(),
            bare: false,
            by_id: false,
        }
    }
}

impl From<Keyset> for Paging {
    fn from(paging: Keyset) -> Self {
        Self::Keyset(paging)
    }
}

impl Keyset {
    pub(super) fn answer(&self, ask: &Ask<'_>, data: &Dataset) -> Answer {
        let size = ask.size(self.limit);
        let after_id = ask.number(self.after_id).map(|id| u32::try_from(id).unwrap_or(u32::MAX));
        let mut by_id = Vec::new();
        let (rows, from) = if self.by_id {
            by_id.extend_from_slice(data.listed());
            by_id.sort_unstable();
            let from = after_id.map_or(0, |last| by_id.partition_point(|id| *id <= last));
            (by_id.as_slice(), from)
        } else {
            let rows = data.sorted();
            let from = ask.parameter(self.after).and_then(time::parse).map_or(0, |after| {
                rows.partition_point(|id| {
                    let at = data.row(*id).updated_at;
                    match self.compare {
                        Compare::Pair => (at, *id) <= (after, after_id.unwrap_or(u32::MAX)),
                        Compare::AtLeast => at < after,
                        Compare::Later => at <= after,
                    }
                })
            });
            (rows, from)
        };
        let ids = super::slice(rows, from, ask.kept(size));
        let (mut fields, mut headers) = (Vec::new(), Vec::new());
        ask.count(rows.len(), size, &mut fields, &mut headers);
        let envelope = if self.bare { Envelope::Bare } else { Envelope::Object(fields) };
        Answer { ids, envelope, headers }
    }
}
