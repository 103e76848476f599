//! The driver: sends what the paginator asks for and emits what comes, in order.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::key::field_pointer;
use super::walk::{Emit, Taken, Walk};
use super::{Paginator, Source, Watermark};
use crate::{Error, Flow, HttpError, Page, Pending, Read, Request, Response, ResponseView, Result, Seam};

/// Requests in flight at most, unless a connector says otherwise: what hides the latency of most
/// APIs without looking like an attack.
const IN_FLIGHT: usize = 8;

/// A read of pages about to run; made by [`Read::pages`](crate::Read::pages), or by
/// [`new`](Pages::new) for what is looked up on the side.
#[must_use = "nothing is read before `run`"]
pub struct Pages<'a, P> {
    walk: Walk<P>,
    since: Option<String>,
    resume: Option<String>,
    options: Options<'a>,
}

/// Looks at a response before its records are emitted.
pub(super) type Hook<'a> = Box<dyn FnMut(&dyn ResponseView) -> Result<()> + 'a>;

/// Tells a response that is an error in truth.
pub(super) type Judge<'a> = Box<dyn FnMut(&dyn ResponseView) -> Result<Option<Rejection>> + 'a>;

/// What a response is rejected for, see [`Pages::reject_if`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why, for people.
    pub reason: String,
    /// Whether the host shall try again.
    pub retryable: bool,
}

pub(super) struct Options<'a> {
    pub(super) in_flight: usize,
    pub(super) extra: Vec<(String, String)>,
    pub(super) hook: Option<Hook<'a>>,
    pub(super) judge: Option<Judge<'a>>,
}

impl<P: std::fmt::Debug> std::fmt::Debug for Pages<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("walk", &self.walk).finish_non_exhaustive()
    }
}

/// What a read of pages came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Pages that were emitted now; not those before an interruption.
    pub pages: u64,
    /// Records that were emitted now.
    pub records: u64,
    /// Whether the end was reached; false where the host said stop.
    pub complete: bool,
    /// What [`Connector::read`](crate::Connector::read) should return: the greatest value of
    /// [`Pages::watermark`] of a complete read, else the watermark that this read started from.
    pub watermark: Option<String>,
}

impl<'a, P: Paginator> Pages<'a, P> {
    /// Prepares to read pages apart from a read: to [`collect`](Pages::collect) the partitions of a
    /// stream, or to [`probe`](Pages::probe) whether a configuration works.
    ///
    /// ```no_run
    /// # use connector_sdk::prelude::*;
    /// # use connector_sdk::pages::Pages;
    /// #[derive(Deserialize)]
    /// struct Repository {
    ///     full_name: String,
    /// }
    ///
    /// fn partitions() -> Result<Vec<Partition>> {
    ///     let request = Request::get("https://api.example.com/repositories");
    ///     let repositories: Vec<Repository> = Pages::new(request, "", LinkHeader::new()).collect()?;
    ///     Ok(repositories.into_iter().map(|r| Partition::new(r.full_name)).collect())
    /// }
    /// ```
    pub fn new(request: Request, records: &str, paginator: P) -> Self {
        let walk = Walk::new(request, records, paginator);
        let options = Options { in_flight: IN_FLIGHT, extra: Vec::new(), hook: None, judge: None };
        Self { walk, since: None, resume: None, options }
    }

    /// Lets a read that was made by [`new`](Pages::new) start and go on where the host says.
    pub fn of(mut self, read: &Read) -> Self {
        self.since.clone_from(&read.since);
        self.resume.clone_from(&read.resume);
        self
    }

    /// Says where the API gives the number of records of the whole read: a pointer into the body, or
    /// a header's name. The host checks it, and some paginators fetch ahead by it.
    pub fn total(mut self, source: impl Into<Source>) -> Self {
        self.walk.total = Some(source.into());
        self
    }

    /// Takes the read's watermark from the records.
    pub fn watermark(mut self, watermark: Watermark) -> Self {
        self.walk.watermark = Some(watermark);
        self
    }

    /// Ends a list that is sorted by a field, newest first, where it falls behind the watermark that
    /// this read starts from; a full read goes to the end. Records that are exactly as old as the
    /// watermark come again: there may be some among them that were not there the last time.
    pub fn until_since(mut self, field: &str) -> Self {
        self.walk.until = self.since.clone().map(|since| (field_pointer(field), since));
        self
    }

    /// Adds a constant field to every record.
    ///
    /// # Errors
    /// [`Error::Other`] where the value has no JSON form.
    pub fn extra(mut self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        let name = name.into();
        let text = serde_json::to_string(value).map_err(|e| Error::other(format!("extra field {name:?}: {e}")))?;
        self.options.extra.push((name, text));
        Ok(self)
    }

    /// Has at most so many requests in flight; 8 unless said otherwise. With 1, no request is sent
    /// before the page before it is emitted.
    pub fn in_flight(mut self, requests: usize) -> Self {
        self.options.in_flight = requests.max(1);
        self
    }

    /// Looks at every response before its records are emitted: to refuse a 200 that is an error, or
    /// to take a value out of it.
    ///
    /// ```no_run
    /// # use connector_sdk::prelude::*;
    /// # fn read(read: &Read, request: Request) -> Result<()> {
    /// read.pages(request, "/result", Cursor::token("/next", "cursor"))
    ///     .each(|response| match response.json::<Option<String>>("/error")? {
    ///         Some(reason) => Err(Error::data(reason)),
    ///         None => Ok(()),
    ///     })
    ///     .run()?;
    /// # Ok(()) }
    /// ```
    pub fn each(mut self, look: impl FnMut(&dyn ResponseView) -> Result<()> + 'a) -> Self {
        self.options.hook = Some(Box::new(look));
        self
    }

    /// Looks at every response first, and tells those that are errors in truth: the host sends the request again where that
    /// may help, by its own rules, and else the read ends.
    ///
    /// ```no_run
    /// # use connector_sdk::prelude::*;
    /// # use connector_sdk::pages::Rejection;
    /// # fn read(read: &Read, request: Request) -> Result<()> {
    /// read.pages(request, "/result", Cursor::token("/next", "cursor"))
    ///     .reject_if(|response| {
    ///         let error = response.json::<Option<String>>("/error")?;
    ///         Ok(error.map(|reason| Rejection { retryable: reason == "busy", reason }))
    ///     })
    ///     .run()?;
    /// # Ok(()) }
    /// ```
    pub fn reject_if(mut self, judge: impl FnMut(&dyn ResponseView) -> Result<Option<Rejection>> + 'a) -> Self {
        self.options.judge = Some(Box::new(judge));
        self
    }

    /// Takes `null` in the place of the records for an empty list, as some APIs write it. Without
    /// this it is an error, because it is also what a failed answer looks like.
    pub fn null_is_empty(mut self) -> Self {
        self.walk.null_is_empty = true;
        self
    }

    /// Takes an object in the place of the array for one record.
    pub fn one_object(mut self) -> Self {
        self.walk.one_object = true;
        self
    }

    /// Does not take a page that comes again for a circle, for records that may well be all alike.
    pub fn allow_repeated_pages(mut self) -> Self {
        self.walk.repeats = true;
        self
    }

    /// Says that the list does not shift while it is read: nothing is deleted or moves in it, or the API reads from a
    /// snapshot. Without it, a list whose pages are counted is `unproven`.
    pub fn never_shifts(mut self) -> Self {
        self.walk.steady = true;
        self
    }

    /// Reads to the end, or until the host says stop.
    ///
    /// # Errors
    /// Where a request fails for good, a page is not what it should be, or a hook says so.
    pub fn run(mut self) -> Result<Summary> {
        match &self.resume {
            Some(checkpoint) => self.walk.resume(checkpoint)?,
            None => self.walk.mark.clone_from(&self.since),
        }
        if self.walk.watermark.is_some() {
            self.walk.now_ms = crate::clock::now_ms();
        }
        let mut summary = drive(&mut self.walk, &mut self.options, &mut Host)?;
        summary.watermark = if summary.complete { self.walk.mark } else { self.since };
        Ok(summary)
    }

    /// Reads all records into memory and emits nothing; for short lists such as partitions.
    ///
    /// # Errors
    /// As [`run`](Pages::run), and where a record is not a `T`.
    pub fn collect<T: DeserializeOwned>(mut self) -> Result<Vec<T>> {
        gather(&mut self.walk, &mut self.options, &mut Host)
    }

    /// Sends the first request alone and returns how many records came.
    ///
    /// # Errors
    /// As [`run`](Pages::run).
    pub fn probe(mut self) -> Result<u64> {
        let mut queue = VecDeque::new();
        let Some(first) = upcoming(&mut queue, &self.walk)? else { return Ok(0) };
        self.options.in_flight = 1;
        Ok(next(&mut queue, &mut self.walk, &mut self.options, &mut Host, first)?.1.count)
    }
}

/// The effects that the driver needs, so that it is tested without a host.
pub(super) trait Outside {
    type Response: ResponseView;
    type Pending;

    fn send(&mut self, request: &Request) -> Result<Self::Response, HttpError>;
    fn start(&mut self, request: &Request) -> Self::Pending;
    fn wait(&mut self, pending: Self::Pending) -> Result<Self::Response, HttpError>;
    fn reject(&mut self, response: Self::Response, rejection: &Rejection) -> Result<Self::Response, HttpError>;
    fn select(
        &mut self,
        response: Self::Response,
        records: &str,
        extra: &[(String, String)],
        with: With,
    ) -> Result<Flow>;
    /// Hands over only the records at these places.
    fn pick(
        &mut self,
        response: Self::Response,
        records: &str,
        places: &[u64],
        extra: &[(String, String)],
        with: With,
    ) -> Result<Flow>;
    /// Hands over a page without records.
    fn nothing(&mut self, with: With) -> Flow;
}

/// What goes along with a page.
pub(super) struct With {
    pub(super) checkpoint: String,
    pub(super) total: Option<u64>,
    pub(super) seam: Seam,
}

struct Host;

impl Outside for Host {
    type Response = Response;
    type Pending = Pending;

    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        request.send()
    }

    fn start(&mut self, request: &Request) -> Pending {
        request.start()
    }

    fn wait(&mut self, pending: Pending) -> Result<Response, HttpError> {
        pending.wait()
    }

    fn reject(&mut self, response: Response, rejection: &Rejection) -> Result<Response, HttpError> {
        response.reject(&rejection.reason, rejection.retryable)
    }

    fn select(&mut self, response: Response, records: &str, extra: &[(String, String)], with: With) -> Result<Flow> {
        Ok(selected(response, records, extra, with)?.emit())
    }

    fn pick(
        &mut self,
        response: Response,
        records: &str,
        places: &[u64],
        extra: &[(String, String)],
        with: With,
    ) -> Result<Flow> {
        // No response has as many records as would not fit.
        let places = places.iter().map(|place| u32::try_from(*place).unwrap_or(u32::MAX));
        Ok(selected(response, records, extra, with)?.keep(places)?.emit())
    }

    fn nothing(&mut self, with: With) -> Flow {
        Page::json("[]").checkpoint(with.checkpoint).total(with.total).seam(with.seam).emit()
    }
}

fn selected(response: Response, records: &str, extra: &[(String, String)], with: With) -> Result<Page> {
    let mut page = Page::select(response, records).checkpoint(with.checkpoint).total(with.total).seam(with.seam);
    for (name, value) in extra {
        page = page.extra_json(name, value.clone())?;
    }
    Ok(page)
}

pub(super) fn drive<P: Paginator, O: Outside>(
    walk: &mut Walk<P>,
    options: &mut Options<'_>,
    outside: &mut O,
) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut queue = VecDeque::new();
    while let Some(upcoming) = upcoming(&mut queue, walk)? {
        let (response, Taken { records, count, total, seam }) = next(&mut queue, walk, options, outside, upcoming)?;
        let with = With { checkpoint: walk.checkpoint()?, total, seam };
        let flow = match records {
            Emit::Select => outside.select(response, &walk.records, &options.extra, with)?,
            Emit::Pick(places) => outside.pick(response, &walk.records, &places, &options.extra, with)?,
            Emit::Nothing => outside.nothing(with),
        };
        summary.pages += 1;
        summary.records += count;
        if flow == Flow::Stop {
            return Ok(summary);
        }
    }
    summary.complete = true;
    Ok(summary)
}

/// Reads all records into memory.
fn gather<P: Paginator, O: Outside, T: DeserializeOwned>(
    walk: &mut Walk<P>,
    options: &mut Options<'_>,
    outside: &mut O,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    let mut last = None;
    let mut queue = VecDeque::new();
    while let Some(upcoming) = upcoming(&mut queue, walk)? {
        let request = upcoming.request.to_string();
        let (response, taken) = next(&mut queue, walk, options, outside, upcoming)?;
        let records = match taken.records {
            Emit::Select => walk.texts(&response)?,
            Emit::Pick(places) => picked(walk.texts(&response)?, &places),
            Emit::Nothing => Vec::new(),
        };
        // A page that begins with the last record of the one before has it twice.
        let again = taken.seam == Seam::Overlapping && last.is_some() && records.first() == last.as_ref();
        last = records.last().cloned().or(last);
        for record in with_extra(records, &options.extra).into_iter().skip(usize::from(again)) {
            all.push(serde_json::from_str(&record).map_err(|e| Error::data(format!("record of {request}: {e}")))?);
        }
    }
    Ok(all)
}

/// The page that comes next, and the request for it if that was sent already.
struct Upcoming<P> {
    request: Request,
    pending: Option<P>,
}

/// Says which page comes next; none at the end. What is in front of the queue was sent as just that.
fn upcoming<P: Paginator, T>(queue: &mut VecDeque<(Request, T)>, walk: &Walk<P>) -> Result<Option<Upcoming<T>>> {
    if let Some((request, pending)) = queue.pop_front() {
        return Ok(Some(Upcoming { request, pending: Some(pending) }));
    }
    Ok(walk.request()?.map(|request| Upcoming { request, pending: None }))
}

/// Receives the page that was asked for, steps over it, and starts what comes next.
fn next<P: Paginator, O: Outside>(
    queue: &mut VecDeque<(Request, O::Pending)>,
    walk: &mut Walk<P>,
    options: &mut Options<'_>,
    outside: &mut O,
    Upcoming { request, pending }: Upcoming<O::Pending>,
) -> Result<(O::Response, Taken)> {
    let mut response = match pending {
        Some(pending) => outside.wait(pending)?,
        None => outside.send(&request)?,
    };
    while let Some(judge) = &mut options.judge
        && let Some(rejection) = judge(&response)?
    {
        response = outside.reject(response, &rejection)?;
    }
    if let Some(hook) = &mut options.hook
        && !walk.ends(&response)
    {
        hook(&response)?;
    }
    let taken = walk.take(&request, &response)?;
    fill(queue, walk, options.in_flight, outside)?;
    Ok((response, taken))
}

/// Starts the requests that are known by now. What was started on a wrong guess is dropped.
fn fill<P: Paginator, O: Outside>(
    queue: &mut VecDeque<(Request, O::Pending)>,
    walk: &Walk<P>,
    in_flight: usize,
    outside: &mut O,
) -> Result<()> {
    if in_flight < 2 {
        return Ok(());
    }
    for place in 0..in_flight {
        let request = match place {
            0 => walk.request()?,
            _ => walk.ahead(place as u64),
        };
        let Some(request) = request else {
            queue.truncate(place);
            break;
        };
        if queue.get(place).is_some_and(|(asked, _)| *asked == request) {
            continue;
        }
        queue.truncate(place);
        let pending = outside.start(&request);
        queue.push_back((request, pending));
    }
    Ok(())
}

/// Those at these places.
pub(super) fn picked<T: Clone>(all: Vec<T>, places: &[u64]) -> Vec<T> {
    let at = |place: &u64| usize::try_from(*place).ok().and_then(|place| all.get(place).cloned());
    places.iter().filter_map(at).collect()
}

/// Puts the constant fields into records that are gathered; the host does it for those that are emitted.
fn with_extra(records: Vec<String>, extra: &[(String, String)]) -> Vec<String> {
    if extra.is_empty() {
        return records;
    }
    let fields: Vec<String> = extra.iter().map(|(name, value)| format!("{}:{value}", crate::json!(name))).collect();
    let fields = fields.join(",");
    let put = |record: String| match record.trim_end().strip_suffix('}').map(str::trim_end) {
        Some(open) if open.ends_with('{') => format!("{open}{fields}}}"),
        Some(open) => format!("{open},{fields}}}"),
        None => record,
    };
    records.into_iter().map(put).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Offset;
    use super::super::sim::{Api, Sim, number, reply, slice, things};
    use super::*;

    #[test]
    fn eight_requests_are_in_flight_and_pages_come_in_order() {
        let all = things(0..100);
        let sim = Sim::new(Offset::new("offset", "limit", 5)).total("/total");
        let mut walk = sim.walk();
        let (mut options, mut most) = (Options { in_flight: 8, extra: Vec::new(), hook: None, judge: None }, 0);
        let mut api =
            Api::new(|request| reply(slice(&all, number(request, "offset").unwrap(), 5), json!({ "total": 100 })));
        while let Some(request) = walk.request().unwrap() {
            let mut queue = VecDeque::new();
            let response = api.send(&request).unwrap();
            walk.take(&request, &response).unwrap();
            fill(&mut queue, &walk, options.in_flight, &mut api).unwrap();
            most = most.max(queue.len());
        }
        assert_eq!(most, 8);
        let mut api =
            Api::new(|request| reply(slice(&all, number(request, "offset").unwrap(), 5), json!({ "total": 100 })));
        let summary = drive(&mut sim.walk(), &mut options, &mut api).unwrap();
        assert_eq!(api.records(), all);
        assert_eq!((summary.pages, summary.records, api.requests.len()), (26, 125, 26));
    }

    #[test]
    fn each_page_is_asked_for_once_also_where_records_are_gathered() {
        let all = things(0..100);
        let sim = Sim::new(Offset::new("offset", "limit", 5)).total("/total");
        for in_flight in [1, 8] {
            let mut options = Options { in_flight, extra: Vec::new(), hook: None, judge: None };
            let mut api =
                Api::new(|request| reply(slice(&all, number(request, "offset").unwrap(), 5), json!({ "total": 100 })));
            let gathered: Vec<Value> = gather(&mut sim.walk(), &mut options, &mut api).unwrap();
            assert_eq!(gathered, all, "{in_flight} in flight");
            let asked: std::collections::BTreeSet<String> = api.requests.iter().map(ToString::to_string).collect();
            assert_eq!((asked.len(), api.requests.len()), (26, 26), "{in_flight} in flight");
        }
    }

    #[test]
    fn a_hook_sees_each_response_before_its_records_leave() {
        let sim = Sim::new(Offset::new("offset", "limit", 5));
        let hook: Hook<'_> = Box::new(|response| match response.json::<Option<String>>("/error")? {
            Some(reason) => Err(Error::data(reason)),
            None => Ok(()),
        });
        let mut options = Options { in_flight: 8, extra: Vec::new(), hook: Some(hook), judge: None };
        let mut api = Api::new(|request| match number(request, "offset").unwrap() {
            0 => reply(things(0..5), json!({})),
            _ => reply(things(5..10), json!({ "error": "partial result" })),
        });
        let error = drive(&mut sim.walk(), &mut options, &mut api).unwrap_err();
        assert_eq!(error, Error::data("partial result"));
        assert_eq!(api.records(), things(0..5));
    }

    #[test]
    fn a_rejected_response_is_asked_for_again_or_ends_the_read() {
        let sim = Sim::new(Offset::new("offset", "limit", 5));
        let judge = || -> Judge<'static> {
            Box::new(|response| {
                let error = response.json::<Option<String>>("/error")?;
                Ok(error.map(|reason| Rejection { retryable: reason == "busy", reason }))
            })
        };
        let mut options = Options { in_flight: 1, extra: Vec::new(), hook: None, judge: Some(judge()) };
        let mut busy = 2;
        let mut api = Api::new(|request| match number(request, "offset").unwrap() {
            0 if busy > 0 => {
                busy -= 1;
                reply(Vec::new(), json!({ "error": "busy" }))
            }
            0 => reply(things(0..5), json!({})),
            _ => reply(things(5..10), json!({ "error": "partial result" })),
        });
        let error = drive(&mut sim.walk(), &mut options, &mut api).unwrap_err();
        assert!(matches!(&error, Error::Data(text) if text.ends_with("an error in truth: partial result")), "{error}");
        assert_eq!(api.records(), things(0..5));
        assert_eq!(api.requests.len(), 4);
    }

    #[test]
    fn a_list_newest_first_ends_behind_the_watermark() {
        let all: Vec<Value> = [9, 8, 7, 6, 5, 5, 4, 3, 2, 1].iter().map(|t| json!({ "t": t })).collect();
        let sim = Sim::new(Offset::new("offset", "limit", 4));
        for (since, newer) in [("5", 6), ("0", 10), ("6", 4), ("100", 0)] {
            let mut walk = sim.walk();
            walk.until = Some(("/t".into(), since.into()));
            let mut options = Options { in_flight: 8, extra: Vec::new(), hook: None, judge: None };
            let mut api = Api::new(|request| reply(slice(&all, number(request, "offset").unwrap(), 4), json!({})));
            assert!(drive(&mut walk, &mut options, &mut api).unwrap().complete);
            assert_eq!(api.records(), all[..newer], "since {since}");
        }
    }

    #[test]
    fn what_is_no_record_does_not_tell_where_a_list_is_and_is_handed_over() {
        let all = [json!({ "t": 9 }), json!("no JSON"), json!({ "t": 5 }), json!({ "t": 4 }), json!("none either")];
        let sim = Sim::new(Offset::new("offset", "limit", 5));
        for (since, taken) in [("5", vec![0, 1, 2, 4]), ("0", vec![0, 1, 2, 3, 4]), ("9", vec![0, 1, 4])] {
            let mut walk = sim.walk();
            walk.until = Some(("/t".into(), since.into()));
            let mut options = Options { in_flight: 1, extra: Vec::new(), hook: None, judge: None };
            let mut api = Api::new(|request| reply(slice(&all, number(request, "offset").unwrap(), 5), json!({})));
            drive(&mut walk, &mut options, &mut api).unwrap();
            assert_eq!(api.records(), picked(all.to_vec(), &taken), "since {since}");
        }
        let lacks = [json!({ "t": 9 }), json!({})];
        let mut walk = sim.walk();
        walk.until = Some(("/t".into(), "5".into()));
        let mut options = Options { in_flight: 1, extra: Vec::new(), hook: None, judge: None };
        let mut api = Api::new(|_| reply(lacks.to_vec(), json!({})));
        assert!(drive(&mut walk, &mut options, &mut api).is_err(), "a record without the field may be anywhere");
    }

    #[test]
    fn extra_fields_are_put_into_gathered_records() {
        let extra = [("org\"".to_owned(), "\"a\"".to_owned()), ("n".to_owned(), "1".to_owned())];
        let records = with_extra(vec!["{ }".into(), "{\"id\":1 }".into()], &extra);
        let records: Vec<Value> = records.iter().map(|r| serde_json::from_str(r).unwrap()).collect();
        assert_eq!(records, [json!({"org\"": "a", "n": 1}), json!({"id": 1, "org\"": "a", "n": 1})]);
    }

    #[test]
    fn the_watermark_is_carried_through_every_interruption() {
        let all: Vec<Value> = [3, 9, 4, 1, 5].iter().map(|t| json!({ "t": t })).collect();
        let mut sim = Sim::new(Offset::new("offset", "limit", 1));
        sim.watermark = Some(Watermark::greatest("t"));
        sim.is_exact(|request| reply(slice(&all, number(request, "offset").unwrap(), 1), json!({})), &all);
    }
}
