//! A simulated API and host, for the tests of the paginators.

use std::collections::VecDeque;

use serde_json::Value;

use super::drive::{Options, Outside, Rejection, Summary, With, drive, picked};
use super::walk::Walk;
use super::{Paginator, Source, Watermark};
use crate::testing::Reply;
use crate::{Error, Flow, HttpError, Request, ResponseView, Result, Seam};

/// An API as a function, and what it and the host have seen.
pub(super) struct Api<'a> {
    answer: Box<dyn FnMut(&Request) -> Reply + 'a>,
    pub(super) requests: Vec<String>,
    pub(super) dropped: usize,
    /// Pages as the host got them: records and checkpoint.
    pub(super) pages: Vec<(Vec<Value>, String)>,
    pub(super) totals: Vec<Option<u64>>,
    pub(super) seams: Vec<Seam>,
    /// Pages that did not begin with the last record before.
    pub(super) shifts: usize,
    /// The last record of all pages.
    edge: Option<Value>,
    stop_after: usize,
}

impl<'a> Api<'a> {
    pub(super) fn new(answer: impl FnMut(&Request) -> Reply + 'a) -> Self {
        Self {
            answer: Box::new(answer),
            requests: Vec::new(),
            dropped: 0,
            pages: Vec::new(),
            totals: Vec::new(),
            seams: Vec::new(),
            shifts: 0,
            edge: None,
            stop_after: usize::MAX,
        }
    }

    pub(super) fn records(&self) -> Vec<Value> {
        self.pages.iter().flat_map(|(records, _)| records.clone()).collect()
    }

    /// Leaves out what the host leaves out.
    fn page(&mut self, mut records: Vec<Value>, with: With) -> Flow {
        let overlaps = with.seam == Seam::Overlapping;
        if overlaps && self.edge.is_some() && records.first() == self.edge.as_ref() {
            records.remove(0);
        } else if overlaps {
            self.shifts += 1;
        }
        self.edge = records.last().cloned().or(self.edge.take());
        self.seams.push(with.seam);
        self.pages.push((records, with.checkpoint));
        self.totals.push(with.total);
        if self.pages.len() >= self.stop_after { Flow::Stop } else { Flow::Continue }
    }
}

/// The simulated response: what the API said, with where it came from.
pub(super) struct Pending(Request);

impl Outside for Api<'_> {
    type Response = Reply;
    type Pending = Pending;

    fn send(&mut self, request: &Request) -> Result<Reply, HttpError> {
        self.requests.push(request.full_url());
        let reply = (self.answer)(request);
        let status = reply.status();
        if (200..300).contains(&status) || request.accept.contains(&status) {
            return Ok(reply);
        }
        Err(HttpError::Status { url: request.url.clone(), status, attempts: 1, excerpt: String::new() })
    }

    fn start(&mut self, request: &Request) -> Pending {
        self.dropped += 1;
        Pending(request.clone())
    }

    fn wait(&mut self, pending: Pending) -> Result<Reply, HttpError> {
        self.dropped -= 1;
        self.send(&pending.0)
    }

    fn reject(&mut self, reply: Reply, rejection: &Rejection) -> Result<Reply, HttpError> {
        let url = self.requests.last().cloned().unwrap_or_default();
        if rejection.retryable {
            return self.send(&Request::get(url));
        }
        let (reason, retryable) = (rejection.reason.clone(), rejection.retryable);
        Err(HttpError::Rejected { url, status: reply.status(), attempts: 1, reason, retryable })
    }

    fn select(&mut self, reply: Reply, records: &str, extra: &[(String, String)], with: With) -> Result<Flow> {
        let records = selected(&reply, records, extra)?;
        Ok(self.page(records, with))
    }

    fn pick(
        &mut self,
        reply: Reply,
        records: &str,
        places: &[u64],
        extra: &[(String, String)],
        with: With,
    ) -> Result<Flow> {
        let records = picked(selected(&reply, records, extra)?, places);
        Ok(self.page(records, with))
    }

    fn nothing(&mut self, with: With) -> Flow {
        self.page(Vec::new(), with)
    }
}

fn selected(reply: &Reply, records: &str, extra: &[(String, String)]) -> Result<Vec<Value>> {
    let text = reply.json_text(records)?.unwrap_or_default();
    let mut records: Vec<Value> = serde_json::from_str(&text).map_err(Error::data)?;
    for record in &mut records {
        for (name, value) in extra {
            record[name] = serde_json::from_str(value).map_err(Error::data)?;
        }
    }
    Ok(records)
}

/// A read of a simulated API.
pub(super) struct Sim<P> {
    pub(super) paginator: P,
    pub(super) request: Request,
    pub(super) total: Option<Source>,
    pub(super) watermark: Option<Watermark>,
    pub(super) in_flight: usize,
}

impl<P: Paginator + Clone> Sim<P> {
    pub(super) fn new(paginator: P) -> Self {
        let request = Request::get("https://api.example.com/v1/things");
        Self { paginator, request, total: None, watermark: None, in_flight: 8 }
    }

    pub(super) fn total(mut self, source: &str) -> Self {
        self.total = Some(source.into());
        self
    }

    pub(super) fn walk(&self) -> Walk<P> {
        let mut walk = Walk::new(self.request.clone(), "/data", self.paginator.clone());
        walk.total.clone_from(&self.total);
        walk.watermark.clone_from(&self.watermark);
        walk
    }

    pub(super) fn read(&self, api: &mut Api<'_>, resume: Option<&str>) -> Result<Summary> {
        let mut walk = self.walk();
        if let Some(checkpoint) = resume {
            walk.resume(checkpoint)?;
        }
        let mut options = Options { in_flight: self.in_flight, extra: Vec::new(), hook: None, judge: None };
        let mut summary = drive(&mut walk, &mut options, api)?;
        summary.watermark = walk.mark;
        Ok(summary)
    }

    /// Reads everything, with one and with eight requests in flight, then stops after each page and
    /// resumes from its checkpoint, and from there again: the records are always exactly these.
    pub(super) fn is_exact(&self, answer: impl Fn(&Request) -> Reply + Copy, expected: &[Value]) {
        for in_flight in [1, 8] {
            let sim = Sim { in_flight, request: self.request.clone(), ..self.parts() };
            let mut whole = Api::new(answer);
            let summary = sim.read(&mut whole, None).unwrap();
            assert!(summary.complete);
            let again = whole.seams.iter().filter(|seam| **seam == Seam::Overlapping).count();
            assert_eq!(summary.records, (expected.len() + again) as u64);
            assert_eq!((whole.records().as_slice(), whole.shifts), (expected, 0));
            for stop_after in 1..=whole.pages.len() {
                let mut first = Api { stop_after, ..Api::new(answer) };
                assert!(!sim.read(&mut first, None).unwrap().complete);
                let mut rest = Api { edge: first.edge.clone(), ..Api::new(answer) };
                let resumed = sim.read(&mut rest, Some(&first.pages[stop_after - 1].1)).unwrap();
                assert!(resumed.complete);
                assert_eq!(resumed.watermark, summary.watermark, "the watermark survives the interruption");
                let union: Vec<Value> = [first.records(), rest.records()].concat();
                assert_eq!(union, expected, "interrupted after page {stop_after} with {in_flight} in flight");
            }
            // Interrupted after every single page.
            let (mut union, mut checkpoint) = (Vec::new(), None::<String>);
            loop {
                let edge = union.last().cloned();
                let mut step = Api { stop_after: 1, edge, ..Api::new(answer) };
                let summary = sim.read(&mut step, checkpoint.as_deref()).unwrap();
                union.extend(step.records());
                match step.pages.pop() {
                    Some((_, next)) => checkpoint = Some(next),
                    None => {
                        assert!(summary.complete);
                        break;
                    }
                }
            }
            assert_eq!(union, expected);
        }
    }

    /// Reads until the error that must come, and returns it with the records before it.
    pub(super) fn fails(&self, answer: impl FnMut(&Request) -> Reply) -> (String, Vec<Value>) {
        let mut api = Api::new(answer);
        let error = self.read(&mut api, None).unwrap_err();
        (error.to_string(), api.records())
    }

    fn parts(&self) -> Self {
        Self {
            paginator: self.paginator.clone(),
            request: self.request.clone(),
            total: self.total.clone(),
            watermark: self.watermark.clone(),
            in_flight: self.in_flight,
        }
    }
}

/// A query parameter of a request, wherever it stands, decoded once.
pub(super) fn param(request: &Request, name: &str) -> Option<String> {
    let url = request.full_url();
    let query = url.split_once('?')?.1;
    let pair = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find(|(n, _)| *n == name)?;
    let (mut out, mut bytes) = (Vec::new(), pair.1.bytes().collect::<VecDeque<_>>());
    while let Some(byte) = bytes.pop_front() {
        if byte == b'%' {
            let hex: String = bytes.drain(..2).map(char::from).collect();
            out.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    Some(String::from_utf8(out).unwrap())
}

/// A numeric query parameter.
pub(super) fn number(request: &Request, name: &str) -> Option<usize> {
    param(request, name).map(|text| text.parse().unwrap())
}

/// Records `{"id": n}`.
pub(super) fn things(ids: std::ops::Range<usize>) -> Vec<Value> {
    ids.map(|id| crate::json!({ "id": id })).collect()
}

/// A page of an existing list; beyond its end it is empty.
pub(super) fn slice(all: &[Value], from: usize, count: usize) -> Vec<Value> {
    all.iter().skip(from).take(count).cloned().collect()
}

/// A reply with the records at `/data` and other members beside them.
pub(super) fn reply(records: Vec<Value>, mut rest: Value) -> Reply {
    rest["data"] = Value::Array(records);
    Reply::json(&rest.to_string())
}
