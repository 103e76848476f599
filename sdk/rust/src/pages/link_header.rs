//! The `Link` header field.

use serde::{Deserialize, Serialize};

use super::{PageError, Paginator, Received, Seen, Step, excerpt, restore, save};
use crate::{Request, link, url};

/// Reads by the `Link` header field (RFC 8288): each response's link with the relation `next`.
///
/// The end is a response without such a link. The URL replaces the request's query; method, headers
/// and body stay.
///
/// ```
/// use connector_sdk::pages::LinkHeader;
///
/// let next = LinkHeader::new();
/// let newest_first = LinkHeader::rel("prev").keep_query("api_key");
/// ```
#[derive(Debug, Clone)]
pub struct LinkHeader {
    rel: String,
    keep: Vec<String>,
    state: State,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    next: Option<String>,
    seen: Seen,
}

impl LinkHeader {
    /// Follows the relation `next`.
    #[must_use]
    pub fn new() -> Self {
        Self::rel("next")
    }

    /// Follows another relation.
    pub fn rel(rel: impl Into<String>) -> Self {
        Self { rel: rel.into(), keep: Vec::new(), state: State::default() }
    }

    /// Sends a query parameter of the first request along with each URL that lacks it, such as an
    /// API key that the API leaves out of its links.
    #[must_use]
    pub fn keep_query(mut self, name: impl Into<String>) -> Self {
        self.keep.push(name.into());
        self
    }
}

impl Default for LinkHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl Paginator for LinkHeader {
    fn request(&self, base: &Request) -> Result<Request, PageError> {
        Ok(match &self.state.next {
            Some(next) => base.clone().follow(next, &self.keep),
            None => base.clone(),
        })
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        let links = link::from_headers(&page.response.headers());
        let Some(next) = links.iter().find(|l| l.has_rel(&self.rel)) else { return Ok(Step::END) };
        let next = url::resolve(&page.request.url, &next.target);
        if self.state.next.is_none() {
            // The way back to the first page is a circle too.
            let _ = self.state.seen.insert(&[&page.request.full_url()]);
        }
        if !self.state.seen.insert(&[&next]) {
            return Err(PageError::Repeated { what: "URL", value: excerpt(&next) });
        }
        self.state.next = Some(next);
        Ok(Step::NEXT)
    }

    fn save(&self) -> String {
        save(&self.state)
    }

    fn restore(&mut self, saved: &str) -> Result<(), PageError> {
        self.state = restore(saved)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sim::{Sim, param, reply, slice, things};
    use super::*;

    fn page(request: &Request) -> usize {
        param(request, "page").map_or(0, |page| page.parse().unwrap())
    }

    #[test]
    fn it_follows_the_next_link_whatever_stands_around_it() {
        let all = things(0..40);
        let api = |request: &Request| {
            let reply = reply(slice(&all, page(request) * 10, 10), json!({}));
            match page(request) {
                0 => reply
                    .with_header("Link", r#"<?page=9>; rel="last"; title="a, <b>; rel=next", <?page=1>; rel="next""#),
                1 => reply
                    .with_header("LINK", "</x>; rel=first")
                    .with_header("link", "</v2/a,b;c?page=2>; REL=\"prefetch NEXT\""),
                2 => {
                    assert_eq!(request.full_url(), "https://api.example.com/v2/a,b;c?page=2");
                    reply.with_header("link", "<../d?page=3>; rel=next")
                }
                _ => {
                    assert_eq!(request.full_url(), "https://api.example.com/d?page=3");
                    reply.with_header("link", "<?page=0>; rel=prev; rel=next, <?page=4>; rel*=next")
                }
            }
        };
        Sim::new(LinkHeader::new()).is_exact(api, &all);
    }

    #[test]
    fn another_relation_can_be_followed_with_kept_parameters() {
        let all = things(0..20);
        let api = |request: &Request| {
            assert_eq!(param(request, "key").as_deref(), Some("k"));
            let reply = reply(slice(&all, page(request) * 10, 10), json!({}));
            if page(request) == 0 { reply.with_header("Link", "<?page=1>; rel=older") } else { reply }
        };
        let mut sim = Sim::new(LinkHeader::rel("older").keep_query("key"));
        sim.request = sim.request.query("key", "k");
        sim.is_exact(api, &all);
    }

    #[test]
    fn a_link_that_leads_back_is_an_error() {
        for circle in 1..=50 {
            let mut fresh = 0;
            let (error, records) = Sim::new(LinkHeader::new()).fails(|request| {
                fresh += 1;
                let next = (page(request) + 1) % circle;
                reply(things(fresh..fresh + 1), json!({})).with_header("Link", &format!("<?page={next}>; rel=next"))
            });
            assert!(error.contains("the same URL again"), "{error}");
            assert!(records.len() <= circle + 1);
        }
    }
}
