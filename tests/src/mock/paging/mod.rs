//! The paginations, one file each.

pub mod cursor;
pub mod keyset;
pub mod link;
pub mod offset;
pub mod page;

use serde_json::Value;

use super::{answer::Answer, dataset::Dataset};

/// Where an answer says how much there is in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Total {
    /// Nowhere.
    #[default]
    None,
    /// `total` in the body.
    Body,
    /// The header `x-total-count`.
    Header,
    /// `total_pages` in the body.
    Pages,
}

/// How an endpoint hands out its rows.
#[derive(Clone, Debug)]
pub enum Paging {
    /// Offset and limit.
    Offset(offset::Offset),
    /// Page numbers.
    Page(page::Page),
    /// Opaque tokens.
    Cursor(cursor::Cursor),
    /// By the last key.
    Keyset(keyset::Keyset),
    /// The Link header.
    Link(link::Link),
}

/// What a request asks for, as far as paginations care.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Scheme, host and port of the server.
    pub base: &'a str,
    /// The path of the endpoint, encoded.
    pub path: &'a str,
    /// Parameters of the query, then of a JSON body.
    pub parameters: &'a [(String, String)],
    /// The query alone, for links that carry it on.
    pub query: &'a [(String, String)],
    /// Number of the request within the server, for tokens that are never the same.
    pub number: u64,
    /// Page size where the request names none.
    pub page_size: usize,
    /// Largest page; a larger wish is cut down in silence, as real servers do.
    pub max_page_size: usize,
    /// Where the total stands.
    pub total: Total,
    /// What a fault does to the choice of rows.
    pub twist: Twist,
}

/// What a fault does to one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Twist {
    /// At most so many records.
    pub keep: Option<usize>,
    /// Added to the true total.
    pub total_delta: i64,
}

impl Ask<'_> {
    /// The first value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number; what can't be read as one counts as missing.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<usize> {
        self.parameter(name)?.parse().ok()
    }

    /// The page size that this request gets.
    #[must_use]
    pub fn size(&self, name: &str) -> usize {
        self.number(name).unwrap_or(self.page_size).clamp(1, self.max_page_size.max(1))
    }

    /// How many of `size` records a fault leaves.
    #[must_use]
    fn kept(&self, size: usize) -> usize {
        self.twist.keep.map_or(size, |keep| keep.min(size))
    }

    /// Adds the total to body fields and headers.
    fn count(&self, rows: usize, size: usize, fields: &mut Vec<(&'static str, Value)>, headers: &mut Headers) {
        let total = i64::try_from(rows).unwrap_or(i64::MAX).saturating_add(self.twist.total_delta).max(0);
        match self.total {
            Total::None => {}
            Total::Body => fields.push(("total", total.into())),
            Total::Header => headers.push(("x-total-count", total.to_string())),
            Total::Pages => {
                let size = i64::try_from(size).unwrap_or(1).max(1);
                fields.push(("total_pages", ((total + size - 1) / size).into()));
            }
        }
    }

    /// The URL of this endpoint with the request's query, some parameters replaced.
    #[must_use]
    fn url(&self, absolute: bool, replace: &[(&str, String)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.query.iter().filter(|(name, _)| replace.iter().all(|(other, _)| other != name)) {
            query.append_pair(name, value);
        }
        for (name, value) in replace {
            query.append_pair(name, value);
        }
        format!("{}{}?{}", if absolute { self.base } else { "" }, self.path, query.finish())
    }
}

type Headers = Vec<(&'static str, String)>;

impl Paging {
    /// The page that a request gets.
    #[must_use]
    pub fn answer(&self, ask: &Ask<'_>, data: &Dataset) -> Answer {
        match self {
            Self::Offset(paging) => paging.answer(ask, data),
            Self::Page(paging) => paging.answer(ask, data),
            Self::Cursor(paging) => paging.answer(ask, data),
            Self::Keyset(paging) => paging.answer(ask, data),
            Self::Link(paging) => paging.answer(ask, data),
        }
    }
}

/// A part of the rows, also where the numbers lie outside.
fn slice(rows: &[u32], from: usize, count: usize) -> Vec<u32> {
    rows.iter().skip(from).take(count).copied().collect()
}

/// A reader that goes round in circles: the page at `at` says that the page `length` before its
/// successor comes next. Length 1 is the same page again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The page, from 0, from which the way leads back.
    pub at: usize,
    /// How many pages the circle has.
    pub length: usize,
}

impl Cycle {
    /// Position of the next page, where `next` is the honest answer, none at the end.
    fn lead(cycle: Option<Self>, position: usize, size: usize, next: Option<usize>) -> Option<usize> {
        match cycle {
            Some(cycle) if position / size.max(1) == cycle.at => {
                Some((cycle.at + 1).saturating_sub(cycle.length) * size)
            }
            _ => next,
        }
    }
}
