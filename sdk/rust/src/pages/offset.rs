//! Offset and limit.

use serde::{Deserialize, Serialize};

use super::{PageError, Paginator, Place, Received, Step, restore, save};
use crate::{Request, Seam};

/// Reads by the number of records so far: `?offset=200&limit=100`.
///
/// Each page but the first begins with the last record of the page before. The host compares the two,
/// so that it sees when records were inserted or deleted meanwhile, and leaves the second out. That
/// costs one record a page; an API that takes only offsets that are multiples of the page size has
/// to be read [without](Offset::without_overlap).
///
/// The end is the first page without another record, with or without a total: a total may be wrong,
/// and a short page is what a server under load sends. The next offset goes by the records that came,
/// so that pages shorter than asked for lose nothing. With a known total the following pages are
/// requested ahead, the last look too, so that it costs a request but no time; say
/// [`trust_total`](Offset::trust_total) to save the request.
///
/// ```
/// use connector_sdk::{Request, pages::{Offset, Paginator}};
///
/// let users = Offset::new("offset", "limit", 100);
/// let request = users.request(&Request::get("https://api.example.com/users"))?;
/// assert_eq!(request.full_url(), "https://api.example.com/users?offset=0&limit=100");
/// # Ok::<(), connector_sdk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Offset {
    offset: Place,
    limit: Place,
    size: u64,
    first: u64,
    by_limit: bool,
    overlaps: bool,
    trust_total: bool,
    end_statuses: Vec<u16>,
    state: State,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    offset: u64,
    /// The largest page so far: what the server gives at most, whatever it is asked for.
    largest: u64,
    total: Option<u64>,
    /// Records of the last page.
    last: u64,
}

impl Offset {
    /// Names the two parameters (a query parameter, or a pointer into the body: see [`Place`]) and the size of a
    /// page. The largest that the API allows is the fastest.
    pub fn new(offset: impl Into<Place>, limit: impl Into<Place>, size: u64) -> Self {
        Self {
            offset: offset.into(),
            limit: limit.into(),
            size: size.max(1),
            first: 0,
            by_limit: false,
            overlaps: true,
            trust_total: false,
            end_statuses: Vec::new(),
            state: State::default(),
        }
    }

    /// Starts at an offset other than 0.
    #[must_use]
    pub fn first(mut self, offset: u64) -> Self {
        self.first = offset;
        self.state.offset = offset;
        self
    }

    /// Reads no record twice, for an API that takes only offsets that are multiples of the page size. A deletion meanwhile
    /// then pulls a record across a page border and nothing shows it, so that a read of several pages is `unproven`.
    #[must_use]
    pub fn without_overlap(mut self) -> Self {
        self.overlaps = false;
        self
    }

    /// Steps by the page size whatever came, for an API that takes a page of the list first and then
    /// leaves out what the caller may not see. With any other API this loses records. Such pages cannot overlap.
    #[must_use]
    pub fn step_by_limit(mut self) -> Self {
        self.by_limit = true;
        self
    }

    /// Ends as soon as the total is reached. A total that grows on the way is followed.
    #[must_use]
    pub fn trust_total(mut self) -> Self {
        self.trust_total = true;
        self
    }

    /// Takes a status as the end, for an API that answers 404 beyond its last record.
    #[must_use]
    pub fn end_status(mut self, status: u16) -> Self {
        self.end_statuses.push(status);
        self
    }

    fn at(&self, base: &Request, offset: u64) -> Result<Request, PageError> {
        let request = self.offset.put(base.clone(), offset.into())?;
        self.limit.put(request, self.size.into())
    }

    /// Records at the front of the next page that have been read before: one, where a page can hold that and another.
    fn overlap(&self) -> u64 {
        u64::from(self.overlaps && !self.by_limit && self.state.largest > 1 && self.size > 1)
    }

    fn end_by_total(&self) -> Option<u64> {
        self.state.total.map(|total| self.first.saturating_add(total))
    }
}

impl Paginator for Offset {
    fn seam(&self, count: u64) -> Seam {
        match self.overlap() {
            // Behind a page that was not filled there was nothing that could have moved up.
            0 if count == 0 && self.state.last < self.size => Seam::Anchored,
            0 => Seam::Counted,
            _ => Seam::Overlapping,
        }
    }

    fn request(&self, base: &Request) -> Result<Request, PageError> {
        self.at(base, self.state.offset.saturating_sub(self.overlap()))
    }

    fn ahead(&self, base: &Request, distance: u64) -> Option<Request> {
        let overlap = self.overlap();
        let page = if self.by_limit || self.state.largest == 0 { self.size } else { self.state.largest };
        let step = page - overlap;
        let offset = self.state.offset.checked_add(step.checked_mul(distance)?)?;
        let end = self.end_by_total()?;
        if offset.saturating_sub(step) >= end || (self.trust_total && offset >= end) {
            return None;
        }
        // The page that proves the end is where the records end, unless pages start at multiples of their size.
        let offset = if self.by_limit { offset } else { offset.min(end) };
        self.at(base, offset.saturating_sub(overlap)).ok()
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        self.state.total = page.total;
        let old = self.overlap();
        if page.count <= old {
            return Ok(Step::END);
        }
        self.state.largest = self.state.largest.max(page.count);
        self.state.last = page.count;
        let step = if self.by_limit { self.size } else { page.count - old };
        self.state.offset = self.state.offset.saturating_add(step);
        let reached = self.end_by_total().is_some_and(|end| self.state.offset >= end);
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

    fn sim() -> Sim<Offset> {
        Sim::new(Offset::new("offset", "limit", 10))
    }

    fn answer(all: &[Value], rest: Value) -> impl Fn(&Request) -> Reply + Copy + '_ {
        let total = rest["total"].as_u64();
        move |request| {
            let (from, count) = (number(request, "offset").unwrap(), number(request, "limit").unwrap());
            reply(slice(all, from, count), json!({ "total": total }))
        }
    }

    #[test]
    fn it_reads_to_the_first_empty_page_with_or_without_a_total() {
        for count in [0, 1, 9, 10, 11, 40, 87] {
            let all = things(0..count);
            sim().is_exact(answer(&all, json!({})), &all);
            sim().total("/total").is_exact(answer(&all, json!({ "total": count })), &all);
        }
    }

    #[test]
    fn a_short_page_in_the_middle_is_not_the_end_and_loses_nothing() {
        let all = things(0..95);
        // Under load, every third page of ten is cut to four.
        let cut = |request: &Request| {
            let from = number(request, "offset").unwrap();
            reply(slice(&all, from, if from % 3 == 1 { 4 } else { 10 }), json!({ "total": 95 }))
        };
        sim().is_exact(cut, &all);
        sim().total("/total").is_exact(cut, &all);
    }

    #[test]
    fn a_server_that_gives_less_than_asked_for_is_followed_without_wasted_requests() {
        let all = things(0..70);
        let capped =
            |request: &Request| reply(slice(&all, number(request, "offset").unwrap(), 5), json!({ "total": 70 }));
        sim().total("/total").is_exact(capped, &all);
        let mut api = Api::new(capped);
        sim().total("/total").read(&mut api, None).unwrap();
        assert_eq!((api.requests.len(), api.dropped), (19, 0));
    }

    #[test]
    fn a_total_that_is_too_small_does_not_end_the_read_and_a_growing_one_is_followed() {
        let all = things(0..50);
        sim().total("/total").is_exact(answer(&all, json!({ "total": 20 })), &all);

        let trusting = Sim::new(Offset::new("offset", "limit", 10).trust_total()).total("/total");
        let grows = |request: &Request| {
            let from = number(request, "offset").unwrap();
            reply(slice(&all, from, 10), json!({ "total": if from < 10 { 20 } else { 50 } }))
        };
        trusting.is_exact(grows, &all);
        let mut api = Api::new(grows);
        trusting.read(&mut api, None).unwrap();
        assert_eq!(api.requests.len(), 6, "a trusted total saves the last look");
        assert_eq!(api.totals, [20, 20, 50, 50, 50, 50].map(Some));
    }

    #[test]
    fn a_known_total_fetches_ahead_as_far_as_the_empty_page_and_no_further() {
        let mut offset = Offset::new("offset", "limit", 10);
        let base = Request::get("http://a/");
        assert_eq!(offset.ahead(&base, 1), None, "nothing is known before the first page");
        let response = Reply::json("{}");
        let page = Received { request: &base, response: &response, records: "", count: 10, total: Some(35) };
        offset.advance(&page).unwrap();
        let urls: Vec<_> = (1..).map_while(|d| offset.ahead(&base, d)).map(|r| r.full_url()).collect();
        assert_eq!(
            urls,
            ["http://a/?offset=18&limit=10", "http://a/?offset=27&limit=10", "http://a/?offset=34&limit=10"]
        );
    }

    #[test]
    fn an_api_that_filters_after_it_cuts_pages_is_stepped_by_the_limit() {
        // Of every ten only the even ones may be seen.
        let all: Vec<Value> = things(0..40).into_iter().step_by(2).collect();
        let filtering = |request: &Request| {
            let from = number(request, "offset").unwrap();
            let page = all.iter().filter(|r| (from..from + 10).contains(&(r["id"].as_u64().unwrap() as usize)));
            reply(page.cloned().collect(), json!({}))
        };
        Sim::new(Offset::new("offset", "limit", 10).step_by_limit()).is_exact(filtering, &all);
    }

    #[test]
    fn a_status_beyond_the_last_record_can_stand_for_the_end() {
        let all = things(0..20);
        let strict = |request: &Request| match number(request, "offset").unwrap() {
            from if from < 20 => reply(slice(&all, from, 10), json!({})),
            _ => Reply::json(r#"{"error":"no such page"}"#).with_status(404),
        };
        Sim::new(Offset::new("offset", "limit", 10).end_status(404)).is_exact(strict, &all);
        let plain = || Offset::new("offset", "limit", 10).without_overlap();
        Sim::new(plain().end_status(404)).is_exact(strict, &all);
        assert!(Sim::new(plain()).fails(strict).0.contains("answered 404"));
        sim().is_exact(strict, &all);
    }

    #[test]
    fn an_api_that_ignores_the_offset_or_goes_in_a_circle_is_an_error() {
        let all = things(0..1000);
        for circle in 1..=50 {
            let turning = |request: &Request| {
                let page = number(request, "offset").unwrap() / 10 % circle;
                reply(slice(&all, page * 10, 10), json!({ "total": 1000 }))
            };
            let plain = || Sim::new(Offset::new("offset", "limit", 10).without_overlap());
            for sim in [plain(), plain().total("/total")] {
                let (error, records) = sim.fails(turning);
                assert!(error.contains("the same page again"), "{error}");
                assert_eq!(records.len(), circle * 10, "nothing is emitted twice");
            }
        }
    }

    #[test]
    fn each_border_is_read_twice_so_that_whatever_shifts_shows() {
        let all = things(0..30);
        let read = |paginator: Offset, shift: i64| {
            let mut requests = 0;
            let mut api = Api::new(|request| {
                requests += 1;
                let from = number(request, "offset").unwrap() as i64;
                // After the second page something in front is deleted, or inserted.
                let from = if requests > 2 { from + shift } else { from };
                reply(slice(&all, from as usize, 10), json!({}))
            });
            Sim { in_flight: 1, ..Sim::new(paginator) }.read(&mut api, None).unwrap();
            (api.shifts, api.records().len(), api.seams.clone())
        };
        let offset = || Offset::new("offset", "limit", 10);
        use Seam::{Anchored, Counted, Overlapping, Unsaid};
        assert_eq!(read(offset(), 0), (0, 30, vec![Unsaid, Overlapping, Overlapping, Overlapping, Overlapping]));
        assert_eq!(read(offset(), 1).0, 1, "a deletion");
        assert_eq!(read(offset(), -1).0, 1, "an insertion");
        assert_eq!(read(offset().without_overlap(), 1), (0, 29, vec![Unsaid, Counted, Counted, Anchored]));
    }

    #[test]
    fn pages_of_one_record_do_not_overlap() {
        let all = things(0..5);
        for paginator in [Offset::new("offset", "limit", 1), Offset::new("offset", "limit", 10)] {
            let single = |request: &Request| reply(slice(&all, number(request, "offset").unwrap(), 1), json!({}));
            Sim::new(paginator).is_exact(single, &all);
        }
    }

    #[test]
    fn offset_and_limit_may_stand_in_the_body_of_a_post() {
        let offset = Offset::new("/page/from", "/page/size", 10);
        let request = offset.request(&Request::post("http://a/").body(r#"{"q":1}"#)).unwrap();
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        assert_eq!(body, json!({ "page": { "from": 0, "size": 10 }, "q": 1 }));
    }
}
