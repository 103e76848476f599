//! The Link header of RFC 8288.

use super::{Ask, Cycle, Paging, cursor, slice};
use crate::mock::{
    answer::{Answer, Envelope},
    dataset::Dataset,
};

/// What the links carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// A page number from 1.
    #[default]
    Page,
    /// An opaque token that names the last row.
    Token,
}

/// `Link: <…?page=2>; rel="next", <…?page=9>; rel="last"` over a bare array.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// What the links carry.
    pub by: By,
    /// Targets without scheme and host.
    pub relative: bool,
    /// One header field a link, instead of one with commas.
    pub repeated: bool,
    /// Targets carry a parameter with commas, semicolons and an encoded `>`, and links a quoted
    /// `title` with all of them.
    pub tricky: bool,
    /// Two relations in one `rel`, unquoted where possible, names in mixed case, spaces around.
    pub odd: bool,
    /// The next link goes by another path, as GitHub's do: `/by-id` in front of the endpoint's own.
    pub moved: bool,
    /// Links that lead back.
    pub cycle: Option<Cycle>,
}

impl From<Link> for Paging {
    fn from(paging: Link) -> Self {
        Self::Link(paging)
    }
}

impl Link {
    pub(super) fn answer(&self, ask: &Ask<'_>, data: &Dataset) -> Answer {
        let rows = data.listed();
        let size = ask.size("per_page");
        let from = match self.by {
            By::Page => ask.number("page").unwrap_or(1).saturating_sub(1).saturating_mul(size),
            By::Token => ask.parameter("after").map_or(0, |token| cursor::position(token, rows)),
        };
        let ids = slice(rows, from, ask.kept(size));
        // By page number a short page hides the rest; by token the next page goes on where this ended.
        let end = if self.by == By::Page { from.saturating_add(size) } else { from + ids.len() };
        let next = Cycle::lead(self.cycle, from, size, (end < rows.len()).then_some(end));
        let (mut fields, mut headers) = (Vec::new(), Vec::new());
        ask.count(rows.len(), size, &mut fields, &mut headers);
        headers.extend(self.header(ask, rows, from, next, size, ids.is_empty()));
        Answer { ids, envelope: Envelope::Bare, headers }
    }

    fn header(
        &self,
        ask: &Ask<'_>,
        rows: &[u32],
        from: usize,
        next: Option<usize>,
        size: usize,
        empty: bool,
    ) -> Vec<(&'static str, String)> {
        let last = rows.len().saturating_sub(1) / size * size;
        let mut links = Vec::new();
        if from > 0 {
            links.push(self.link(ask, rows, from.saturating_sub(size), size, "prev", false));
            links.push(self.link(ask, rows, 0, size, "first", false));
        }
        if let Some(next) = next {
            let rel = if self.odd && next == last { "NEXT last" } else { "next" };
            links.push(self.link(ask, rows, next, size, rel, empty));
            links.push(self.link(ask, rows, last, size, "last", false));
        }
        match (links.is_empty(), self.repeated) {
            (true, _) => Vec::new(),
            (false, true) => links.into_iter().map(|link| ("link", link)).collect(),
            (false, false) => vec![("link", links.join(if self.odd { " ,\t" } else { ", " }))],
        }
    }

    fn link(&self, ask: &Ask<'_>, rows: &[u32], to: usize, size: usize, rel: &str, nonce: bool) -> String {
        let target = match self.by {
            By::Page => ("page", (to / size + 1).to_string()),
            By::Token => ("after", cursor::token(rows, to, nonce.then_some(ask.number))),
        };
        let path = if self.moved && !ask.path.starts_with("/by-id") {
            format!("/by-id{}", ask.path)
        } else {
            ask.path.to_owned()
        };
        let moved = Ask { path: &path, ..ask.clone() };
        let mut url = moved.url(!self.relative, &[target, ("per_page", size.to_string())]);
        if self.tricky && !url.contains("fields=") {
            // Commas and semicolons may stand in a URL as they are (RFC 3986, 3.4).
            url.push_str("&fields=id,name;rel=next,%3Eb");
        }
        let rel = if self.odd && !rel.contains(' ') { format!("Rel = {rel}") } else { format!("rel=\"{rel}\"") };
        let title = if self.tricky { "; title=\"a, <b>; rel=\\\"next\\\", c\"" } else { "" };
        format!("<{url}>{title}; {rel}")
    }
}
