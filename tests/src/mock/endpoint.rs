//! One listing of the mock API.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use super::{
    dataset::{Change, Dataset},
    fault::Action,
    paging::{Ask, Paging, Total},
    records::Shape,
    request::Received,
};

/// A path, the rows behind it, and how they are handed out.
///
/// A path may have placeholders: `/groups/{group}/items` is a listing of its own for each group, and
/// each of its records carries the group as `parent`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(super) path: String,
    pub(super) paging: Paging,
    count: u32,
    ties: u32,
    pub(super) shape: Shape,
    page_size: usize,
    max_page_size: usize,
    total: Total,
    since: Option<&'static str>,
    changes: Vec<(u64, Change)>,
    pub(super) post: bool,
    pub(super) latency: Duration,
    prebuilt_bytes: usize,
}

impl Endpoint {
    /// A listing of 100 small records in pages of 100 at most.
    #[must_use]
    pub fn new(path: impl Into<String>, paging: impl Into<Paging>) -> Self {
        Self {
            path: path.into(),
            paging: paging.into(),
            count: 100,
            ties: 1,
            shape: Shape::default(),
            page_size: 100,
            max_page_size: 100,
            total: Total::default(),
            since: None,
            changes: Vec::new(),
            post: false,
            latency: Duration::ZERO,
            prebuilt_bytes: 0,
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn records(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// So many neighbours share one `updated_at`.
    #[must_use]
    pub fn ties(self, ties: u32) -> Self {
        Self { ties, ..self }
    }

    /// The records' size.
    #[must_use]
    pub fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// Page size without a wish, and the largest that a wish gets.
    #[must_use]
    pub fn page_size(self, default: usize, max: usize) -> Self {
        Self { page_size: default, max_page_size: max, ..self }
    }

    /// Where the total stands.
    #[must_use]
    pub fn total(self, total: Total) -> Self {
        Self { total, ..self }
    }

    /// A query parameter that leaves only records with this `updated_at` or a later one.
    #[must_use]
    pub fn since(self, parameter: &'static str) -> Self {
        Self { since: Some(parameter), ..self }
    }

    /// What happens to the rows once the listing has answered `after` requests.
    #[must_use]
    pub fn change(mut self, after: u64, change: Change) -> Self {
        self.changes.push((after, change));
        self
    }

    /// Requests are POST; GET is refused.
    #[must_use]
    pub fn post(self) -> Self {
        Self { post: true, ..self }
    }

    /// A pause before every answer.
    #[must_use]
    pub fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// Keeps built pages, up to so many bytes, so that the second reading measures the reader alone.
    #[must_use]
    pub fn prebuilt(self, bytes: usize) -> Self {
        Self { prebuilt_bytes: bytes, ..self }
    }
}

/// An endpoint while it runs.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) spec: Endpoint,
    /// By the concrete path, for a path with placeholders has many.
    rows: HashMap<String, Rows>,
}

#[derive(Debug)]
struct Rows {
    data: Dataset,
    answered: u64,
    built: HashMap<String, Page>,
    built_bytes: usize,
}

/// A page, built.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Listing {
    pub(super) fn new(spec: Endpoint) -> Self {
        Self { spec, rows: HashMap::new() }
    }

    /// What stands in the placeholders, joined by slashes; none where the path is another.
    pub(super) fn matches(&self, path: &str) -> Option<Option<String>> {
        let (mut wanted, mut given) = (self.spec.path.split('/'), path.split('/'));
        let mut values = Vec::new();
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some((!values.is_empty()).then(|| values.join("/"))),
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                    // Placeholders are compared encoded and shown decoded.
                    values.extend(
                        url::form_urlencoded::parse(given.replace('+', "%2B").as_bytes())
                            .map(|(name, _)| name.into_owned()),
                    );
                }
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return None,
            }
        }
    }

    /// The rows behind a concrete path.
    pub(super) fn data(&mut self, path: &str) -> &mut Dataset {
        &mut self.open(path).data
    }

    fn open(&mut self, path: &str) -> &mut Rows {
        let spec = &self.spec;
        self.rows.entry(path.to_owned()).or_insert_with(|| Rows {
            data: Dataset::generate(spec.count, spec.ties),
            answered: 0,
            built: HashMap::new(),
            built_bytes: 0,
        })
    }

    /// Applies a change, and forgets pages built before it.
    pub(super) fn change(&mut self, path: &str, change: &Change) {
        let rows = self.open(path);
        rows.data.apply(change);
        rows.built.clear();
        rows.built_bytes = 0;
    }

    /// The page that a request gets; counts it, and lets happen what was planned for after it.
    pub(super) fn page(&mut self, base: &str, request: &Received, parent: Option<&str>, actions: &[Action]) -> Page {
        let path = request.path.clone();
        let twist = super::fault::twist(actions);
        let plain = twist == Default::default() && request.body.is_empty();
        let target = request.target();
        let spec = self.spec.clone();
        let rows = self.open(&path);
        rows.answered += 1;
        let answered = rows.answered;
        let page = match rows.built.get(&target).filter(|_| plain) {
            Some(page) => page.clone(),
            None => {
                let parameters = request.parameters();
                let ask = Ask {
                    base,
                    path: &path,
                    parameters: &parameters,
                    query: &request.query,
                    number: request.number,
                    page_size: spec.page_size,
                    max_page_size: spec.max_page_size,
                    total: spec.total,
                    twist,
                };
                let since = spec.since.and_then(|name| ask.parameter(name)).and_then(super::time::parse);
                let filtered = since.map(|since| rows.data.changed_since(since));
                let data = filtered.as_ref().unwrap_or(&rows.data);
                let answer = spec.paging.answer(&ask, data);
                let body = Bytes::from(answer.body(data, spec.shape, parent));
                let page = Page { headers: answer.headers, body };
                if plain && rows.built_bytes + page.body.len() <= spec.prebuilt_bytes {
                    rows.built_bytes += page.body.len();
                    rows.built.insert(target, page.clone());
                }
                page
            }
        };
        let due: Vec<Change> =
            spec.changes.iter().filter(|(after, _)| *after == answered).map(|(_, change)| change.clone()).collect();
        for change in &due {
            self.change(&path, change);
        }
        page
    }
}
