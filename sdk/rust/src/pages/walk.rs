//! One read's way through its pages, without any effect: what is requested, checked, kept and
//! written into checkpoints.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::of_record;
use super::place::{parse, plain};
use super::{Keep, PageError, Paginator, Received, Seen, Source, Watermark, compare, excerpt, restore};
use crate::{Request, ResponseView, Seam};

/// A paginator on its way.
#[derive(Debug)]
pub(super) struct Walk<P> {
    pub(super) base: Request,
    pub(super) records: String,
    pub(super) paginator: P,
    pub(super) total: Option<Source>,
    pub(super) watermark: Option<Watermark>,
    /// A list in descending order of a field ends where it is behind a watermark.
    pub(super) until: Option<(String, String)>,
    pub(super) null_is_empty: bool,
    /// One object in the place of the array is one record.
    pub(super) one_object: bool,
    pub(super) repeats: bool,
    /// The list never shifts while it is read.
    pub(super) steady: bool,
    /// What time it is: a value of a later moment is no watermark, for it would hide all that comes until then.
    pub(super) now_ms: u64,
    /// The greatest watermark so far.
    pub(super) mark: Option<String>,
    pages: Seen,
    started: bool,
    done: bool,
    /// Whether the paginator's own text has been looked at.
    saved: bool,
}

/// What a checkpoint holds. `at` is the paginator's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    at: Box<RawValue>,
    pages: Seen,
    #[serde(default)]
    mark: Option<String>,
    #[serde(default)]
    done: bool,
}

/// What to do with a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) records: Emit,
    pub(super) count: u64,
    pub(super) total: Option<u64>,
    pub(super) seam: Seam,
}

/// Which records to emit, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Emit {
    /// All, straight from the response.
    Select,
    /// Those at these places, ascending, straight from the response.
    Pick(Vec<u64>),
    /// None; there may be no list.
    Nothing,
}

impl<P: Paginator> Walk<P> {
    pub(super) fn new(base: Request, records: &str, paginator: P) -> Self {
        Self {
            base,
            records: records.to_owned(),
            paginator,
            total: None,
            watermark: None,
            until: None,
            null_is_empty: false,
            one_object: false,
            repeats: false,
            steady: false,
            now_ms: u64::MAX,
            mark: None,
            pages: Seen::default(),
            started: false,
            done: false,
            saved: false,
        }
    }

    pub(super) fn resume(&mut self, checkpoint: &str) -> Result<(), PageError> {
        let Checkpoint { at, pages, mark, done } = restore(checkpoint)?;
        self.paginator.restore(at.get())?;
        (self.pages, self.mark, self.done, self.started) = (pages, mark, done, true);
        Ok(())
    }

    /// What to go on from later, as the JSON text of a [`Checkpoint`]. It is written for every page, so it is put together
    /// of texts that are there already.
    pub(super) fn checkpoint(&mut self) -> Result<String, PageError> {
        let at = self.paginator.save();
        if !std::mem::replace(&mut self.saved, true) {
            // A paginator whose text is no JSON could not be restored; one look at it tells.
            restore::<Box<RawValue>>(&at)?;
        }
        let mut text = String::with_capacity(at.len() + 600);
        text.push_str("{\"at\":");
        text.push_str(&at);
        text.push_str(",\"pages\":");
        self.pages.write(&mut text);
        if let Some(mark) = &self.mark {
            text.push_str(",\"mark\":");
            text.push_str(&crate::json!(mark).to_string());
        }
        if self.done {
            text.push_str(",\"done\":true");
        }
        text.push('}');
        Ok(text)
    }

    /// The next request; none at the end.
    pub(super) fn request(&self) -> Result<Option<Request>, PageError> {
        if self.done {
            return Ok(None);
        }
        Ok(Some(self.accepting(self.paginator.request(&self.base)?)))
    }

    /// A later request, where it can be known.
    pub(super) fn ahead(&self, distance: u64) -> Option<Request> {
        if self.done {
            return None;
        }
        self.paginator.ahead(&self.base, distance).map(|request| self.accepting(request))
    }

    fn accepting(&self, request: Request) -> Request {
        self.paginator.end_statuses().iter().fold(request, |request, status| request.accept(*status))
    }

    /// Whether a response stands for the end by its status.
    pub(super) fn ends(&self, response: &dyn ResponseView) -> bool {
        self.paginator.end_statuses().contains(&response.status())
    }

    /// Steps over the response to [`request`](Walk::request).
    pub(super) fn take(&mut self, request: &Request, response: &dyn ResponseView) -> Result<Taken, PageError> {
        let is_first = !std::mem::replace(&mut self.started, true);
        let empty = |total, seam| Taken { records: Emit::Nothing, count: 0, total, seam };
        if self.ends(response) {
            self.done = true;
            return Ok(empty(None, self.seam(is_first, 0)));
        }
        let total = match &self.total {
            Some(source) => source.number(response)?,
            None => None,
        };
        let (count, first) = self.count(request, response)?;
        let page = Received { request, response, records: &self.records, count, total };
        let seam = self.seam(is_first, count);
        let total = total.filter(|_| self.paginator.total_holds());
        let step = self.paginator.advance(&page)?;
        if let Some(first) = first
            && !self.repeats
            && !self.paginator.pages_may_repeat()
        {
            let last = match count {
                1 => None,
                _ => response.fingerprint(&format!("{}/{}", self.records, count - 1))?,
            };
            if !self.pages.insert_numbers(&[count, first, last.unwrap_or_default()]) {
                return Err(PageError::Repeated { what: "page", value: request.to_string() });
            }
        }
        if let Some(watermark) = &self.watermark {
            watermark.update(&mut self.mark, &page, is_first, self.now_ms)?;
        }
        self.done = step.end;
        let keep = match self.behind(&page)? {
            Some(newer) => {
                self.done = true;
                match step.keep {
                    Keep::All => Keep::Only(newer),
                    Keep::Only(fresh) => Keep::Only(fresh.into_iter().filter(|i| newer.contains(i)).collect()),
                }
            }
            None => step.keep,
        };
        Ok(match keep {
            Keep::All if count == 0 => empty(total, seam),
            Keep::All => Taken { records: Emit::Select, count, total, seam },
            Keep::Only(places) if places.is_empty() => empty(total, seam),
            Keep::Only(places) => Taken { count: places.len() as u64, records: Emit::Pick(places), total, seam },
        })
    }

    fn seam(&self, is_first: bool, count: u64) -> Seam {
        match self.paginator.seam(count) {
            _ if is_first => Seam::Unsaid,
            // An overlap is looked at all the same: what never shifts does not fail to match.
            Seam::Unsaid | Seam::Counted if self.steady => Seam::Anchored,
            seam => seam,
        }
    }

    /// Where a descending list has gone behind the watermark: the records that are not behind it.
    fn behind(&self, page: &Received<'_>) -> Result<Option<Vec<u64>>, PageError> {
        let Some((pointer, since)) = &self.until else { return Ok(None) };
        let is_behind = |index| -> Result<Option<bool>, PageError> {
            let Some(text) = of_record(page, index, pointer)? else { return Ok(None) };
            Ok(Some(compare(&plain(&parse(&text)?), since) == Ordering::Less))
        };
        // What is no record, as where it is no JSON, says nothing of where the list is; the host keeps it aside.
        let mut last = None;
        for index in (0..page.count).rev() {
            last = is_behind(index)?;
            if last.is_some() {
                break;
            }
        }
        if last != Some(true) {
            return Ok(None);
        }
        let mut newer = Vec::new();
        for index in 0..page.count {
            if is_behind(index)? != Some(true) {
                newer.push(index);
            }
        }
        Ok(Some(newer))
    }

    /// How many records there are, and the fingerprint of the first of them.
    fn count(&self, request: &Request, response: &dyn ResponseView) -> Result<(u64, Option<u64>), PageError> {
        let found = match response.len(&self.records)? {
            Some(0) => {
                let text = response.json_text(&self.records)?.unwrap_or_default();
                if text.trim_start().starts_with('[') {
                    return Ok((0, None));
                }
                "an empty object".to_owned()
            }
            Some(count) => {
                // An object has members but no element 0; its members are no records.
                if let Some(first) = response.fingerprint(&format!("{}/0", self.records))? {
                    return Ok((count, Some(first)));
                }
                if self.one_object {
                    return Ok((1, response.fingerprint(&self.records)?));
                }
                "an object".to_owned()
            }
            None => match response.json_text(&self.records)? {
                Some(text) if text.trim() == "null" && self.null_is_empty => return Ok((0, None)),
                Some(text) => excerpt(&text),
                // What came instead says most: an error with status 200, for example.
                None => match response.json_text("")? {
                    Some(whole) => format!("nothing; the response is {}", excerpt(&whole)),
                    None => "nothing".to_owned(),
                },
            },
        };
        Err(PageError::NoRecords { pointer: self.records.clone(), request: request.to_string(), found })
    }

    /// The JSON text of every record.
    pub(super) fn texts(&self, response: &dyn ResponseView) -> Result<Vec<String>, PageError> {
        let text = response.json_text(&self.records)?.unwrap_or_default();
        if self.one_object && text.trim_start().starts_with('{') {
            return Ok(vec![text]);
        }
        let records: Vec<&RawValue> = serde_json::from_str(&text).map_err(|e| PageError::Unexpected {
            what: format!("value at {:?} ({e})", self.records),
            expected: "an array",
            value: excerpt(&text),
        })?;
        Ok(records.into_iter().map(|record| record.get().to_owned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Single;
    use super::*;
    use crate::testing::Reply;

    fn take(body: &str, set: impl FnOnce(&mut Walk<Single>)) -> Result<Taken, PageError> {
        let mut walk = Walk::new(Request::get("http://a/"), "/data", Single);
        set(&mut walk);
        let request = walk.request()?.unwrap();
        walk.take(&request, &Reply::json(body))
    }

    #[test]
    fn null_is_an_empty_list_only_where_that_was_said() {
        let error = take(r#"{"data":null}"#, |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "no array of records at \"/data\" in the response of GET http://a/, but null");
        let taken = take(r#"{"data":null}"#, |walk| walk.null_is_empty = true).unwrap();
        assert_eq!((taken.count, taken.records), (0, Emit::Nothing));
        assert!(take("{}", |walk| walk.null_is_empty = true).is_err());
    }

    #[test]
    fn one_object_is_a_record_only_where_that_was_said() {
        assert!(take(r#"{"data":{"id":1}}"#, |_| {}).is_err());
        let taken = take(r#"{"data":{"id":1}}"#, |walk| walk.one_object = true).unwrap();
        assert_eq!((taken.count, taken.records), (1, Emit::Select));
        assert!(take(r#"{"data":{}}"#, |walk| walk.one_object = true).is_err());
    }

    #[test]
    fn a_damaged_checkpoint_is_refused() {
        for checkpoint in ["", "null", "{}", r#"{"at":1,"pages":""}"#, r#"{"at":null,"pages":"x"}"#] {
            let mut walk = Walk::new(Request::get("http://a/"), "", Single);
            assert!(matches!(walk.resume(checkpoint), Err(PageError::Checkpoint(_))), "{checkpoint}");
        }
    }

    #[test]
    fn a_checkpoint_stays_small_however_long_the_read() {
        let mut walk = Walk::new(Request::get("http://a/"), "", super::super::Cursor::token("/next", "c"));
        for page in 0..1000 {
            let request = walk.request().unwrap().unwrap();
            walk.records = "/data".into();
            walk.take(&request, &Reply::json(&format!(r#"{{"data":[{page}],"next":{page}}}"#))).unwrap();
        }
        assert!(walk.checkpoint().unwrap().len() < 1200);
    }
}
