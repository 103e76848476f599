//! `issues`, `pulls` and `commits`: full, then by watermark.
//!
//! Pages are counted by GitHub, so that whatever moves in a list while it is read makes records come
//! twice or not at all. The orders chosen here lose nothing:
//!
//! * In full, issues and pulls are read by creation, the oldest first: an edit moves nothing, and
//!   what is new stands at the end. (Sorted by update, the oldest first, an edit takes a record out
//!   of the part that was read and pulls one across each page border behind it, unread.)
//! * Issues changed since the watermark are read in the same order, filtered by `since`, which
//!   means "at that time or later".
//! * Pulls have no such filter: the latest update first, until the watermark. An edit moves to the
//!   front and pushes a record across a border, so that it comes twice; none is lost.
//! * Commits come with the newest first, and know no other order; `since` filters.
//!
//! A change behind the reader's back is found by the next read, because the watermark is never later
//! than the moment at which the first page was made, by the clock of the server.

use connector_sdk::{prelude::*, storage};

use super::{Kind, list};
use crate::{
    config::{Github, Order, State},
    time,
};

/// Reads one repository's.
pub(super) fn read(github: &Github, kind: Kind, read: &Read, repository: &str) -> Result<Option<String>> {
    let request = request(github, kind, read.since.as_deref(), repository);
    let field = kind.cursor_field().unwrap_or_default();
    let mut begin = Begin::of(read, kind, repository)?;
    let mut pages = read
        .pages(request, "", list::paginator(kind))
        .extra("repository", &repository)?
        .watermark(Watermark::greatest(field))
        .each(|response| {
            list::refuse(response, repository)?;
            begin.see(response)
        });
    if kind == Kind::Pulls {
        // GitHub deletes no pull request, and an edit meanwhile makes one come twice but hides none.
        pages = pages.until_since(field).never_shifts();
    }
    let summary = pages.run()?;
    if !summary.complete {
        return Ok(read.since.clone());
    }
    begin.forget()?;
    Ok(capped(summary.watermark, read.since.as_deref(), begin.at))
}

/// The request for the first page.
fn request(github: &Github, kind: Kind, since: Option<&str>, repository: &str) -> Request {
    let request = list::request(github, kind, repository);
    if kind == Kind::Commits {
        return request.query_opt("since", since);
    }
    let state = match github.state {
        State::All => Some("all"),
        State::Closed => Some("closed"),
        State::Open => None,
    };
    let request = request.query_opt("state", state);
    match (kind, since, github.order) {
        (Kind::Pulls, Some(_), _) => request.query("sort", "updated").query("direction", "desc"),
        (_, _, Order::NewestFirst) => request.query_opt("since", since),
        (_, _, Order::OldestFirst) => {
            request.query("sort", "created").query("direction", "asc").query_opt("since", since)
        }
    }
}

/// When the first page of a read was made, kept in the storage for a read that is interrupted: it
/// becomes durable together with that page.
struct Begin {
    key: String,
    at: Option<i64>,
}

impl Begin {
    fn of(read: &Read, kind: Kind, repository: &str) -> Result<Self> {
        let key = format!("begin/{}/{repository}", kind.name());
        let at = match read.resume {
            Some(_) => storage::get::<i64>(&key)?,
            None => None,
        };
        Ok(Self { key, at })
    }

    /// The storage of a connection is small, and repositories can be many.
    fn forget(&self) -> Result<()> {
        if self.at.is_some() { storage::delete(&self.key) } else { Ok(()) }
    }

    fn see(&mut self, response: &dyn ResponseView) -> Result<()> {
        if self.at.is_none() {
            self.at = response.header("Date").and_then(|date| time::parse_http(&date));
            if let Some(at) = self.at {
                storage::set(&self.key, &at)?;
            }
        }
        Ok(())
    }
}

/// The watermark: what the records say, in UTC, but neither later than the begin of the read nor
/// earlier than the watermark before.
///
/// A commit's time is its author's: it can lie in the future, and would hide all that come after it.
fn capped(found: Option<String>, since: Option<&str>, begin: Option<i64>) -> Option<String> {
    let found = found?;
    let Some(seconds) = time::parse(&found) else { return Some(found) };
    let capped = begin.map_or(seconds, |begin| begin.min(seconds));
    let floor = since.and_then(time::parse).map_or(capped, |since| since.max(capped));
    Some(time::format(floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Option<&str> = Some("2024-01-01T00:00:00Z");

    fn url(config: &str, kind: Kind, since: Option<&str>) -> Result<String> {
        let github: Github = connector_sdk::parse_config(config)?;
        let url = request(&github, kind, since, "a/b").full_url();
        Ok(url.trim_start_matches("https://api.github.com/repos/a/b/").to_owned())
    }

    #[test]
    fn the_order_is_one_in_which_nothing_is_lost() -> Result<()> {
        let plain = r#"{"org": "a"}"#;
        let created = "per_page=100&state=all&sort=created&direction=asc";
        let since = "since=2024-01-01T00%3A00%3A00Z";
        assert_eq!(url(plain, Kind::Issues, None)?, format!("issues?{created}"));
        assert_eq!(url(plain, Kind::Issues, SINCE)?, format!("issues?{created}&{since}"));
        assert_eq!(url(plain, Kind::Pulls, None)?, format!("pulls?{created}"));
        assert_eq!(url(plain, Kind::Pulls, SINCE)?, "pulls?per_page=100&state=all&sort=updated&direction=desc");
        assert_eq!(url(plain, Kind::Commits, None)?, "commits?per_page=100");
        assert_eq!(url(plain, Kind::Commits, SINCE)?, format!("commits?per_page=100&{since}"));
        Ok(())
    }

    #[test]
    fn the_defaults_of_the_api_are_not_sent() -> Result<()> {
        let config = r#"{"org": "a", "per_page": 3, "state": "open", "order": "newest_first"}"#;
        assert_eq!(url(config, Kind::Issues, None)?, "issues?per_page=3");
        assert_eq!(url(config, Kind::Pulls, None)?, "pulls?per_page=3");
        Ok(())
    }

    #[test]
    fn a_watermark_is_never_later_than_the_begin_nor_earlier_than_before() {
        let begin = time::parse("2024-06-01T00:00:00Z");
        let capped = |found: &str, begin| capped(Some(found.to_owned()), SINCE, begin);
        assert_eq!(capped("2024-05-01T02:00:00+02:00", begin).as_deref(), Some("2024-05-01T00:00:00Z"));
        assert_eq!(capped("2099-01-01T00:00:00Z", begin).as_deref(), Some("2024-06-01T00:00:00Z"));
        assert_eq!(capped("2023-01-01T00:00:00Z", begin).as_deref(), SINCE);
        assert_eq!(capped("2024-05-01T00:00:00Z", None).as_deref(), Some("2024-05-01T00:00:00Z"));
        assert_eq!(super::capped(None, None, begin), None);
    }
}
