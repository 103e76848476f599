//! `events`: what happened lately, the newest first.
//!
//! GitHub keeps 300 events of a repository, and those only for some weeks. Reading seldom therefore
//! leaves holes that no later read can fill; they are said in the log.

use connector_sdk::{pages::compare, prelude::*, warn};

use super::{Kind, list};
use crate::config::Github;

/// Reads one repository's, from the newest back to the watermark.
pub(super) fn read(github: &Github, read: &Read, repository: &str) -> Result<Option<String>> {
    let field = Kind::Events.cursor_field().unwrap_or_default();
    let mut oldest = None;
    let summary = read
        .pages(list::request(github, Kind::Events, repository), "", list::paginator(Kind::Events))
        .extra("repository", &repository)?
        .watermark(Watermark::descending(field))
        .until_since(field)
        // Events are added in front and forgotten at the end.
        .never_shifts()
        .each(|response| {
            list::refuse(response, repository)?;
            oldest = last(response, field)?.or(oldest.take());
            Ok(())
        })
        .run()?;
    if let (true, Some(since), Some(oldest)) = (summary.complete, read.since.as_deref(), oldest)
        && hole(since, &oldest)
    {
        warn!(
            "GitHub has forgotten events of {repository} between {since} and {oldest}: it keeps 300; read more often";
            repository = repository
        );
    }
    Ok(summary.watermark)
}

/// The time of the last record on a page.
fn last(response: &dyn ResponseView, field: &str) -> Result<Option<String>> {
    let Some(place) = response.len("")?.and_then(|count| count.checked_sub(1)) else { return Ok(None) };
    let text = response.json_text(&format!("/{place}/{field}"))?;
    Ok(text.map(|text| text.trim_matches('"').to_owned()))
}

/// Whether there may have been events between the watermark and the oldest that there is.
fn hole(since: &str, oldest: &str) -> bool {
    compare(oldest, since).is_gt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::testing::Reply;

    #[test]
    fn a_list_that_ends_before_the_watermark_has_a_hole() -> Result<()> {
        let page = Reply::json(r#"[{"created_at": "2024-03-02T00:00:00Z"}, {"created_at": "2024-03-01T00:00:00Z"}]"#);
        let oldest = last(&page, "created_at")?;
        assert_eq!(oldest.as_deref(), Some("2024-03-01T00:00:00Z"));
        assert!(oldest.as_deref().is_some_and(|oldest| hole("2024-02-01T00:00:00Z", oldest)));
        assert!(oldest.as_deref().is_some_and(|oldest| !hole("2024-03-01T00:00:00Z", oldest)));
        assert_eq!(last(&Reply::json("[]"), "created_at")?, None);
        Ok(())
    }
}
