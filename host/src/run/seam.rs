//! Where two pages of a read meet: whether the next one goes on where the last one ended.
//!
//! A list that is asked for by position shifts when a record in front of the position is deleted or inserted. An insertion
//! makes a record come twice, which its key shows. A deletion steps over one, and nothing shows it: a total that is counted
//! anew with each page falls, but stays equal where another record was added behind. So a page by position begins with the
//! last record of the page before, if its connector asks for it so; the two are compared here, and the second is left out.
//! Where that is not to be had, the read is `unproven`.

use crate::capability::output::Emitted;
use crate::engine::bindings::ingest::connector::output::Seam;
use crate::record::Survey;
use crate::state::{PageChecks, SeamFound};

/// Parameters that count pages or records, without what is no letter.
const COUNTING: [&str; 20] = [
    "page",
    "p",
    "pg",
    "pageno",
    "pagenum",
    "pagenumber",
    "pageindex",
    "pageoffset",
    "pageid",
    "currentpage",
    "offset",
    "skip",
    "start",
    "startat",
    "startindex",
    "startrow",
    "startpage",
    "startposition",
    "from",
    "first",
];

/// Numbers from here on are moments and not positions: as seconds since the Unix epoch, this is 2001.
const MOMENTS: u64 = 1_000_000_000;

/// Where the last page of a read ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    /// What tells the last record from others.
    last: Option<u64>,
    /// Where the last page came from.
    url: Option<String>,
    /// Whether there has been a record.
    began: bool,
}

impl Edge {
    /// Compares a page with the one before, and leaves out the record that both have. None where there is nothing to say.
    pub(crate) fn join(&self, survey: &Survey, emitted: &mut Emitted) -> Option<SeamFound> {
        let found = self.found(survey, emitted);
        if found == Some(SeamFound::Met) {
            emitted.page.leave_out = vec![0];
        }
        // What was decoded ahead has the same records, or is of no use.
        let left_out = emitted.ready.as_ref().map(|ready| ready.left_out.is_some());
        if left_out.is_some_and(|left_out| left_out != (found == Some(SeamFound::Met))) {
            emitted.ready = None;
        }
        found
    }

    fn found(&self, survey: &Survey, emitted: &Emitted) -> Option<SeamFound> {
        if !self.began {
            return None;
        }
        match (emitted.seam, self.last) {
            (Seam::Overlapping, Some(edge)) => {
                let ahead = emitted.ready.as_ref().and_then(|ready| ready.left_out.clone());
                let first = ahead.or_else(|| survey.first(&emitted.page));
                Some(if first.is_some_and(|first| first.is(edge)) { SeamFound::Met } else { SeamFound::Missed })
            }
            // The page log of an older host: it cannot be compared.
            (Seam::Overlapping | Seam::Counted, _) => Some(SeamFound::Counted),
            (Seam::Anchored, _) => Some(SeamFound::Anchored),
            (Seam::Unsaid, _) => {
                let url = emitted.origin.as_ref().map(|origin| origin.url.as_str());
                let counted = url.is_some_and(|url| is_counted(self.url.as_deref(), url));
                Some(if counted { SeamFound::Counted } else { SeamFound::Anchored })
            }
        }
    }

    /// Goes on behind a page.
    pub(crate) fn pass(&mut self, records: u64, checks: &PageChecks, url: Option<&str>) {
        self.began |= records > 0 || checks.known > 0;
        self.last = checks.edge.or(self.last);
        if let Some(url) = url {
            self.url = Some(url.to_owned());
        }
    }
}

/// Whether a request counts pages or records, by its URL and that of the page before.
fn is_counted(before: Option<&str>, url: &str) -> bool {
    let had = |name: &str, value: &str| {
        before.is_some_and(|before| query_pairs(before).any(|pair| pair.0 == name && pair.1 == value))
    };
    query_pairs(url).any(|(name, value)| {
        let plain: String = name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
        let counts = COUNTING.contains(&plain.as_str()) && value.parse::<u64>().is_ok_and(|value| value < MOMENTS);
        counts && !had(&name, &value)
    })
}

/// The parameters of a URL's query. What stands before it matters to nobody here, so it is not taken apart.
fn query_pairs(url: &str) -> url::form_urlencoded::Parse<'_> {
    let whole = url.split('#').next().unwrap_or_default();
    url::form_urlencoded::parse(whole.split_once('?').map_or("", |(_, query)| query).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_count_are_told_by_the_names_of_their_parameters() {
        let first = Some("https://a/items?per_page=30");
        for (url, counted) in [
            ("https://a/items?per_page=30&page=2", true),
            ("https://a/items?page%5Bnumber%5D=2", true),
            ("https://a/items?$skip=100", true),
            ("https://a/items?startAt=50&maxResults=50", true),
            ("https://a/other/items?Page_Number=2", true),
            ("https://a/items?page=abc", false),
            ("https://a/items?per_page=30", false),
            ("https://a/items?cursor=100", false),
            ("https://a/items?after=30", false),
            ("https://a/items?start=1700000000", false),
            ("no URL", false),
        ] {
            assert_eq!(is_counted(first, url), counted, "{url}");
        }
        assert!(!is_counted(Some("https://a/?page=1&token=x"), "https://a/?page=1&token=y"), "the page is the same");
        assert!(is_counted(None, "https://a/?page=2"));
    }
}
