//! Where two incremental reads meet: from where the next one is asked for, which of its records are there already, and
//! whether its watermark can be believed.
//!
//! An API that is asked for what changed since a moment may miss what arrived late, what shares the moment's second, or
//! what it dates in another zone. So a read starts a while before the last watermark (the *lookback*), and those of its
//! records that are there already, by primary key and text, are left out. The keys of records that may come again are kept
//! in the state, in the commit that moves the watermark.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use super::moment::{self, Point, Value};
use super::verdict::{Finding, Verdict, plural};
use crate::record::Record;

/// Records that may come again are remembered beyond the lookback by so much: a watermark may be earlier than the greatest
/// value that a read saw, for example where a connector takes the moment at which the read began.
const MARGIN: Duration = Duration::from_secs(3_600);

/// Records at the border of one read that are remembered, about 60 MB. Those beyond come again as new versions.
const MAX_RECORDS: usize = 1_000_000;

/// A watermark may be ahead of the host's clock by so much: clocks differ, and a time without a zone may be that of a zone in
/// which it is tomorrow.
const AHEAD: Duration = Duration::from_secs(86_400);

/// The greatest difference between a zone and UTC: from here on a lookback makes up for a missing zone.
const ZONES: Duration = Duration::from_secs(14 * 3_600);

/// A record at the border: hashes of its key and its text, and the value that orders it.
type Entry = (u64, u64, String);

/// Records that may come again, by the hashes of their keys.
#[derive(Debug, Default)]
struct Entries {
    all: HashMap<u64, Kept>,
    /// The values of all of them, and of some that are gone.
    values: String,
    /// Bytes of those that are not gone.
    valued: usize,
}

/// A record that may come again.
#[derive(Debug)]
struct Kept {
    text: u64,
    /// Where its value is, and what it says.
    value: Range<usize>,
    point: Option<Point>,
}

impl Entries {
    fn len(&self) -> usize {
        self.all.len()
    }

    fn has(&self, key: u64) -> bool {
        self.all.contains_key(&key)
    }

    fn insert(&mut self, key: u64, text: u64, value: &Value<'_>) {
        let start = self.values.len();
        self.values.push_str(value.text);
        self.valued += value.text.len();
        let before = self.all.insert(key, Kept { text, value: start..self.values.len(), point: value.point() });
        self.valued -= before.map_or(0, |before| before.value.len());
    }

    fn remove(&mut self, key: u64) {
        self.valued -= self.all.remove(&key).map_or(0, |before| before.value.len());
    }

    fn text(&self, kept: &Kept) -> &str {
        self.values.get(kept.value.clone()).unwrap_or_default()
    }

    /// The values of all of them.
    fn values(&self) -> impl Iterator<Item = Value<'_>> + Clone {
        self.all.values().map(|kept| Value::again(self.text(kept), kept.point))
    }

    /// Forgets those that stand before a place, and the values of those that are gone.
    fn forget_before(&mut self, floor: Option<&Value<'_>>) {
        let values = std::mem::take(&mut self.values);
        let left = &mut self.values;
        self.all.retain(|_, kept| {
            let text = values.get(kept.value.clone()).unwrap_or_default();
            let value = Value::again(text, kept.point);
            let stays = floor.is_none_or(|floor| value.compare(floor) != Ordering::Less);
            if stays {
                let start = left.len();
                left.push_str(text);
                kept.value = start..left.len();
            }
            stays
        });
        self.valued = left.len();
    }

    /// Whether more than half of the values belong to nobody.
    fn is_loose(&self) -> bool {
        self.values.len() > 1 << 20 && self.values.len() / 2 > self.valued
    }
}

/// The border of one read.
#[derive(Debug, Default)]
pub(crate) struct Border {
    /// Where this read starts: the watermark of the one before.
    since: Option<String>,
    lookback: Duration,
    now_ms: u64,
    /// What was at the border when the last read ended.
    before: HashMap<u64, u64>,
    /// Whether one of them stands at the watermark itself, so that the API gives it again if it starts there.
    should_meet: bool,
    met: bool,
    /// What is at the border now.
    entries: Entries,
    greatest: Option<String>,
    floor: Option<String>,
    prune_at: usize,
}

impl Border {
    /// Opens the border of a read that starts at a watermark, with what was remembered at the end of the last read and, if
    /// this one goes on, at its last commit. What cannot be read is forgotten: its records come again as new versions.
    pub(crate) fn open(
        since: Option<String>,
        lookback: Duration,
        now_ms: u64,
        before: Option<&[u8]>,
        so_far: Option<&[u8]>,
    ) -> Self {
        let entries = |bytes: Option<&[u8]>| -> Vec<Entry> {
            bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
        };
        let last = entries(before);
        let mut border = Self { since, lookback, now_ms, ..Self::default() };
        border.should_meet = last.iter().any(|(_, _, cursor)| Some(cursor) == border.since.as_ref());
        let so_far = entries(so_far);
        border.before.extend(last.iter().map(|(key, text, _)| (*key, *text)));
        border.met = so_far.iter().any(|(key, _, _)| border.before.contains_key(key));
        for entries in [&last, &so_far] {
            border.remember(entries.iter().map(|(key, text, cursor)| (*key, *text, Value::of(cursor))));
        }
        border
    }

    /// Takes note of the records of a page, of which some are left out, with the values that order them; returns the places
    /// of those that are there already, as they are.
    pub(crate) fn pass(&mut self, records: &[Record<'_>], values: &[Option<Value<'_>>], left_out: &[u64]) -> Vec<u64> {
        let passed = || {
            let all = (0..).zip(records.iter().zip(values));
            let left = all.filter(|(place, _)| left_out.is_empty() || !left_out.contains(place));
            left.filter_map(|(place, (record, value))| Some((place, record.key?, record, value.as_ref())))
        };
        let remembered = passed().filter_map(|(_, key, record, value)| Some((key, record.text, *value?)));
        self.remember(remembered);
        let mut known = Vec::new();
        if !self.before.is_empty() {
            for (place, key, record, _) in passed() {
                let before = self.before.get(&key);
                self.met |= before.is_some();
                if before == Some(&record.text) {
                    known.push(place);
                }
            }
        }
        known
    }

    /// Takes note of records that come one after the other.
    fn remember<'a>(&mut self, records: impl Iterator<Item = (u64, u64, Value<'a>)> + Clone) {
        // A record of the future comes again with every read, and says nothing of where the others end.
        let now_ms = self.now_ms;
        let of_the_future = |value: &Value<'_>| value.is_later(now_ms, Duration::ZERO);
        let mut greatest = self.greatest.as_deref().map(Value::of);
        for (_, _, value) in records.clone() {
            if greatest.is_none_or(|greatest| value.compare(&greatest) == Ordering::Greater) && !of_the_future(&value) {
                greatest = Some(value);
            }
        }
        let greatest = greatest.map(|greatest| greatest.text.to_owned());
        if self.greatest != greatest {
            let back = |from: &String| moment::back(from, self.lookback.saturating_add(MARGIN));
            self.floor = greatest.as_ref().map(|from| back(from).unwrap_or_else(|| from.clone()));
            self.greatest = greatest;
        }
        let floor = self.floor.clone();
        let floor = floor.as_deref().map(Value::of);
        for (key, text, value) in records {
            if floor.is_some_and(|floor| value.compare(&floor) == Ordering::Less) && !of_the_future(&value) {
                self.entries.remove(key);
            } else if self.entries.len() < MAX_RECORDS || self.entries.has(key) {
                self.entries.insert(key, text, &value);
            }
        }
        if self.entries.len() > self.prune_at.max(4_096) || self.entries.is_loose() {
            self.prune();
        }
    }

    fn prune(&mut self) {
        self.entries.forget_before(self.floor.as_deref().map(Value::of).as_ref());
        self.prune_at = self.entries.len() * 2;
    }

    /// Says that no two records share a place in the order: behind the last one, nothing can be stepped over.
    pub(crate) fn without_ties(self) -> Self {
        Self { should_meet: false, ..self }
    }

    /// What the next read, or this one if it goes on, has to know.
    pub(crate) fn encode(&mut self) -> Vec<u8> {
        self.prune();
        let mut entries: Vec<(u64, u64, &str)> =
            self.entries.all.iter().map(|(key, kept)| (*key, kept.text, self.entries.text(kept))).collect();
        entries.sort_unstable();
        serde_json::to_vec(&entries).unwrap_or_default()
    }

    /// Decides what a returned watermark is worth: what is kept of it, with what is to be said of that in the finding.
    pub(crate) fn settle(&self, returned: Option<String>, finding: &mut Finding) -> Option<String> {
        if self.should_meet && !self.met {
            finding.add(
                Verdict::Unproven,
                format!(
                    "none of the records at the watermark {} came again, so others of the same moment may have been stepped \
                     over; read back over it with --lookback",
                    self.since.as_deref().unwrap_or_default()
                ),
            );
        }
        // None of them is ever forgotten, so those of the records that came are all here.
        let ahead = self.entries.values().filter(|value| value.is_later(self.now_ms, AHEAD));
        if let Some(latest) = ahead.clone().max_by(Value::compare) {
            let count = ahead.count() as u64;
            let (records, are) = (plural(count, "record"), if count == 1 { "is" } else { "are" });
            finding.note(format!(
                "{records} {are} of the future, up to {}; no watermark is taken from that, so that nothing is hidden until \
                 then",
                latest.text
            ));
        }
        let returned = returned?;
        if let Some(since) = &self.since
            && moment::comparable(&returned, since)
            && moment::compare(&returned, since) == Ordering::Less
        {
            // It started before its watermark, and nothing came behind that.
            return Some(since.clone());
        }
        if moment::is_later(&returned, self.now_ms, AHEAD) {
            let kept = self.since.as_ref().map_or("the beginning".to_owned(), |since| format!("the watermark {since}"));
            finding.note(format!(
                "the watermark {returned} lies in the future and would hide what comes until then: the next read starts from \
                 {kept}, as this one did"
            ));
            return self.since.clone();
        }
        if moment::has_no_zone(&returned) && self.lookback < ZONES {
            finding.add(
                Verdict::Unproven,
                format!(
                    "the watermark {returned} has no time zone, so that the next read may step over some hours; read back over \
                     them with --lookback 1d"
                ),
            );
        }
        Some(returned)
    }
}

/// From where a read is asked for that starts at a watermark; none where the watermark is no moment to go back from.
pub(crate) fn asked(since: &str, lookback: Duration) -> Option<String> {
    if lookback.is_zero() { Some(since.to_owned()) } else { moment::back(since, lookback) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-02T00:00:00Z
    const NOW: u64 = 1_704_153_600_000;

    fn record(key: u64, text: u64, cursor: &str) -> Record<'_> {
        Record { key: Some(key), text, cursor: Some(cursor.into()) }
    }

    fn pass(border: &mut Border, records: &[Record<'_>]) -> Vec<u64> {
        let values: Vec<_> = records.iter().map(|record| record.cursor.as_deref().map(Value::of)).collect();
        border.pass(records, &values, &[])
    }

    fn read(before: Option<&[u8]>, since: Option<&str>, records: &[Record<'_>]) -> (Border, Vec<bool>) {
        let mut border = Border::open(since.map(str::to_owned), Duration::ZERO, NOW, before, None);
        let known = pass(&mut border, records);
        (border, (0..records.len() as u64).map(|place| known.contains(&place)).collect())
    }

    fn settled(border: &Border, returned: &str) -> (Option<String>, Verdict, String) {
        let mut finding = Finding::complete();
        let kept = border.settle(Some(returned.to_owned()), &mut finding);
        (kept, finding.verdict, finding.reasons.join("; "))
    }

    #[test]
    fn what_comes_again_unchanged_is_known_and_what_changed_is_not() {
        let at = "2024-01-01T10:00:00Z";
        let old = "2024-01-01T08:00:00Z";
        let (mut first, known) = read(None, None, &[record(1, 1, old), record(2, 2, at), record(3, 3, at)]);
        assert_eq!(known, [false; 3]);
        let kept = first.encode();
        let (second, known) =
            read(Some(&kept), Some(at), &[record(1, 1, old), record(2, 2, at), record(3, 33, at), record(4, 4, at)]);
        assert_eq!(known, [false, true, false, false], "the first is too far back to be remembered");
        assert_eq!(settled(&second, at), (Some(at.to_owned()), Verdict::Complete, String::new()));
        // A read that brought nothing remembers what the one before did.
        let (mut empty, _) = read(Some(&kept), Some(at), &[]);
        assert_eq!(empty.encode(), kept);
    }

    #[test]
    fn a_border_without_ties_need_not_be_met() {
        let kept = read(None, None, &[record(2, 2, "2")]).0.encode();
        let (next, _) = read(Some(&kept), Some("2"), &[record(3, 3, "3")]);
        assert_eq!(settled(&next, "3").1, Verdict::Unproven);
        assert_eq!(settled(&next.without_ties(), "3").1, Verdict::Complete);
    }

    #[test]
    fn a_border_that_is_not_met_is_no_proof() {
        let at = "2024-01-01T10:00:00Z";
        let kept = read(None, None, &[record(2, 2, at)]).0.encode();
        let (next, _) = read(Some(&kept), Some(at), &[record(3, 3, "2024-01-01T10:00:01Z")]);
        assert_eq!(
            settled(&next, "2024-01-01T10:00:01Z"),
            (
                Some("2024-01-01T10:00:01Z".to_owned()),
                Verdict::Unproven,
                "none of the records at the watermark 2024-01-01T10:00:00Z came again, so others of the same moment may have \
                 been stepped over; read back over it with --lookback"
                    .to_owned()
            )
        );
        // A watermark that is not that of a record says nothing of the border.
        let (next, _) = read(Some(&kept), Some("\"17\""), &[record(3, 3, at)]);
        assert_eq!(settled(&next, "\"18\"").1, Verdict::Complete);
    }

    #[test]
    fn a_watermark_never_goes_back_nor_into_the_future() {
        let since = "2024-01-01T10:00:00Z";
        let (border, _) = read(None, Some(since), &[]);
        assert_eq!(settled(&border, "2024-01-01T09:59:00Z").0.as_deref(), Some(since));
        assert_eq!(
            settled(&border, "2099-01-01T00:00:00Z"),
            (
                Some(since.to_owned()),
                Verdict::Complete,
                "the watermark 2099-01-01T00:00:00Z lies in the future and would hide what comes until then: the next read \
                 starts from the watermark 2024-01-01T10:00:00Z, as this one did"
                    .to_owned()
            )
        );
        assert_eq!(settled(&border, "2024-01-02T10:00:00+02:00").1, Verdict::Complete);
    }

    #[test]
    fn a_watermark_without_a_zone_needs_a_lookback() {
        let (mut border, _) = read(None, None, &[]);
        assert_eq!(settled(&border, "2024-01-01T10:00:00").1, Verdict::Unproven);
        assert_eq!(settled(&border, "2024-01-01").1, Verdict::Complete);
        border.lookback = Duration::from_secs(86_400);
        assert_eq!(settled(&border, "2024-01-01T10:00:00").1, Verdict::Complete);
    }

    #[test]
    fn a_record_of_the_future_hides_no_other_and_is_known_again() {
        let (mut border, _) =
            read(None, None, &[record(1, 1, "2099-01-01T00:00:00Z"), record(2, 2, "2024-01-01T00:00:00Z")]);
        let told = "1 record is of the future, up to 2099-01-01T00:00:00Z; no watermark is taken from that, so that nothing is \
                    hidden until then";
        let since = "2024-01-01T00:00:00Z".to_owned();
        assert_eq!(settled(&border, &since), (Some(since), Verdict::Complete, told.to_owned()));
        let kept = border.encode();
        let again = [record(1, 1, "2099-01-01T00:00:00Z"), record(2, 2, "2024-01-01T00:00:00Z")];
        assert_eq!(read(Some(&kept), Some("2024-01-01T00:00:00Z"), &again).1, [true, true]);
    }

    #[test]
    fn values_of_records_that_come_again_and_again_do_not_pile_up() {
        let mut border = Border::open(None, Duration::ZERO, NOW, None, None);
        for round in 0..100_000 {
            pass(&mut border, &[record(round % 3, round, "2023-12-01T00:00:00Z")]);
        }
        assert_eq!((border.entries.len(), border.entries.valued), (3, 60));
        assert!(border.entries.values.len() <= 1 << 20, "{}", border.entries.values.len());
        assert_eq!(
            border.encode(),
            br#"[[0,99999,"2023-12-01T00:00:00Z"],[1,99997,"2023-12-01T00:00:00Z"],[2,99998,"2023-12-01T00:00:00Z"]]"#
        );
    }

    #[test]
    fn memory_is_bounded_by_what_is_at_the_border() {
        let mut border = Border::open(None, Duration::ZERO, NOW, None, None);
        for hour in 0..24 {
            for second in 0..3_600 {
                let cursor = format!("2023-12-01T{hour:02}:{:02}:{:02}Z", second / 60, second % 60);
                pass(&mut border, &[record(hour * 3_600 + second, 0, &cursor)]);
            }
        }
        border.encode();
        assert!((3_600..=3_601).contains(&border.entries.len()), "{}", border.entries.len());
        assert!(Border::open(None, Duration::ZERO, NOW, Some(b"damaged"), None).before.is_empty());
    }
}
