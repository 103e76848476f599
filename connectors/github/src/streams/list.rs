//! `releases` and `contributors`: always read in full.

use connector_sdk::{
    pages::{PageError, Received, Step},
    prelude::*,
};

use super::Kind;
use crate::{api, config::Github};

/// Reads one repository's.
pub(super) fn read(github: &Github, kind: Kind, read: &Read, repository: &str) -> Result<Option<String>> {
    let mut request = request(github, kind, repository);
    if kind == Kind::Contributors && github.anonymous_contributors {
        request = request.query("anon", "true");
    }
    read.pages(request, "", paginator(kind))
        .extra("repository", &repository)?
        .each(|response| refuse(response, repository))
        .run()?;
    Ok(None)
}

/// The request for the first page of a repository's list.
pub(super) fn request(github: &Github, kind: Kind, repository: &str) -> Request {
    let request = github.list(&format!("/repos/{repository}/{}", kind.name()));
    api::GONE.iter().fold(request, |request, status| request.accept(*status))
}

/// Refuses the answer of a repository that is not there.
pub(super) fn refuse(response: &dyn ResponseView, repository: &str) -> Result<()> {
    match response.status() {
        status if api::GONE.contains(&status) => Err(api::gone(status, &format!("repository {repository}"))),
        _ => Ok(()),
    }
}

/// The Link header, and the statuses by which the API says that a list is empty.
pub(super) fn paginator(kind: Kind) -> OrNone<LinkHeader> {
    let none: &'static [u16] = match kind {
        // A repository without a commit: 409 Conflict, "Git Repository is empty".
        Kind::Commits => &[409],
        // The same for contributors: 204 No Content.
        Kind::Contributors => &[204],
        // A repository whose issues are turned off: 410 Gone.
        Kind::Issues => &[410],
        _ => &[],
    };
    OrNone { pages: LinkHeader::new(), none, begun: false }
}

/// A paginator for an API that has statuses for an empty list. In the middle of a list they are none: issues that are turned
/// off while they are read have not come to their end.
#[derive(Debug, Clone)]
pub(super) struct OrNone<P> {
    pages: P,
    none: &'static [u16],
    /// Whether a page has come.
    begun: bool,
}

impl<P: Paginator> Paginator for OrNone<P> {
    fn request(&self, base: &Request) -> Result<Request, PageError> {
        self.pages.request(base)
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        self.begun = true;
        self.pages.advance(page)
    }

    fn save(&self) -> String {
        self.pages.save()
    }

    fn restore(&mut self, saved: &str) -> Result<(), PageError> {
        self.begun = true;
        self.pages.restore(saved)
    }

    fn end_statuses(&self) -> &[u16] {
        if self.begun { &[] } else { self.none }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::testing::Reply;

    #[test]
    fn an_empty_repository_is_an_empty_list_and_a_missing_one_is_not() {
        assert_eq!(paginator(Kind::Commits).end_statuses(), [409]);
        assert_eq!(paginator(Kind::Contributors).end_statuses(), [204]);
        assert!(paginator(Kind::Releases).end_statuses().is_empty());
        let gone = refuse(&Reply::json("{}").with_status(404), "a/b");
        assert!(matches!(&gone, Err(Error::Http(reason)) if reason.starts_with("repository a/b is not there")));
        assert_eq!(refuse(&Reply::json("[]"), "a/b"), Ok(()));
    }

    #[test]
    fn pages_follow_the_link_wherever_it_leads() -> Result<(), PageError> {
        let base = Request::get("https://api.github.com/repos/a/b/releases").query("per_page", 3);
        let mut pages = paginator(Kind::Releases);
        let link = r#"<https://api.github.com/repositories/1000/releases?per_page=3&page=2>; rel="next""#;
        let reply = Reply::json("[{}]").with_header("Link", link);
        let request = pages.request(&base)?;
        let page = Received { request: &request, response: &reply, records: "", count: 1, total: None };
        assert_eq!(pages.advance(&page)?, Step::NEXT);
        let next = pages.request(&base)?.to_string();
        assert_eq!(next, "GET https://api.github.com/repositories/1000/releases?per_page=3&page=2");
        Ok(())
    }

    #[test]
    fn a_list_that_has_begun_is_not_empty() -> Result<(), PageError> {
        let base = Request::get("https://api.github.com/repos/a/b/issues");
        let mut pages = paginator(Kind::Issues);
        let request = pages.request(&base)?;
        assert_eq!(pages.end_statuses(), [410]);
        let reply = Reply::json("[{}]").with_header("Link", r#"<https://api.github.com/x?page=2>; rel="next""#);
        pages.advance(&Received { request: &request, response: &reply, records: "", count: 1, total: None })?;
        assert!(pages.end_statuses().is_empty());
        let mut resumed = paginator(Kind::Issues);
        resumed.restore(&pages.save())?;
        assert!(resumed.end_statuses().is_empty());
        Ok(())
    }
}
