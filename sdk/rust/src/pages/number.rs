//! Page numbers.

use serde::{Deserialize, Serialize};

use super::{PageError, Paginator, Place, Received, Source, Step, restore, save};
use crate::{Request, Seam};

/// Reads by page number: `?page=3`.
///
/// The end is the first empty page, as with [`Offset`](super::Offset). Where the number of pages, or
/// of records and the size of a page, is known, the following pages are requested ahead.
///
/// A deletion while the list is read pulls a record across each page border behind it, and nothing shows
/// it. So a read of several pages is `unproven`, unless the list [never shifts](super::Pages::never_shifts).
///
/// ```
/// use connector_sdk::{Request, pages::{PageNumber, Paginator}};
///
/// let posts = PageNumber::new("page").size("per_page", 100).total_pages("X-WP-TotalPages").end_status(400);
/// let request = posts.request(&Request::get("https://blog.example.com/posts"))?;
/// assert_eq!(request.full_url(), "https://blog.example.com/posts?page=1&per_page=100");
/// # Ok::<(), connector_sdk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PageNumber {
    number: Place,
    size: Option<(Place, u64)>,
    first: u64,
    total_pages: Option<Source>,
    trust_total: bool,
    end_statuses: Vec<u16>,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    page: u64,
    largest: u64,
    pages: Option<u64>,
    /// Records of the last page.
    last: u64,
}

impl PageNumber {
    /// Names the parameter of the number (a query parameter, or a pointer into the body: see [`Place`]). The
    /// first page is 1.
    pub fn new(number: impl Into<Place>) -> Self {
        Self {
            number: number.into(),
            size: None,
            first: 1,
            total_pages: None,
            trust_total: false,
            end_statuses: Vec::new(),
            state: State { page: 1, largest: 0, pages: None, last: 0 },
        }
    }

    /// Asks for pages of a size. The largest that the API allows is the fastest.
    #[must_use]
    pub fn size(mut self, name: impl Into<Place>, size: u64) -> Self {
        self.size = Some((name.into(), size.max(1)));
        self
    }

    /// Counts from another number than 1, mostly 0.
    #[must_use]
    pub fn first(mut self, page: u64) -> Self {
        self.first = page;
        self.state.page = page;
        self
    }

    /// Says where the API gives the number of pages: a pointer into the body, or a header's name.
    #[must_use]
    pub fn total_pages(mut self, source: impl Into<Source>) -> Self {
        self.total_pages = Some(source.into());
        self
    }

    /// Ends with the last page by the API's own count, without looking for an empty one. Where only
    /// the number of records is known, pages must be as large as asked for.
    #[must_use]
    pub fn trust_total(mut self) -> Self {
        self.trust_total = true;
        self
    }

    /// Takes a status as the end, for an API that answers 404 beyond its last page.
    #[must_use]
    pub fn end_status(mut self, status: u16) -> Self {
        self.end_statuses.push(status);
        self
    }

    fn at(&self, base: &Request, page: u64) -> Result<Request, PageError> {
        let request = self.number.put(base.clone(), page.into())?;
        match &self.size {
            Some((place, size)) => place.put(request, (*size).into()),
            None => Ok(request),
        }
    }

    /// The number of the first page behind the last, where it is known.
    fn end(&self) -> Option<u64> {
        self.state.pages.map(|pages| self.first.saturating_add(pages))
    }
}

impl Paginator for PageNumber {
    /// Behind a page that was not filled there was nothing that could have moved up.
    fn seam(&self, count: u64) -> Seam {
        let short = self.size.as_ref().is_some_and(|(_, size)| self.state.last < *size);
        if count == 0 && short { Seam::Anchored } else { Seam::Counted }
    }

    fn request(&self, base: &Request) -> Result<Request, PageError> {
        self.at(base, self.state.page)
    }

    fn ahead(&self, base: &Request, distance: u64) -> Option<Request> {
        let page = self.state.page.checked_add(distance)?;
        let last = if self.trust_total { page } else { page.saturating_sub(1) };
        if last >= self.end()? {
            return None;
        }
        self.at(base, page).ok()
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        self.state.largest = self.state.largest.max(page.count);
        self.state.last = page.count;
        self.state.pages = match &self.total_pages {
            Some(source) => source.number(page.response)?,
            // By the largest page that came: the server may give less than it is asked for.
            None => page.total.filter(|_| self.state.largest > 0).map(|total| total.div_ceil(self.state.largest)),
        };
        if page.count == 0 {
            return Ok(Step::END);
        }
        self.state.page = self.state.page.saturating_add(1);
        let reached = self.end().is_some_and(|end| self.state.page >= end);
        Ok(if self.trust_total && reached { Step::END } else { Step::NEXT })
    }

    fn save(&self) -> String {
        save(&self.state)
    }

    fn restore(&mut self, saved: &str) -> Result<(), PageError> {
        self.state = restore(saved)?;
        Ok(())
    }

    fn end_statuses(&self) -> &[u16] {
        &self.end_statuses
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sim::{Api, Sim, number, reply, slice, things};
    use super::*;
    use crate::testing::Reply;

    fn answer(all: &[Value], first: usize) -> impl Fn(&Request) -> Reply + Copy + '_ {
        move |request| {
            let page = number(request, "page").unwrap() - first;
            let rest = json!({ "total": all.len(), "pages": all.len().div_ceil(10) });
            reply(slice(all, page * 10, 10), rest).with_header("X-Pages", &all.len().div_ceil(10).to_string())
        }
    }

    #[test]
    fn it_counts_from_one_or_from_zero_to_the_first_empty_page() {
        for count in [0, 1, 10, 37, 87] {
            let all = things(0..count);
            Sim::new(PageNumber::new("page")).is_exact(answer(&all, 1), &all);
            Sim::new(PageNumber::new("page").first(0)).is_exact(answer(&all, 0), &all);
        }
    }

    #[test]
    fn a_known_number_of_pages_or_records_is_fetched_ahead_and_emitted_in_order() {
        let all = things(0..95);
        let by_header = Sim::new(PageNumber::new("page").total_pages("X-Pages"));
        let by_body = Sim::new(PageNumber::new("page").size("per_page", 10).total_pages("/pages"));
        let by_records = Sim::new(PageNumber::new("page")).total("/total");
        for sim in [by_header, by_body, by_records] {
            sim.is_exact(answer(&all, 1), &all);
            let mut walk = sim.walk();
            let request = walk.request().unwrap().unwrap();
            walk.take(&request, &answer(&all, 1)(&request)).unwrap();
            let pages: Vec<_> = (1..).map_while(|d| walk.ahead(d)).map(|r| number(&r, "page").unwrap()).collect();
            assert_eq!(pages, (3..=11).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_trusted_count_saves_the_empty_page() {
        let all = things(0..40);
        let sim = Sim::new(PageNumber::new("page").total_pages("/pages").trust_total());
        sim.is_exact(answer(&all, 1), &all);
        let mut api = Api::new(answer(&all, 1));
        sim.read(&mut api, None).unwrap();
        assert_eq!((api.requests.len(), api.dropped), (4, 0));
    }

    #[test]
    fn a_short_page_in_the_middle_is_not_the_end() {
        let all: Vec<Value> =
            things(0..50).into_iter().filter(|r| !(12..17).contains(&r["id"].as_u64().unwrap())).collect();
        let gaps = |request: &Request| {
            let page = number(request, "page").unwrap() as u64 - 1;
            let on_page = all.iter().filter(|r| r["id"].as_u64().unwrap() / 10 == page);
            reply(on_page.cloned().collect(), json!({}))
        };
        Sim::new(PageNumber::new("page")).is_exact(gaps, &all);
    }

    #[test]
    fn a_status_beyond_the_last_page_can_stand_for_the_end() {
        let all = things(0..30);
        let strict = |request: &Request| match number(request, "page").unwrap() {
            page @ 1..=3 => reply(slice(&all, page * 10 - 10, 10), json!({})),
            _ => Reply::json("{}").with_status(400),
        };
        Sim::new(PageNumber::new("page").end_status(400)).is_exact(strict, &all);
    }

    #[test]
    fn a_last_page_that_is_given_for_every_later_number_is_an_error() {
        let all = things(0..25);
        let sticky =
            |request: &Request| reply(slice(&all, number(request, "page").unwrap().min(3) * 10 - 10, 10), json!({}));
        let (error, records) = Sim::new(PageNumber::new("page")).fails(sticky);
        assert!(error.ends_with("GET https://api.example.com/v1/things?page=4"), "{error}");
        assert_eq!(records, all);

        // Interrupted after every page, the read still knows what it has seen.
        let (sim, mut records) = (Sim::new(PageNumber::new("page")), 0);
        let mut walk = sim.walk();
        let error = loop {
            let request = walk.request().unwrap().unwrap();
            match walk.take(&request, &sticky(&request)) {
                Ok(taken) => records += taken.count,
                Err(error) => break error,
            }
            let checkpoint = walk.checkpoint().unwrap();
            walk = sim.walk();
            walk.resume(&checkpoint).unwrap();
        };
        assert!(matches!(error, PageError::Repeated { what: "page", .. }));
        assert_eq!(records, 25);
    }
}
