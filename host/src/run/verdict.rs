//! What can be said of a run's completeness, computed from the log of its pages.
//!
//! A 200 OK alone says nothing. A read is `complete` only when the connector ended by itself and every check that can be
//! made was made and passed; what cannot be checked is `unproven`, never `complete`.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::moment::Value;
use super::queue::End;
use super::seam::Edge;
use crate::state::{PageEntry, SeamFound};

/// A verdict; the greater one decides for a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that the API has is there, as far as every check shows.
    Complete,
    /// Nothing is known to be missing, but it cannot be shown.
    Unproven,
    /// Something is missing or not to be believed.
    Incomplete,
}

impl Verdict {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unproven => "unproven",
            Self::Incomplete => "incomplete",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A verdict and the reasons for it, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is no better.
    pub reasons: Vec<String>,
}

impl Finding {
    /// Makes the finding that there is nothing to object to.
    pub fn complete() -> Self {
        Self { verdict: Verdict::Complete, reasons: Vec::new() }
    }

    /// Makes the finding that something is missing.
    pub fn incomplete(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Incomplete, reasons: vec![reason.into()] }
    }

    /// Adds a reason, and takes the worse verdict.
    pub(crate) fn add(&mut self, verdict: Verdict, reason: String) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push(reason);
    }

    /// Takes the worse verdict of two, and the other's reasons as they are.
    pub fn include_first(&mut self, other: &Self) {
        self.verdict = self.verdict.max(other.verdict);
        self.reasons.extend(other.reasons.iter().cloned());
    }

    /// Notes records that could not be stored, and where they are; without one, nothing.
    pub(crate) fn lacks(&mut self, refused: u64, place: &str) {
        if refused > 0 {
            let count = plural(refused, "record");
            let them = if refused == 1 { "it is" } else { "they are" };
            let text = format!("{count} could not be stored; {them} in {place}, with the reason");
            self.add(Verdict::Incomplete, text);
        }
    }

    /// Adds a reason that does not change the verdict.
    pub fn note(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    /// Takes the worse verdict of two, and the other's reasons with `name` before each.
    pub fn include(&mut self, name: &str, other: &Self) {
        self.verdict = self.verdict.max(other.verdict);
        self.reasons.extend(other.reasons.iter().map(|reason| format!("{name}: {reason}")));
    }
}

/// In which order a stream's records are said to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sorted {
    /// The smallest first.
    Ascending,
    /// The greatest first.
    Descending,
}

impl Sorted {
    /// Whether two values that follow one another do not follow this order.
    pub(crate) fn is_broken(self, one: &Value<'_>, next: &Value<'_>) -> bool {
        let wrong = match self {
            Self::Ascending => Ordering::Less,
            Self::Descending => Ordering::Greater,
        };
        next.compare(one) == wrong
    }
}

impl fmt::Display for Sorted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ascending => "ascending",
            Self::Descending => "descending",
        })
    }
}

/// How far many an API can be paged by position, whatever it has: the default of Elasticsearch (`index.max_result_window`) and
/// of what is built on it.
const USUAL_CAP: u64 = 10_000;

/// The pages of one read as far as they have come, in a size that does not grow with its records.
#[derive(Debug, Default)]
pub(crate) struct PageLog {
    pub(crate) pages: u64,
    pub(crate) records: u64,
    /// Records that came and could not be stored.
    pub(crate) refused: u64,
    first_total: Option<u64>,
    last_total: Option<u64>,
    /// The first time that the total became smaller: from what to what.
    fell: Option<(u64, u64)>,
    pub(crate) edge: Edge,
    /// Records that an earlier read brought as they are.
    known: u64,
    out_of_order: u64,
    /// The last value of the field that orders the records.
    pub(crate) cursor: Option<String>,
    /// Pages whose place was counted, and pages that did not begin where the last one ended.
    counted: u64,
    missed: u64,
    /// Pages by position that did.
    met: u64,
    /// Whether the API's total said that the first page with records was the whole.
    one_page: bool,
    /// Hashes, since a connector's checkpoints may be long.
    hashes: HashSet<u128>,
    checkpoints: HashSet<u128>,
    repeated_pages: u64,
    repeated_checkpoints: u64,
    pub(crate) missing_keys: u64,
}

impl PageLog {
    /// Takes the next page into account.
    pub(crate) fn add(&mut self, page: &PageEntry) {
        self.pages += 1;
        self.records += page.records;
        self.refused += page.refused;
        self.known += page.checks.known;
        self.out_of_order += page.checks.out_of_order;
        if page.checks.cursor.is_some() {
            self.cursor.clone_from(&page.checks.cursor);
        }
        if let Some(total) = page.total {
            self.first_total.get_or_insert(total);
            if let Some(last) = self.last_total.filter(|last| total < *last) {
                self.fell.get_or_insert((last, total));
            }
            self.last_total = Some(total);
        }
        match page.checks.seam {
            None => {
                let records = page.records + page.checks.known + page.refused;
                self.one_page = records > 0 && page.total == Some(records);
            }
            // Behind a page that was all of it, nothing can move.
            Some(SeamFound::Counted) if self.one_page && page.records == 0 => {}
            Some(SeamFound::Counted) => self.counted += 1,
            Some(SeamFound::Missed) => self.missed += 1,
            Some(SeamFound::Met) => self.met += 1,
            Some(SeamFound::Anchored) => {}
        }
        self.edge.pass(page.records + page.refused, &page.checks, page.url.as_deref());
        // Empty pages are alike and mean nothing.
        if page.records + page.refused > 0 {
            if !self.hashes.insert(xxh3_128(page.hash.as_bytes())) {
                self.repeated_pages += 1;
            }
            if let Some(checkpoint) = &page.checkpoint
                && !self.checkpoints.insert(xxh3_128(checkpoint.as_bytes()))
            {
                self.repeated_checkpoints += 1;
            }
        }
    }

    /// Says whether the listing changed under the read, so that reading it again may well add up. `duplicates` as for
    /// [`PageLog::judge`]. A page that came twice speaks for an API that goes in a circle instead.
    pub(crate) fn shifted(&self, duplicates: Option<&Result<u64, String>>) -> bool {
        let twice = matches!(duplicates, Some(Ok(1..))) && self.repeated_pages == 0;
        twice || self.missed > 0 || self.fell.is_some() || self.first_total != self.last_total
    }

    /// Judges a read whose connector ended by itself. `duplicates` is how many primary keys came twice, or why that
    /// can't be told; none where the stream has no primary key.
    pub(crate) fn judge(&self, duplicates: Option<Result<u64, String>>, sorted: Option<&(String, Sorted)>) -> Finding {
        let mut finding = Finding::complete();
        match (self.first_total, self.last_total) {
            // In a listing by position, those behind a deleted record move up, and as many are stepped over as were deleted
            // before the place where the read stood. The sum then agrees with the new total; and the total itself is the
            // old one again where as many were added behind.
            _ if self.fell.is_some() => {
                let (from, to) = self.fell.unwrap_or_default();
                finding.add(
                    Verdict::Incomplete,
                    format!(
                        "the API's total fell from {from} to {to} during the read, and what moved up may be missing"
                    ),
                );
            }
            (Some(first), Some(last)) if first != last => finding
                .add(Verdict::Unproven, format!("the API's total changed from {first} to {last} during the read")),
            _ => {}
        }
        let came = self.records + self.known + self.refused;
        if let Some(total) = self.last_total
            && total != came
        {
            finding.add(
                Verdict::Incomplete,
                format!("{} came, and the API says that there are {total}", plural(came, "record")),
            );
        }
        if came == USUAL_CAP && self.last_total.is_none() && self.met + self.counted > 0 {
            finding.add(
                Verdict::Unproven,
                "exactly 10,000 records came, as of an API that pages no further, and it gives no total".to_owned(),
            );
        }
        if self.missed > 0 {
            finding.add(
                Verdict::Incomplete,
                format!(
                    "{} did not begin with the last record of the page before: the listing shifted while it was read",
                    plural(self.missed, "page")
                ),
            );
        }
        if self.counted > 0 {
            let borders = match self.counted {
                1 => "the border between them".to_owned(),
                count => format!("one of the {count} borders between them"),
            };
            finding.add(
                Verdict::Unproven,
                format!(
                    "its pages are counted: a record that moved across {borders}, because another was deleted meanwhile, \
                     would be missing unseen"
                ),
            );
        }
        if self.repeated_pages > 0 {
            finding.add(
                Verdict::Incomplete,
                format!("{} came with the same records as an earlier one", plural(self.repeated_pages, "page")),
            );
        }
        if self.repeated_checkpoints > 0 {
            finding.add(
                Verdict::Incomplete,
                format!("{} had the same checkpoint as an earlier one", plural(self.repeated_checkpoints, "page")),
            );
        }
        match duplicates {
            Some(Ok(0)) => {}
            Some(Ok(count)) => finding.add(
                Verdict::Incomplete,
                format!(
                    "{} came more than once: the listing shifted while it was read, or repeats itself",
                    plural(count, "primary key")
                ),
            ),
            Some(Err(reason)) => {
                finding.add(Verdict::Unproven, format!("primary keys could not be compared: {reason}"));
            }
            None if self.last_total.is_none() && self.records > 0 => finding.add(
                Verdict::Unproven,
                "the stream has no primary key and the API gives no total, so lost or doubled records would not be seen"
                    .to_owned(),
            ),
            None => {}
        }
        if let Some((field, order)) = sorted
            && self.out_of_order > 0
        {
            finding.add(
                Verdict::Incomplete,
                format!(
                    "{} on the wrong side of the one before, and the connector relies on an order by {field}, {order}",
                    if self.out_of_order == 1 {
                        "1 record stands".to_owned()
                    } else {
                        format!("{} records stand", self.out_of_order)
                    }
                ),
            );
        }
        if self.missing_keys > 0 {
            finding.add(Verdict::Unproven, format!("{} had no primary key", plural(self.missing_keys, "record")));
        }
        finding
    }
}

impl PageLog {
    /// Judges a read that brought nothing because there was nothing for it to read.
    pub(crate) fn judge_nothing(&self, end: &End, finding: &mut Finding) {
        let nothing = self.records + self.known == 0;
        match (&end.absent, end.refused) {
            (Some(reason), _) if nothing => finding.note(format!("left out, as the connector allows: {reason}")),
            (Some(reason), _) => finding.add(Verdict::Incomplete, format!("it went away while it was read: {reason}")),
            (None, Some(status)) if nothing => finding.add(
                Verdict::Incomplete,
                format!("every request was answered with {status}, and the connector took that for an empty list"),
            ),
            _ => {}
        }
    }
}

/// Writes a count with its noun.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("{count} {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::PageChecks;

    fn page(hash: &str, records: u64, total: Option<u64>, checkpoint: Option<&str>) -> PageEntry {
        PageEntry {
            seq: 0,
            url: None,
            status: Some(200),
            bytes: 10,
            records,
            checkpoint: checkpoint.map(str::to_owned),
            total,
            hash: hash.to_owned(),
            refused: 0,
            checks: PageChecks::default(),
        }
    }

    fn judge(pages: &[PageEntry], duplicates: Option<Result<u64, String>>) -> (Verdict, String) {
        let mut log = PageLog::default();
        pages.iter().for_each(|page| log.add(page));
        let finding = log.judge(duplicates, None);
        (finding.verdict, finding.reasons.join("; "))
    }

    #[test]
    fn a_read_that_adds_up_is_complete() {
        let pages = [page("a", 100, Some(130), Some("1")), page("b", 30, Some(130), None)];
        assert_eq!(judge(&pages, Some(Ok(0))), (Verdict::Complete, String::new()));
    }

    #[test]
    fn a_missing_record_makes_it_incomplete() {
        let pages = [page("a", 100, Some(130), None), page("b", 29, Some(130), None)];
        assert_eq!(
            judge(&pages, Some(Ok(0))),
            (Verdict::Incomplete, "129 records came, and the API says that there are 130".to_owned())
        );
    }

    #[test]
    fn records_that_could_not_be_stored_came_all_the_same() {
        let pages = [page("a", 100, Some(130), None), PageEntry { refused: 2, ..page("b", 28, Some(130), None) }];
        assert_eq!(judge(&pages, Some(Ok(0))), (Verdict::Complete, String::new()));
        let mut finding = Finding::complete();
        finding.lacks(0, "s/_dead-r-00000.ndjson");
        assert_eq!(finding, Finding::complete());
        finding.lacks(1, "s/_dead-r-00000.ndjson");
        let text = "1 record could not be stored; it is in s/_dead-r-00000.ndjson, with the reason";
        assert_eq!(finding, Finding::incomplete(text));
    }

    #[test]
    fn each_kind_of_repetition_is_named() {
        let pages = [page("a", 1, None, Some("x")), page("a", 1, None, Some("x"))];
        assert_eq!(
            judge(&pages, Some(Ok(1))),
            (
                Verdict::Incomplete,
                "1 page came with the same records as an earlier one; 1 page had the same checkpoint as an earlier one; \
                 1 primary key came more than once: the listing shifted while it was read, or repeats itself"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_listing_that_shifted_is_told_from_one_that_repeats_itself() {
        let shifted = |pages: &[PageEntry], duplicates: u64| {
            let mut log = PageLog::default();
            pages.iter().for_each(|page| log.add(page));
            log.shifted(Some(&Ok(duplicates)))
        };
        assert!(!shifted(&[page("a", 1, Some(5), None), page("b", 1, Some(5), None)], 0));
        assert!(shifted(&[page("a", 1, Some(5), None), page("b", 1, Some(4), None)], 0));
        assert!(shifted(&[page("a", 1, None, None), page("b", 1, None, None)], 1));
        assert!(!shifted(&[page("a", 1, None, None), page("a", 1, None, None)], 1));
    }

    #[test]
    fn a_total_that_falls_and_rises_again_is_seen() {
        let totals = [Some(100), Some(99), Some(100)];
        let pages = totals.iter().zip(["a", "b", "c"]).map(|(total, hash)| page(hash, 1, *total, None));
        let (verdict, reasons) = judge(&pages.collect::<Vec<_>>(), Some(Ok(0)));
        assert_eq!(verdict, Verdict::Incomplete);
        assert!(reasons.starts_with("the API's total fell from 100 to 99 during the read"), "{reasons}");
    }

    #[test]
    fn what_lies_between_pages_is_judged_by_how_they_meet() {
        let with = |seam: Option<SeamFound>, hash: &str, records: u64, total: Option<u64>| PageEntry {
            checks: PageChecks { seam, ..PageChecks::default() },
            ..page(hash, records, total, None)
        };
        use SeamFound::{Anchored, Counted, Met, Missed};
        for (seam, verdict) in [
            (Anchored, Verdict::Complete),
            (Met, Verdict::Complete),
            (Counted, Verdict::Unproven),
            (Missed, Verdict::Incomplete),
        ] {
            let pages = [with(None, "a", 2, None), with(Some(seam), "b", 1, None)];
            assert_eq!(judge(&pages, Some(Ok(0))).0, verdict, "{seam:?}");
        }
        let whole = [with(None, "a", 2, Some(2)), with(Some(Counted), "b", 0, Some(2))];
        assert_eq!(judge(&whole, Some(Ok(0))).0, Verdict::Complete, "all of it was on the first page");
        let unsaid = [with(None, "a", 2, None), with(Some(Counted), "b", 0, None)];
        assert_eq!(
            judge(&unsaid, Some(Ok(0))).1,
            "its pages are counted: a record that moved across the border between them, because another was deleted meanwhile, \
             would be missing unseen"
        );
    }

    #[test]
    fn a_listing_that_ends_where_many_an_api_pages_no_further_is_unproven() {
        let pages = |last: u64, total: Option<u64>, seam: SeamFound| {
            let checks = PageChecks { seam: Some(seam), ..PageChecks::default() };
            [page("a", 9_000, total, None), PageEntry { checks, ..page("b", last, total, None) }]
        };
        let told = "exactly 10,000 records came, as of an API that pages no further, and it gives no total";
        let found = judge(&pages(1_000, None, SeamFound::Met), Some(Ok(0)));
        assert_eq!(found, (Verdict::Unproven, told.to_owned()));
        for others in [
            pages(999, None, SeamFound::Met),
            pages(1_000, Some(10_000), SeamFound::Met),
            pages(1_000, None, SeamFound::Anchored),
        ] {
            assert_eq!(judge(&others, Some(Ok(0))).0, Verdict::Complete);
        }
    }

    #[test]
    fn empty_pages_may_repeat() {
        let pages = [page("e", 0, None, Some("x")), page("e", 0, None, Some("x"))];
        assert_eq!(judge(&pages, Some(Ok(0))).0, Verdict::Complete);
    }

    #[test]
    fn what_cannot_be_shown_is_unproven() {
        assert_eq!(judge(&[page("a", 1, None, None)], None).0, Verdict::Unproven);
        assert_eq!(judge(&[page("a", 1, Some(1), None)], None).0, Verdict::Complete);
        assert_eq!(
            judge(&[page("a", 1, None, None)], Some(Err("keys of an earlier run are missing".to_owned()))).1,
            "primary keys could not be compared: keys of an earlier run are missing"
        );
        let shifting = [page("a", 1, Some(3), None), page("b", 1, Some(2), None)];
        assert_eq!(
            judge(&shifting, Some(Ok(0))),
            (
                Verdict::Incomplete,
                "the API's total fell from 3 to 2 during the read, and what moved up may be missing".to_owned()
            )
        );
        let growing = [page("a", 1, Some(1), None), page("b", 1, Some(2), None)];
        assert_eq!(
            judge(&growing, Some(Ok(0))),
            (Verdict::Unproven, "the API's total changed from 1 to 2 during the read".to_owned())
        );
    }

    #[test]
    fn the_worst_part_decides_for_the_whole() {
        let mut whole = Finding::complete();
        whole.include("a", &Finding::complete());
        whole.include("b", &Finding::incomplete("gone"));
        assert_eq!(whole, Finding { verdict: Verdict::Incomplete, reasons: vec!["b: gone".to_owned()] });
    }
}
