//! Keysets: the last record's key names the next page.

use serde::{Deserialize, Serialize};

use super::key::{field_pointer, of_record, required};
use super::place::parse;
use super::{Keep, PageError, Paginator, Place, Received, Seen, Source, Step, excerpt, restore, save};
use crate::{Request, Seam};

/// Reads by the key of the last record, from lists that are sorted by it.
///
/// There are three kinds of API, and a constructor for each:
/// - [`unique`](Keyset::unique): "after this id";
/// - [`pair`](Keyset::pair): "after this time and, within it, this id";
/// - [`inclusive`](Keyset::inclusive): "from this time on", where records that share the last time
///   come again on the next page. Those are left out by their ids, and where more records share one
///   time than fit on a page, the read ends with an error, because the others cannot be reached.
///
/// The end of the first two is an empty page or a [`has_more`](Keyset::has_more) that is false.
///
/// ```
/// use connector_sdk::pages::Keyset;
///
/// let charges = Keyset::unique("id", "starting_after").limit("limit", 100).has_more("/has_more");
/// let orders = Keyset::pair("updated_at", "id", "after", "after_id").limit("limit", 250);
/// let events = Keyset::inclusive("time", "id", "since", "limit", 100);
/// ```
#[derive(Debug, Clone)]
pub struct Keyset {
    sort: String,
    /// Pointer of the tie-breaker, and the place of its value where the API takes one.
    tie: Option<(String, Option<Place>)>,
    after: Place,
    limit: Option<(Place, u64)>,
    has_more: Option<Source>,
    start: Option<serde_json::Value>,
    state: State,
}

/// Keys are kept as JSON texts, so that a number stays a number and nothing is rounded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    key: Option<String>,
    tie: Option<String>,
    /// Inclusive only: tie-breakers of all records read with this key.
    ids: Vec<String>,
    /// Inclusive only: pages that brought something new, and the largest page.
    pages: u64,
    largest: u64,
    seen: Seen,
}

impl Keyset {
    /// For an API that takes one field, unique among the records. A field is a name, or an RFC 6901
    /// pointer within a record; a place is a query parameter, or see [`Place`].
    pub fn unique(field: &str, after: impl Into<Place>) -> Self {
        Self {
            sort: field_pointer(field),
            tie: None,
            after: after.into(),
            limit: None,
            has_more: None,
            start: None,
            state: State::default(),
        }
    }

    /// For an API that takes both the sort field's value and the tie-breaker's.
    pub fn pair(sort: &str, tie: &str, after: impl Into<Place>, after_tie: impl Into<Place>) -> Self {
        Self { tie: Some((field_pointer(tie), Some(after_tie.into()))), ..Self::unique(sort, after) }
    }

    /// For an API that takes the sort field's value alone and means "from it on" (>=). `size` must not
    /// be more than the API gives: a page that is shorter and brings nothing new is taken as the end.
    pub fn inclusive(sort: &str, tie: &str, from: impl Into<Place>, limit: impl Into<Place>, size: u64) -> Self {
        Self { tie: Some((field_pointer(tie), None)), ..Self::unique(sort, from) }.limit(limit, size)
    }

    /// Asks for pages of a size.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<Place>, size: u64) -> Self {
        self.limit = Some((limit.into(), size.max(1)));
        self
    }

    /// Says where the API tells whether more pages follow.
    #[must_use]
    pub fn has_more(mut self, source: impl Into<Source>) -> Self {
        self.has_more = Some(source.into());
        self
    }

    /// Starts at a key instead of the list's beginning: a watermark, mostly.
    #[must_use]
    pub fn start(mut self, key: impl Into<serde_json::Value>) -> Self {
        self.start = Some(key.into());
        self
    }

    fn is_inclusive(&self) -> bool {
        matches!(self.tie, Some((_, None)))
    }

    fn size(&self) -> u64 {
        self.limit.as_ref().map_or(u64::MAX, |(_, size)| *size)
    }

    fn says_end(&self, page: &Received<'_>) -> Result<bool, PageError> {
        let Some(source) = &self.has_more else { return Ok(false) };
        match source.value(page.response)? {
            Some(serde_json::Value::Bool(more)) => Ok(!more),
            Some(other) => Err(PageError::Unexpected {
                what: source.to_string(),
                expected: "true or false",
                value: excerpt(&other.to_string()),
            }),
            None => Err(PageError::Missing { what: source.to_string(), request: page.request.to_string() }),
        }
    }

    fn advance_exclusive(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        let Some(last) = page.count.checked_sub(1) else {
            if self.has_more.is_some() && !self.says_end(page)? {
                let what = "every record, though more follow,".into();
                return Err(PageError::Missing { what, request: page.request.to_string() });
            }
            return Ok(Step::END);
        };
        let key = required(page, last, &self.sort)?;
        let tie = match &self.tie {
            Some((tie, _)) => Some(required(page, last, tie)?),
            None => None,
        };
        if !self.state.seen.insert(&[&key, tie.as_deref().unwrap_or("")]) {
            return Err(PageError::Repeated { what: "key", value: excerpt(&key) });
        }
        self.state.key = Some(key);
        self.state.tie = tie;
        Ok(if self.says_end(page)? { Step::END } else { Step::NEXT })
    }

    fn advance_inclusive(&mut self, page: &Received<'_>, tie: &str) -> Result<Step, PageError> {
        let Some(last) = page.count.checked_sub(1) else { return Ok(Step::END) };
        let last_key = required(page, last, &self.sort)?;
        let border = self.state.key.take();
        let same_key = border.as_ref() == Some(&last_key);

        // Records that share the border's key stand at the front; those read before are left out.
        let mut old = Vec::new();
        let mut at_border = 0;
        if let Some(border) = &border {
            while at_border < page.count {
                match of_record(page, at_border, &self.sort)? {
                    // What is no record is kept aside by the host.
                    None => {}
                    Some(key) if key != *border => break,
                    Some(_) if self.state.ids.contains(&required(page, at_border, tie)?) => old.push(at_border),
                    Some(_) => {}
                }
                at_border += 1;
            }
        }
        if same_key && at_border < page.count {
            return Err(PageError::Unsorted { field: self.sort.clone(), value: excerpt(&last_key) });
        }
        let fresh = page.count - old.len() as u64;

        // The whole page shares the key that was asked for: the next one would be this one again.
        if same_key {
            // A server that caps pages below the size asked for shows it by going on after short ones.
            let capped = self.state.pages > 1 && page.count >= self.state.largest;
            if page.count >= self.size() || (fresh == 0 && capped) {
                let count = page.count;
                return Err(PageError::Overfull { field: self.sort.clone(), value: excerpt(&last_key), count });
            }
        } else {
            if !self.state.seen.insert(&[&last_key]) {
                return Err(PageError::Repeated { what: "key", value: excerpt(&last_key) });
            }
            self.state.ids.clear();
        }

        let mut index = page.count;
        while let Some(i) = index.checked_sub(1) {
            index = i;
            match of_record(page, i, &self.sort)? {
                None => continue,
                Some(key) if key != last_key => break,
                Some(_) => {}
            }
            let id = required(page, i, tie)?;
            if !self.state.ids.contains(&id) {
                self.state.ids.push(id);
            }
        }
        self.state.key = Some(last_key);
        self.state.largest = self.state.largest.max(page.count);
        self.state.pages += u64::from(fresh > 0);
        let keep = match old.is_empty() {
            true => Keep::All,
            false => Keep::Only((0..page.count).filter(|i| !old.contains(i)).collect()),
        };
        let end = fresh == 0 || self.says_end(page)?;
        Ok(Step { end, keep })
    }
}

impl Paginator for Keyset {
    fn seam(&self, _count: u64) -> Seam {
        Seam::Anchored
    }

    fn request(&self, base: &Request) -> Result<Request, PageError> {
        let mut request = base.clone();
        match &self.state.key {
            Some(key) => request = self.after.put(request, parse(key)?)?,
            None => {
                if let Some(start) = &self.start {
                    request = self.after.put(request, start.clone())?;
                }
            }
        }
        if let (Some((_, Some(place))), Some(tie)) = (&self.tie, &self.state.tie) {
            request = place.put(request, parse(tie)?)?;
        }
        match &self.limit {
            Some((place, size)) => place.put(request, (*size).into()),
            None => Ok(request),
        }
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        match &self.tie {
            Some((tie, None)) => {
                let tie = tie.clone();
                self.advance_inclusive(page, &tie)
            }
            _ => self.advance_exclusive(page),
        }
    }

    fn save(&self) -> String {
        save(&self.state)
    }

    fn restore(&mut self, saved: &str) -> Result<(), PageError> {
        self.state = restore(saved)?;
        Ok(())
    }

    fn pages_may_repeat(&self) -> bool {
        // The page that proves the end of an inclusive read brings nothing but the border again.
        self.is_inclusive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sim::{Sim, number, param, reply, things};
    use super::*;
    use crate::testing::Reply;

    /// Records with these sort keys, ids in order.
    fn keyed(keys: &[u64]) -> Vec<Value> {
        keys.iter().enumerate().map(|(id, t)| json!({ "t": format!("2024-01-{t:02}"), "id": id })).collect()
    }

    /// `?since=` gives the records from that time on, at most five.
    fn from_on(all: &[Value], cap: usize) -> impl Fn(&Request) -> Reply + Copy + '_ {
        move |request| {
            let since = param(request, "since").unwrap_or_default();
            let limit = number(request, "limit").unwrap().min(cap);
            reply(all.iter().filter(|r| r["t"].as_str() >= Some(&since)).take(limit).cloned().collect(), json!({}))
        }
    }

    fn inclusive() -> Sim<Keyset> {
        Sim::new(Keyset::inclusive("t", "id", "since", "limit", 5))
    }

    #[test]
    fn a_unique_key_is_read_to_the_empty_page_or_to_has_more() {
        for count in [0, 1, 5, 23] {
            let all = things(0..count);
            let api = |request: &Request| {
                let from = number(request, "after").map_or(0, |id| id + 1);
                let page: Vec<Value> = all.iter().skip(from).take(number(request, "n").unwrap()).cloned().collect();
                let more = from + page.len() < count;
                reply(page, json!({ "more": more }))
            };
            Sim::new(Keyset::unique("id", "after").limit("n", 5)).is_exact(api, &all);
            Sim::new(Keyset::unique("id", "after").limit("n", 5).has_more("/more")).is_exact(api, &all);
        }
        let empty = |_: &Request| reply(Vec::new(), json!({ "more": true }));
        let (error, _) = Sim::new(Keyset::unique("id", "after").has_more("/more")).fails(empty);
        assert!(error.contains("every record, though more follow, is missing"), "{error}");
    }

    #[test]
    fn a_pair_of_keys_neither_loses_nor_doubles_ties_at_a_border() {
        let all = keyed(&[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4]);
        let api = |request: &Request| {
            let after = param(request, "after").map(|t| (t, number(request, "after_id").unwrap() as u64));
            let is_after = |r: &&Value| match &after {
                Some((t, id)) => (r["t"].as_str(), r["id"].as_u64()) > (Some(t), Some(*id)),
                None => true,
            };
            reply(all.iter().filter(is_after).take(3).cloned().collect(), json!({}))
        };
        Sim::new(Keyset::pair("t", "id", "after", "after_id")).is_exact(api, &all);
    }

    #[test]
    fn inclusive_reads_leave_out_what_came_before() {
        for keys in [
            vec![],
            vec![1],
            vec![1, 1, 1],
            vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            vec![1, 1, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 7],
            vec![1, 2, 2, 2, 2, 3],
            vec![1, 2, 3, 4, 4],
        ] {
            let all = keyed(&keys);
            inclusive().is_exact(from_on(&all, 5), &all);
        }
    }

    #[test]
    fn ties_are_recognised_by_id_whatever_their_order() {
        let all = keyed(&[1, 1, 2, 2, 2, 3, 3, 3, 4]);
        // Ties come in another order with each request.
        let shuffling = |request: &Request| {
            let since = param(request, "since").unwrap_or_default();
            let mut page: Vec<Value> = all.iter().filter(|r| r["t"].as_str() >= Some(&since)).cloned().collect();
            let turn = |r: &Value| {
                if since.ends_with(['2', '4']) { 99 - r["id"].as_u64().unwrap() } else { r["id"].as_u64().unwrap() }
            };
            page.sort_by_key(|r| (r["t"].as_str().unwrap().to_owned(), turn(r)));
            page.truncate(5);
            reply(page, json!({}))
        };
        let mut api = super::super::sim::Api::new(shuffling);
        assert!(inclusive().read(&mut api, None).unwrap().complete);
        let mut records = api.records();
        records.sort_by_key(|r| r["id"].as_u64());
        assert_eq!(records, all);
    }

    #[test]
    fn more_ties_than_fit_on_a_page_are_an_error_and_never_silence() {
        for keys in [
            vec![1, 2, 2, 2, 2, 2, 2, 3],
            vec![1, 1, 1, 1, 1, 1],
            vec![1, 1, 1, 1, 1],
            vec![1, 2, 3, 4, 5, 5, 5, 5, 5, 5],
        ] {
            let all = keyed(&keys);
            let (error, records) = inclusive().fails(from_on(&all, 5));
            assert!(error.contains("at least 5 records share one value of \"/t\" and fill a page"), "{error}");
            assert!(all.starts_with(&records), "what came before the error came once");
        }
    }

    #[test]
    fn a_checkpoint_holds_the_ids_of_the_border_and_no_others() {
        let all = keyed(&(1..=28).flat_map(|t| [t, t]).collect::<Vec<_>>());
        let mut api = super::super::sim::Api::new(from_on(&all, 5));
        inclusive().read(&mut api, None).unwrap();
        for (_, checkpoint) in &api.pages {
            let checkpoint: Value = serde_json::from_str(checkpoint).unwrap();
            assert!(checkpoint["at"]["ids"].as_array().unwrap().len() <= 2, "{checkpoint}");
        }
    }

    #[test]
    fn a_server_that_caps_pages_in_silence_is_found_out() {
        let all = keyed(&[1, 2, 3, 4, 4, 4, 4, 5]);
        let (error, _) = inclusive().fails(from_on(&all, 3));
        assert!(error.contains("at least 3 records share"), "{error}");
    }

    #[test]
    fn a_list_in_the_wrong_order_is_an_error() {
        let mut all = keyed(&[1, 2, 3, 4, 5, 6, 7]);
        all.reverse();
        let (error, _) = inclusive().fails(from_on(&all, 5));
        assert!(error.contains("not sorted by \"/t\" in ascending order"), "{error}");
    }

    #[test]
    fn a_record_without_its_key_is_an_error() {
        let (error, _) = inclusive().fails(|_| reply(things(0..2), json!({})));
        assert!(error.contains("value at \"/data/1/t\" is missing"), "{error}");
    }

    #[test]
    fn an_api_that_ignores_the_key_is_an_error() {
        let (error, records) = Sim::new(Keyset::unique("id", "after")).fails(|_| reply(things(0..5), json!({})));
        assert!(error.contains("the same key again"), "{error}");
        assert_eq!(records, things(0..5));
    }

    #[test]
    fn it_starts_at_a_watermark() {
        let keyset = Keyset::pair("t", "id", "after", "after_id").start("2024-01-05").limit("n", 3);
        let request = keyset.request(&Request::get("http://a/")).unwrap();
        assert_eq!(request.full_url(), "http://a/?after=2024-01-05&n=3");
    }
}
