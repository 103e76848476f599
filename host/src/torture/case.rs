//! One case: what a seed makes of the recording.

use std::collections::HashMap;

use super::adversary::{Fault, Script, harmless};
use super::kind::Kind;
use super::lies::{self, Drift};
use super::recording::{Answer, Asked, Recording};
use super::truth::{PageOf, Records, Truth, hash};
use crate::http::http_date;
use crate::run::plural;

/// Most times that one request fails: the host tries six times.
const FAILURES: usize = 5;
/// Deaths in one case of `killed-everywhere`: each takes a start of the connector.
const MAX_DEATHS: usize = 40;

const JSON: &str = "application/json";

/// Makes another answer of a recorded one, and names it.
type Whole = dyn Fn(&Answer, &mut fastrand::Rng) -> (Answer, String);

/// A case, ready to be played.
pub(super) struct Case {
    pub(super) kind: Kind,
    /// What is done, in words.
    pub(super) what: String,
    pub(super) script: Script,
    /// What the API of this case has to give.
    pub(super) records: Records,
    /// A total that the connector has to have seen, or nothing can be said.
    pub(super) total: Option<u64>,
    /// Records in a part: how often a run commits.
    pub(super) part_rows: u64,
}

/// Makes the cases of a recording.
pub(super) struct Cases<'a> {
    truth: &'a Truth,
    recording: &'a Recording,
    started_ms: u64,
    /// The kinds that fit the recording.
    pub(super) kinds: Vec<Kind>,
    /// Those that don't, and why.
    pub(super) left_out: Vec<(Kind, &'static str)>,
}

impl<'a> Cases<'a> {
    pub(super) fn new(truth: &'a Truth, recording: &'a Recording) -> Self {
        let started_ms = recording.session.started_ms;
        let mut cases = Self { truth, recording, started_ms, kinds: Vec::new(), left_out: Vec::new() };
        for kind in Kind::ALL {
            match cases.unfit(kind) {
                None => cases.kinds.push(kind),
                Some(reason) => cases.left_out.push((kind, reason)),
            }
        }
        cases
    }

    /// Why no case of a kind can be made.
    fn unfit(&self, kind: Kind) -> Option<&'static str> {
        let (fits, reason) = match kind {
            Kind::Throttled | Kind::ThrottledMute | Kind::Refused | Kind::Slow => (true, ""),
            Kind::Unavailable | Kind::ServerError | Kind::Cut | Kind::Silence => {
                (self.truth.asked.iter().any(Asked::is_repeatable), "no request may be sent twice")
            }
            Kind::Storm | Kind::Killed | Kind::KilledEverywhere | Kind::Outage => (true, ""),
            Kind::Forbidden | Kind::ErrorBody | Kind::Html | Kind::EmptyObject | Kind::NoBody => {
                (!self.answered().is_empty(), "no answer has a status of success")
            }
            Kind::Truncated => (!self.json().is_empty(), "no answer is JSON"),
            Kind::PageAgain | Kind::Cycle => (!self.neighbours().is_empty(), "no stream has two pages that differ"),
            Kind::PageShort => (!self.short().is_empty(), NO_LIST),
            Kind::PageEmpty => (!self.emptied().is_empty(), "no page in the middle is known to have one behind it"),
            Kind::PageSkipped => (!self.skipped().is_empty(), "no stream of several pages has a total"),
            Kind::TotalChanges => (!self.totals().is_empty(), "no stream of several pages has a total"),
            Kind::TypeChanged | Kind::ShapeChanged | Kind::Nulled | Kind::FieldAdded | Kind::FieldRemoved => {
                (!self.lists().is_empty(), NO_LIST)
            }
            Kind::Reordered => (self.lists().iter().any(|page| page.records.len() > 1), NO_LIST),
        };
        (!fits).then_some(reason)
    }

    /// Makes the case of a seed; none where the kind that falls to it cannot be made of what it chose.
    pub(super) fn of(&self, seed: u64) -> Option<Case> {
        let kinds = self.kinds.len() as u64;
        let kind = *self.kinds.get(usize::try_from(seed.checked_rem(kinds)?).ok()?)?;
        let round = seed / kinds;
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x746f_7274);
        let random = &mut random;
        let mut case = Case {
            kind,
            what: String::new(),
            script: Script::Honest,
            records: self.truth.records.clone(),
            total: None,
            part_rows: u64::MAX,
        };
        match kind {
            Kind::Killed | Kind::KilledEverywhere => self.deaths(&mut case, round, random)?,
            Kind::Storm => {
                let faults = self.faults(random);
                case.what = "every request fails up to three times before it is answered".to_owned();
                case.script = Script::Storm(random.u64(..), faults);
            }
            Kind::Outage => {
                let asked = self.a_page_or_request(round)?;
                let fault = match random.u8(0..3) {
                    0 => Fault::Refused,
                    1 => Fault::Silence,
                    _ => Fault::Answer(Answer::new(500, "text/plain", "internal error")),
                };
                case.what = format!("from {asked} on, {}", describe(&fault));
                case.script = Script::Outage(asked, fault);
            }
            Kind::Throttled
            | Kind::ThrottledMute
            | Kind::Unavailable
            | Kind::ServerError
            | Kind::Refused
            | Kind::Cut
            | Kind::Silence
            | Kind::Slow => self.fault(&mut case, round, random)?,
            _ => self.lie(&mut case, random)?,
        }
        Some(case)
    }

    /// The requests in turn, so that one after another each is met.
    fn in_turn<'b>(of: &[&'b Asked], round: u64) -> Option<&'b Asked> {
        of.get(usize::try_from(round.checked_rem(of.len() as u64)?).ok()?).copied()
    }

    fn a_page_or_request(&self, round: u64) -> Option<Asked> {
        let pages: Vec<&Asked> = self.truth.pages().map(|page| &page.asked).collect();
        let all: Vec<&Asked> = self.truth.asked.iter().collect();
        Self::in_turn(if pages.is_empty() { &all } else { &pages }, round).cloned()
    }

    fn deaths(&self, case: &mut Case, round: u64, random: &mut fastrand::Rng) -> Option<()> {
        let all: Vec<&Asked> = self.truth.asked.iter().collect();
        let requests: Vec<Asked> = if case.kind == Kind::Killed {
            case.part_rows = *random.choice(&[1, 1, 40, u64::MAX])?;
            let target = Self::in_turn(&all, round)?;
            case.what = format!("the process dies at {target}");
            vec![target.clone()]
        } else {
            case.part_rows = 1;
            let chosen = random.choose_multiple(all.iter().copied(), MAX_DEATHS);
            case.what = match chosen.len() {
                1 => "the process dies at its one request".to_owned(),
                all => format!("the process dies at each of {all} requests"),
            };
            chosen.into_iter().cloned().collect()
        };
        let parts = match case.part_rows {
            1 => "each page is committed",
            u64::MAX => "nothing is committed before the end",
            _ => "every 40 records are committed",
        };
        case.what = format!("{}; {parts}", case.what);
        case.script = Script::Deaths(requests);
        Some(())
    }

    fn fault(&self, case: &mut Case, round: u64, random: &mut fastrand::Rng) -> Option<()> {
        let fault = self.one_fault(case.kind, random);
        let fit: Vec<&Asked> =
            self.truth.asked.iter().filter(|asked| asked.is_repeatable() || harmless(&fault)).collect();
        let asked = Self::in_turn(&fit, round)?;
        let times = random.usize(1..=FAILURES);
        let faults: Vec<Fault> = (0..times).map(|_| self.one_fault(case.kind, random)).collect();
        let names: Vec<String> = faults.iter().map(describe).collect();
        case.what = format!("{asked}: {}", names.join(", then "));
        case.script = Script::Faults(asked.clone(), faults);
        Some(())
    }

    fn one_fault(&self, kind: Kind, random: &mut fastrand::Rng) -> Fault {
        let told = |mut answer: Answer, random: &mut fastrand::Rng| {
            let seconds = random.u64(1..=120);
            let value = match random.bool() {
                true => seconds.to_string(),
                false => http_date(self.started_ms.saturating_add(seconds * 1_000)),
            };
            answer.headers.push(("retry-after".to_owned(), value));
            answer
        };
        let plain = |status: u16| Answer::new(status, "text/plain", format!("status {status}"));
        match kind {
            Kind::Throttled => Fault::Answer(told(plain(429), random)),
            Kind::ThrottledMute => Fault::Answer(plain(429)),
            Kind::Unavailable if random.bool() => Fault::Answer(told(plain(503), random)),
            Kind::Unavailable => Fault::Answer(plain(503)),
            Kind::ServerError => Fault::Answer(plain(*random.choice(&[500, 502, 504]).unwrap_or(&500))),
            Kind::Refused => Fault::Refused,
            Kind::Cut => Fault::Cut(random.u64(0..1_000)),
            Kind::Silence => Fault::Silence,
            _ => Fault::Slow(random.u64(1_000..29_000)),
        }
    }

    fn faults(&self, random: &mut fastrand::Rng) -> Vec<Fault> {
        let kinds = [
            Kind::Throttled,
            Kind::ThrottledMute,
            Kind::Unavailable,
            Kind::ServerError,
            Kind::Refused,
            Kind::Cut,
            Kind::Silence,
            Kind::Slow,
        ];
        kinds.into_iter().map(|kind| self.one_fault(kind, random)).collect()
    }

    fn answer(&self, asked: &Asked) -> Option<&'a Answer> {
        self.recording.get(asked, 0)
    }

    /// Requests that are answered by success.
    fn answered(&self) -> Vec<&'a Asked> {
        let success = |asked: &&Asked| self.answer(asked).is_some_and(|answer| (200..300).contains(&answer.status));
        self.truth.asked.iter().filter(success).collect()
    }

    fn json(&self) -> Vec<&'a Asked> {
        let is_json = |asked: &&Asked| {
            let body = self.answer(asked).map(|answer| answer.body.clone()).unwrap_or_default();
            // What is as short as `[]` has no middle.
            body.len() > 8 && matches!(body.trim_ascii().first(), Some(b'{' | b'['))
        };
        self.answered().into_iter().filter(is_json).collect()
    }

    /// Pages whose list of records is known.
    fn lists(&self) -> Vec<&'a PageOf> {
        self.truth.pages().filter(|page| page.list.is_some()).collect()
    }

    /// Pages that differ from the one before them: the read, and the page's place in it.
    fn neighbours(&self) -> Vec<(&'a [PageOf], usize)> {
        let reads = self.truth.reads.iter();
        let pairs = reads.flat_map(|read| (1..read.len()).map(move |at| (read.as_slice(), at)));
        let body = |page: &PageOf| self.answer(&page.asked).map(|answer| &answer.body);
        let differ = |(read, at): &(&[PageOf], usize)| match (read.get(at - 1), read.get(*at)) {
            (Some(before), Some(page)) => before.asked != page.asked && body(before) != body(page),
            _ => false,
        };
        pairs.filter(differ).collect()
    }

    /// Pages of which it can be noticed that they should have more: by a total, or because more pages come. With whether more
    /// come.
    fn provable(&self) -> impl Iterator<Item = (&'a PageOf, bool)> {
        let reads = self.truth.reads.iter();
        let pages = reads.flat_map(|read| read.iter().enumerate().map(move |(at, page)| (page, at + 1 < read.len())));
        pages.filter(|(page, more)| page.list.is_some() && (page.total.is_some() || *more))
    }

    /// Pages that can lose records and keep some.
    fn short(&self) -> Vec<&'a PageOf> {
        self.provable().map(|(page, _)| page).filter(|page| page.records.len() > 1).collect()
    }

    /// Pages in the middle that say that more come: by a total, or by a link.
    fn emptied(&self) -> Vec<&'a PageOf> {
        let linked = |page: &PageOf| {
            let headers = self.answer(&page.asked).map(|answer| answer.headers.as_slice()).unwrap_or_default();
            headers.iter().any(|(name, value)| name == "link" && value.contains("next"))
        };
        self.provable()
            .filter(|(page, more)| *more && (page.total.is_some() || linked(page)))
            .map(|(page, _)| page)
            .collect()
    }

    fn skipped(&self) -> Vec<(&'a [PageOf], usize)> {
        let has_total = |(read, at): &(&[PageOf], usize)| read.get(*at).is_some_and(|page| page.total.is_some());
        self.neighbours().into_iter().filter(has_total).collect()
    }

    fn totals(&self) -> Vec<(&'a [PageOf], usize)> {
        let told = |page: &PageOf| {
            let answer = self.answer(&page.asked)?;
            lies::total_of(answer, page.total?, page.list.as_deref())
        };
        let all = |(read, at): &(&[PageOf], usize)| read.iter().skip(*at).all(|page| told(page).is_some());
        self.skipped().into_iter().filter(all).collect()
    }

    fn lie(&self, case: &mut Case, random: &mut fastrand::Rng) -> Option<()> {
        let mut times = if random.bool() { 1 } else { u64::MAX };
        let mut lies = HashMap::new();
        let mut whole = |of: &[&Asked], random: &mut fastrand::Rng, lie: &Whole| {
            let asked = *random.choice(of)?;
            let (answer, name) = lie(self.answer(asked)?, random);
            lies.insert(asked.clone(), answer);
            Some(format!("{asked} is answered with {name}"))
        };
        let what = match case.kind {
            Kind::Forbidden => whole(&self.answered(), random, &|_, random| {
                let status = *random.choice(&[401, 403, 404, 410]).unwrap_or(&404);
                (Answer::new(status, JSON, r#"{"message":"no"}"#), format!("status {status}"))
            })?,
            Kind::ErrorBody => whole(&self.answered(), random, &|_, random| {
                let body = lies::error_body(random).to_string();
                (Answer::new(200, JSON, body.clone()), format!("status 200 and {body}"))
            })?,
            Kind::Html => whole(&self.answered(), random, &|_, _| (lies::html(), "a page for people".to_owned()))?,
            Kind::EmptyObject => {
                whole(&self.answered(), random, &|_, _| (Answer::new(200, JSON, "{}"), "{}".to_owned()))?
            }
            Kind::NoBody => {
                whole(&self.answered(), random, &|_, _| (Answer::new(200, JSON, ""), "nothing".to_owned()))?
            }
            Kind::Truncated => whole(&self.json(), random, &|answer, random| {
                let short = lies::truncated(answer, random);
                let name = format!("{} of its {} bytes", short.body.len(), answer.body.len());
                (short, name)
            })?,
            Kind::PageAgain => {
                times = 1;
                let (read, at) = random.choice(self.neighbours())?;
                self.instead(&mut lies, read.get(at)?, read.get(at - 1)?)?
            }
            Kind::Cycle => {
                times = u64::MAX;
                let (read, at) = random.choice(self.neighbours())?;
                let length = random.usize(1..=at.min(50));
                let what = self.instead(&mut lies, read.get(at)?, read.get(at - length)?)?;
                format!("{what}, each time")
            }
            Kind::PageSkipped => {
                times = u64::MAX;
                let (read, at) = random.choice(self.skipped())?;
                self.instead(&mut lies, read.get(at - 1)?, read.get(at)?)?
            }
            Kind::PageShort => {
                times = u64::MAX;
                let page = random.choice(self.short())?;
                let left = random.usize(1..page.records.len());
                self.shorten(case, &mut lies, page, left)?
            }
            Kind::PageEmpty => {
                times = u64::MAX;
                let page = random.choice(self.emptied())?;
                self.shorten(case, &mut lies, page, 0)?
            }
            Kind::TotalChanges => {
                times = u64::MAX;
                self.totals_change(case, &mut lies, random)?
            }
            Kind::Reordered => {
                let lists: Vec<&PageOf> = self.lists().into_iter().filter(|page| page.records.len() > 1).collect();
                let page = *random.choice(&lists)?;
                let answer = lies::with_list(self.answer(&page.asked)?, page.list.as_deref()?, |records| {
                    records.reverse();
                    let by = random.usize(0..records.len().max(1));
                    records.rotate_left(by);
                })?;
                lies.insert(page.asked.clone(), answer);
                format!("the records of {} come in another order", page.asked)
            }
            kind => {
                times = u64::MAX;
                self.drift(case, &mut lies, kind, random)?
            }
        };
        let often = if times == 1 { ", once" } else { "" };
        case.what = format!("{what}{often}");
        case.script = Script::Lies(lies, times);
        Some(())
    }

    /// Answers a page by another one.
    fn instead(&self, lies: &mut HashMap<Asked, Answer>, page: &PageOf, other: &PageOf) -> Option<String> {
        lies.insert(page.asked.clone(), self.answer(&other.asked)?.clone());
        Some(format!("{} is answered with what belongs to {}", page.asked, other.asked))
    }

    /// Leaves so many records of a page.
    fn shorten(
        &self,
        case: &mut Case,
        lies: &mut HashMap<Asked, Answer>,
        page: &PageOf,
        left: usize,
    ) -> Option<String> {
        let answer = lies::with_list(self.answer(&page.asked)?, page.list.as_deref()?, |list| list.truncate(left))?;
        lies.insert(page.asked.clone(), answer);
        // Without a total nobody can know of them; all the others can be had.
        for other in self.truth.pages().filter(|other| other.asked == page.asked && other.total.is_none()) {
            for record in other.records.iter().skip(left) {
                take(&mut case.records, &other.stream, hash(record), -1);
            }
        }
        Some(format!("{} has {left} of its {}", page.asked, plural(page.records.len() as u64, "record")))
    }

    fn totals_change(
        &self,
        case: &mut Case,
        lies: &mut HashMap<Asked, Answer>,
        random: &mut fastrand::Rng,
    ) -> Option<String> {
        let (read, from) = random.choice(self.totals())?;
        let total = read.get(from)?.total?;
        let other = if random.bool() { total.saturating_sub(random.u64(1..=3)) } else { total + random.u64(1..=5) };
        for page in read.iter().skip(from) {
            let answer = self.answer(&page.asked)?;
            let place = lies::total_of(answer, page.total?, page.list.as_deref())?;
            lies.insert(page.asked.clone(), lies::with_total(answer, &place, other)?);
        }
        // Answers that are no pages, as the empty one behind the last, tell the same.
        let first = &read.get(from)?.asked;
        let later = self.truth.asked.iter().skip_while(|asked| *asked != first);
        for asked in
            later.filter(|asked| asked.path() == first.path() && !read.iter().any(|page| page.asked == **asked))
        {
            let answer = self.answer(asked)?;
            if let Some(place) = lies::total_of(answer, total, None) {
                lies.insert(asked.clone(), lies::with_total(answer, &place, other)?);
            }
        }
        case.total = Some(other);
        Some(format!("from {} on, the total is {other} instead of {total}", read.get(from)?.asked))
    }

    fn drift(
        &self,
        case: &mut Case,
        lies: &mut HashMap<Asked, Answer>,
        kind: Kind,
        random: &mut fastrand::Rng,
    ) -> Option<String> {
        let drift = match kind {
            Kind::TypeChanged => Drift::Type,
            Kind::ShapeChanged => Drift::Shape(random.bool()),
            Kind::Nulled => Drift::Null,
            Kind::FieldRemoved => Drift::Remove,
            _ => Drift::Add,
        };
        // What a record of a partition's parent becomes, its children become too, and nobody can say how.
        let own = self.lists().into_iter().filter(|page| !self.recording.is_shared(&page.asked));
        let page = random.choice(own.collect::<Vec<_>>())?;
        let (answer, list) = (self.answer(&page.asked)?, page.list.as_deref()?);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        let items = body.pointer(list)?.as_array()?;
        let chosen = random.usize(0..items.len());
        let field = random.choice(drift.fields(items.get(chosen)?))?;
        // One record of the page, or all behind it too.
        let last = if random.bool() { chosen } else { items.len() - 1 };
        let fits = |record: &serde_json::Value| drift.fields(record).contains(&field);
        let changed = lies::with_list(answer, list, |items| {
            for item in items.iter_mut().take(last + 1).skip(chosen).filter(|item| fits(item)) {
                drift.apply(item, &field);
            }
        })?;
        lies.insert(page.asked.clone(), changed);
        for other in self.truth.pages().filter(|other| other.asked == page.asked && other.list == page.list) {
            let pairs = other.records.iter().zip(items).take(last + 1).skip(chosen);
            // A field of the same name that the connector adds is the connector's own.
            for (record, _) in pairs.filter(|(_, item)| fits(item)) {
                let mut after = record.clone();
                drift.apply(&mut after, &field);
                take(&mut case.records, &other.stream, hash(record), -1);
                take(&mut case.records, &other.stream, hash(&after), 1);
            }
        }
        let which = if last == chosen { "one record" } else { "records" };
        Some(format!("{field} {} in {which} of {}", drift.name(), page.asked))
    }
}

fn take(records: &mut Records, stream: &str, record: u128, change: i64) {
    let counts = records.entry(stream.to_owned()).or_default();
    let count = counts.entry(record).or_insert(0);
    *count += change;
    if *count == 0 {
        counts.remove(&record);
    }
}

/// What a fault is, in words.
fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Answer(answer) => match answer.headers.iter().find(|(name, _)| name == "retry-after") {
            Some((_, value)) => format!("status {} with Retry-After {value}", answer.status),
            None => format!("status {}", answer.status),
        },
        Fault::Refused => "no connection".to_owned(),
        Fault::Cut(thousandths) => format!("an answer that breaks off after {} %", thousandths / 10),
        Fault::Silence => "no answer for 30 s".to_owned(),
        Fault::Slow(ms) => format!("an answer after {ms} ms"),
    }
}

const NO_LIST: &str = "the connector's records are not those of a list in an answer";
