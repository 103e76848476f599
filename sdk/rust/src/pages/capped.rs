//! Lists that an API does not page through to their end.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::key::{field_pointer, of_record, required};
use super::place::{parse, plain};
use super::{Keep, PageError, Paginator, Place, Received, Step, compare, excerpt, restore, save};
use crate::{Request, Seam};

/// Reads a list beyond the number of records that an API pages through (often 10,000).
///
/// The list must come in ascending order of a field from which the API can be asked to start (>=). Before the cap is
/// reached, the list is asked for anew from the last value of that field; records that have been read are left out by
/// their ids. Where more records share one value than the cap, the others cannot be reached, which is an error.
///
/// ```
/// use connector_sdk::pages::{Capped, Offset};
///
/// let orders = Capped::new(Offset::new("offset", "limit", 100), 10_000, "updated_at", "id", "since");
/// ```
#[derive(Debug, Clone)]
pub struct Capped<P> {
    inner: P,
    /// The paginator where each window starts.
    fresh: P,
    cap: u64,
    sort: String,
    tie: String,
    from: Place,
    format: String,
    state: State,
}

/// Keys are kept as JSON texts, so that nothing is rounded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The value from which this window starts; none for the first.
    start: Option<String>,
    /// Records of this window so far, and the largest page.
    window: u64,
    largest: u64,
    /// The value of the very first record; the last value, and the ids of all records that have been read with it.
    first: Option<String>,
    last: Option<String>,
    ids: Vec<String>,
    /// The last record of the last page, where it was left out: what overlaps with it is compared here, since the host has
    /// not seen it.
    hidden: Option<String>,
}

/// What [`Capped::save`] writes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    inner: Box<RawValue>,
    state: State,
}

impl<P: Paginator + Clone> Capped<P> {
    /// Reads with another paginator, as far as `cap` records from each start. `sort` is the field that the list is sorted
    /// by and `tie` one that tells records apart (names, or RFC 6901 pointers within a record); `from` is where the value
    /// goes from which to start.
    pub fn new(pages: P, cap: u64, sort: &str, tie: &str, from: impl Into<Place>) -> Self {
        Self {
            inner: pages.clone(),
            fresh: pages,
            cap,
            sort: field_pointer(sort),
            tie: field_pointer(tie),
            from: from.into(),
            format: "{value}".to_owned(),
            state: State::default(),
        }
    }

    /// Writes the value in a form of its own, in which `{value}` stands for it: `updated:>={value}`.
    #[must_use]
    pub fn format(mut self, format: &str) -> Self {
        self.format = format.to_owned();
        self
    }

    fn base(&self, base: &Request) -> Result<Request, PageError> {
        let Some(start) = &self.state.start else { return Ok(base.clone()) };
        let value = plain(&parse(start)?);
        self.from.put(base.clone(), self.format.replace("{value}", &value).into())
    }

    /// Takes the page's last value and those who share it as known.
    fn remember(&mut self, page: &Received<'_>, last: u64) -> Result<(), PageError> {
        let value = required(page, last, &self.sort)?;
        let first = required(page, 0, &self.sort)?;
        let text = |json: &str| parse(json).map(|value| plain(&value));
        let before = self.state.last.as_deref().unwrap_or(&first);
        if compare(&text(&value)?, &text(&first)?).is_lt() || compare(&text(&first)?, &text(before)?).is_lt() {
            return Err(PageError::Unsorted { field: self.sort.clone(), value: excerpt(&value) });
        }
        self.state.first.get_or_insert(first);
        if self.state.last.as_ref() != Some(&value) {
            self.state.ids.clear();
        }
        for index in (0..=last).rev() {
            match of_record(page, index, &self.sort)? {
                None => continue,
                Some(found) if found != value => break,
                Some(_) => {}
            }
            let id = required(page, index, &self.tie)?;
            if !self.state.ids.contains(&id) {
                self.state.ids.push(id);
            }
        }
        self.state.last = Some(value);
        Ok(())
    }

    /// Which records of a page have not been read before this window, but for a first one that overlaps.
    fn fresh(&self, page: &Received<'_>, overlaps: bool) -> Result<Keep, PageError> {
        let Some(start) = &self.state.start else { return Ok(Keep::All) };
        let mut old = Vec::new();
        for index in u64::from(overlaps)..page.count {
            match of_record(page, index, &self.sort)? {
                // What is no record is kept aside by the host.
                None => continue,
                Some(value) if value != *start => break,
                Some(_) => {}
            }
            if self.state.ids.contains(&required(page, index, &self.tie)?) {
                old.push(index);
            }
        }
        Ok(match old.is_empty() {
            true => Keep::All,
            false => Keep::Only((0..page.count).filter(|index| !old.contains(index)).collect()),
        })
    }
}

impl<P: Paginator + Clone> Paginator for Capped<P> {
    fn request(&self, base: &Request) -> Result<Request, PageError> {
        self.inner.request(&self.base(base)?)
    }

    fn ahead(&self, base: &Request, distance: u64) -> Option<Request> {
        let pages = distance.checked_add(1)?;
        let reach = self.state.window.checked_add(self.state.largest.checked_mul(pages)?)?;
        if reach > self.cap {
            return None;
        }
        self.inner.ahead(&self.base(base).ok()?, distance)
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        // A page of a later window says how many records that window has.
        let inside = Received { total: page.total.filter(|_| self.state.start.is_none()), ..*page };
        let overlaps = self.state.window > 0 && self.inner.seam(page.count) == Seam::Overlapping;
        let step = self.inner.advance(&inside)?;
        let hidden = self.state.hidden.take();
        let Some(last) = page.count.checked_sub(1) else { return Ok(step) };
        if let Some(hidden) = hidden.as_ref().filter(|_| overlaps)
            && required(page, 0, &self.tie)? != *hidden
        {
            return Err(PageError::Shifted { request: page.request.to_string() });
        }
        // The records that the windows have in common stand at the front of the window, and may fill a page. What the host
        // compares is left to it.
        let keep = match self.fresh(page, overlaps && hidden.is_none())? {
            Keep::All => step.keep,
            fresh => fresh,
        };
        if let Keep::Only(kept) = &keep
            && !kept.contains(&last)
        {
            self.state.hidden = Some(required(page, last, &self.tie)?);
        }
        self.remember(page, last)?;
        self.state.window += page.count;
        self.state.largest = self.state.largest.max(page.count);
        if !step.end && self.state.window + self.state.largest > self.cap {
            if self.state.start.as_ref().or(self.state.first.as_ref()) == self.state.last.as_ref() {
                let value = excerpt(self.state.last.as_deref().unwrap_or_default());
                return Err(PageError::Overfull {
                    field: self.sort.clone(),
                    value,
                    count: self.state.ids.len() as u64,
                });
            }
            self.state.start.clone_from(&self.state.last);
            self.state.window = 0;
            self.inner = self.fresh.clone();
        }
        Ok(Step { end: step.end, keep })
    }

    fn save(&self) -> String {
        let inner = RawValue::from_string(self.inner.save()).unwrap_or_default();
        save(&Saved { inner, state: self.state.clone() })
    }

    fn restore(&mut self, saved: &str) -> Result<(), PageError> {
        let Saved { inner, state } = restore(saved)?;
        self.inner.restore(inner.get())?;
        self.state = state;
        Ok(())
    }

    fn end_statuses(&self) -> &[u16] {
        self.inner.end_statuses()
    }

    /// A window may begin with the page that the last one ended with. What goes in a circle is not sorted, or does not get
    /// beyond a value.
    fn pages_may_repeat(&self) -> bool {
        true
    }

    fn seam(&self, count: u64) -> Seam {
        // The first page of a window starts at a value, whatever was deleted before it.
        match self.inner.seam(count) {
            Seam::Overlapping if self.state.hidden.is_some() => Seam::Anchored,
            seam => {
                if self.state.window == 0 {
                    Seam::Anchored
                } else {
                    seam
                }
            }
        }
    }

    fn total_holds(&self) -> bool {
        self.state.start.is_none() && self.inner.total_holds()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sim::{Api, Sim, number, param, reply, slice};
    use super::super::{Offset, PageNumber};
    use super::*;
    use crate::testing::Reply;

    /// Records of which `ties` share one time each.
    fn records(count: usize, ties: usize) -> Vec<Value> {
        (0..count).map(|id| json!({ "id": id, "t": 1000 + id / ties })).collect()
    }

    /// An API that answers nothing beyond the record `cap`, as far as it is asked from `since` on.
    fn capped(all: &[Value], cap: usize) -> impl Fn(&Request) -> Reply + Copy + '_ {
        move |request| {
            let since = param(request, "since").map_or(0, |text| text.trim_start_matches("t:").parse().unwrap());
            let window: Vec<Value> = all.iter().filter(|r| r["t"].as_u64().unwrap() >= since).cloned().collect();
            let from = number(request, "offset").unwrap_or_else(|| 10 * (number(request, "page").unwrap() - 1));
            let reach = cap.saturating_sub(from).min(10);
            reply(slice(&window, from, reach), json!({ "total": window.len() }))
        }
    }

    fn by_offset(cap: u64) -> Capped<Offset> {
        Capped::new(Offset::new("offset", "limit", 10), cap, "t", "id", "since")
    }

    #[test]
    fn a_capped_list_is_read_to_its_end_with_whatever_ties() {
        for (count, ties) in
            [(0, 1), (46, 1), (49, 1), (50, 1), (51, 1), (88, 7), (237, 1), (237, 7), (237, 20), (100, 39)]
        {
            let all = records(count, ties);
            Sim::new(by_offset(50)).is_exact(capped(&all, 50), &all);
            Sim::new(Capped::new(PageNumber::new("page"), 50, "t", "id", "since")).is_exact(capped(&all, 50), &all);
            Sim::new(by_offset(50)).total("/total").is_exact(capped(&all, 50), &all);
            Sim::new(by_offset(50).format("t:{value}")).is_exact(capped(&all, 50), &all);
        }
    }

    #[test]
    fn without_it_the_list_ends_at_the_cap() {
        let all = records(237, 1);
        let mut api = Api::new(capped(&all, 50));
        Sim::new(Offset::new("offset", "limit", 10).without_overlap()).read(&mut api, None).unwrap();
        assert_eq!(api.records().len(), 50);
    }

    #[test]
    fn only_the_first_window_knows_the_total() {
        let all = records(100, 1);
        let mut api = Api::new(capped(&all, 50));
        Sim::new(by_offset(50)).total("/total").read(&mut api, None).unwrap();
        assert_eq!(api.totals.first(), Some(&Some(100)));
        assert!(api.totals.iter().flatten().all(|total| *total == 100), "{:?}", api.totals);
        assert!(api.seams.iter().filter(|seam| **seam == Seam::Anchored).count() >= 2, "{:?}", api.seams);
    }

    #[test]
    fn more_records_of_one_value_than_the_cap_are_an_error() {
        let all = records(200, 100);
        let (error, _) = Sim::new(by_offset(50)).fails(capped(&all, 50));
        assert!(error.contains("share one value of \"/t\""), "{error}");
    }

    #[test]
    fn a_list_that_is_not_sorted_is_an_error() {
        let mut all = records(100, 1);
        all.swap(14, 60);
        let (error, _) = Sim::new(by_offset(50)).fails(capped(&all, 50));
        assert!(error.contains("records are not sorted by \"/t\" in ascending order"), "{error}");
    }
}
