//! Cursors: the response names the next page.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::place::plain;
use super::{PageError, Paginator, Place, Received, Seen, Source, Step, excerpt, restore, save};
use crate::{Request, url};

/// Reads by a token, or a whole URL, that each response gives for the next page.
///
/// The end is a response without one (absent, `null`, `false` or an empty text), or whose
/// [`has_more`](Cursor::has_more) is false. An empty page with a token is not the end.
///
/// ```
/// use connector_sdk::pages::Cursor;
///
/// let in_query = Cursor::token("/meta/next_cursor", "cursor");
/// let in_post = Cursor::token("/next", "/start_cursor").has_more("/has_more");
/// let url_in_body = Cursor::url("/next_url");
/// let url_in_header = Cursor::url("Next-Page");
/// ```
#[derive(Debug, Clone)]
pub struct Cursor {
    source: Source,
    target: Target,
    has_more: Option<Source>,
    end_tokens: Vec<String>,
    state: State,
}

#[derive(Debug, Clone)]
enum Target {
    Place(Place),
    /// The token is percent-encoded already.
    Encoded(String),
    Url {
        keep: Vec<String>,
    },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    next: Option<Value>,
    seen: Seen,
}

impl Cursor {
    /// Takes a token from a source (a text that starts with a slash is a pointer into the body,
    /// another one a header's name) and sends it in a place (a query parameter, or a pointer into the
    /// body of a POST). In a query, the token is percent-encoded once, by the host.
    pub fn token(source: impl Into<Source>, place: impl Into<Place>) -> Self {
        Self::of(source.into(), Target::Place(place.into()))
    }

    /// As [`token`](Cursor::token), for an API whose tokens are percent-encoded already: they go into
    /// the query as they are.
    pub fn encoded_token(source: impl Into<Source>, query: impl Into<String>) -> Self {
        Self::of(source.into(), Target::Encoded(query.into()))
    }

    /// Takes the next page's whole URL, which may be relative to the request's. It replaces the
    /// request's query; method, headers and body stay.
    pub fn url(source: impl Into<Source>) -> Self {
        Self::of(source.into(), Target::Url { keep: Vec::new() })
    }

    fn of(source: Source, target: Target) -> Self {
        Self { source, target, has_more: None, end_tokens: Vec::new(), state: State::default() }
    }

    /// Sends a query parameter of the first request along with each URL that lacks it, such as an
    /// API key that the API leaves out of its URLs.
    #[must_use]
    pub fn keep_query(mut self, name: impl Into<String>) -> Self {
        if let Target::Url { keep } = &mut self.target {
            keep.push(name.into());
        }
        self
    }

    /// Says where the API tells whether more pages follow. It decides alone: where it is true, a
    /// missing token is an error; where it is false, a token is ignored.
    #[must_use]
    pub fn has_more(mut self, source: impl Into<Source>) -> Self {
        self.has_more = Some(source.into());
        self
    }

    /// Takes a certain token as the end, for an API that gives `0` or `-1` there.
    #[must_use]
    pub fn end_token(mut self, token: impl Into<String>) -> Self {
        self.end_tokens.push(token.into());
        self
    }

    fn next(&self, page: &Received<'_>) -> Result<Option<Value>, PageError> {
        let more = match &self.has_more {
            Some(source) => Some(truth(source, page)?),
            None => None,
        };
        if more == Some(false) {
            return Ok(None);
        }
        match self.source.value(page.response)? {
            None | Some(Value::Bool(false)) => {}
            Some(token) if self.end_tokens.contains(&plain(&token)) => {}
            Some(token @ (Value::String(_) | Value::Number(_))) => return Ok(Some(token)),
            // A POST body can take any value as a token, a query only texts and numbers.
            Some(token @ (Value::Object(_) | Value::Array(_)))
                if matches!(self.target, Target::Place(Place::Body(_))) =>
            {
                return Ok(Some(token));
            }
            Some(other) => {
                return Err(PageError::Unexpected {
                    what: self.source.to_string(),
                    expected: "a token",
                    value: excerpt(&other.to_string()),
                });
            }
        }
        if more == Some(true) {
            let what = format!("{}, though more pages follow,", self.source);
            return Err(PageError::Missing { what, request: page.request.to_string() });
        }
        Ok(None)
    }
}

fn truth(source: &Source, page: &Received<'_>) -> Result<bool, PageError> {
    match source.value(page.response)? {
        Some(Value::Bool(more)) => Ok(more),
        Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(false),
        Some(other) => Err(PageError::Unexpected {
            what: source.to_string(),
            expected: "true or false",
            value: excerpt(&other.to_string()),
        }),
        None => Err(PageError::Missing { what: source.to_string(), request: page.request.to_string() }),
    }
}

impl Paginator for Cursor {
    fn request(&self, base: &Request) -> Result<Request, PageError> {
        let Some(next) = &self.state.next else { return Ok(base.clone()) };
        match &self.target {
            Target::Place(place) => place.put(base.clone(), next.clone()),
            Target::Encoded(name) => {
                let mut request = base.clone();
                request.url = url::append_encoded(&request.url, name, &plain(next));
                Ok(request)
            }
            Target::Url { keep } => Ok(base.clone().follow(plain(next), keep)),
        }
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        let Some(mut next) = self.next(page)? else { return Ok(Step::END) };
        let mut what = "cursor";
        if matches!(self.target, Target::Url { .. }) {
            what = "URL";
            if self.state.next.is_none() {
                // The way back to the first page is a circle too.
                let _ = self.state.seen.insert(&[&page.request.full_url()]);
            }
            next = Value::String(url::resolve(&page.request.url, &plain(&next)));
        }
        if !self.state.seen.insert(&[&plain(&next)]) {
            return Err(PageError::Repeated { what, value: excerpt(&plain(&next)) });
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

    use super::super::sim::{Api, Sim, param, reply, slice, things};
    use super::*;
    use crate::testing::Reply;

    /// A token that hurts when it is encoded twice or not at all.
    fn token(page: usize) -> String {
        format!("{page},a%2Cb&c=d+e/~2C")
    }

    fn page_of(token: Option<String>) -> usize {
        match token {
            Some(text) => {
                let page = text.split(',').next().unwrap().parse().unwrap();
                assert_eq!(text, self::token(page), "the token came back as it was given");
                page
            }
            None => 0,
        }
    }

    #[test]
    fn a_token_in_the_body_or_a_header_goes_into_the_query_encoded_once() {
        let all = things(0..47);
        let api = |request: &Request| {
            let page = page_of(param(request, "cursor"));
            let next = (page < 4).then(|| token(page + 1));
            let reply = reply(slice(&all, page * 10, 10), json!({ "meta": { "next/cursor": next } }));
            match &next {
                Some(next) => reply.with_header("X-Next", next),
                None => reply,
            }
        };
        Sim::new(Cursor::token("/meta/next~1cursor", "cursor")).is_exact(api, &all);
        Sim::new(Cursor::token("x-next", "cursor")).is_exact(api, &all);
    }

    #[test]
    fn a_token_that_is_encoded_already_goes_in_as_it_is() {
        let all = things(0..30);
        let api = |request: &Request| {
            let page = param(request, "next").map_or(0, |t| t.strip_prefix("a,").unwrap().parse().unwrap());
            reply(slice(&all, page * 10, 10), json!({ "next": (page < 2).then(|| format!("a%2C{}", page + 1)) }))
        };
        Sim::new(Cursor::encoded_token("/next", "next")).is_exact(api, &all);
    }

    #[test]
    fn a_token_goes_into_the_body_of_a_post_with_its_type() {
        let all = things(0..30);
        let api = |request: &Request| {
            let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            assert_eq!(body["filter"], "x");
            let page = body["page"]["start"][0].as_u64().unwrap_or(0) as usize;
            reply(slice(&all, page * 10, 10), json!({ "next": [page + 1], "more": page < 2 }))
        };
        let mut sim = Sim::new(Cursor::token("/next", "/page/start").has_more("/more"));
        sim.request = Request::post("http://a/").body(r#"{"filter":"x"}"#);
        sim.is_exact(api, &all);
    }

    #[test]
    fn a_whole_url_may_be_relative_and_replaces_the_query() {
        let all = things(0..30);
        let api = |request: &Request| {
            let page: usize = param(request, "p").map_or(0, |p| p.parse().unwrap());
            assert_eq!(param(request, "filter").is_some(), page == 0);
            assert_eq!(param(request, "key").as_deref(), Some("k"));
            assert_eq!(request.headers, [("X-A".to_owned(), "b".to_owned())]);
            let next = match page {
                0 => Some("?p=1".to_owned()),
                1 => Some("https://api.example.com/v2/things?p=2&q=a%2Cb".to_owned()),
                _ => {
                    assert_eq!(request.full_url(), "https://api.example.com/v2/things?p=2&q=a%2Cb&key=k");
                    None
                }
            };
            let reply = reply(slice(&all, page * 10, 10), json!({ "next": next }));
            next.iter().fold(reply, |reply, next| reply.with_header("Next-Page", next))
        };
        for source in ["/next", "next-page"] {
            let mut sim = Sim::new(Cursor::url(source).keep_query("key"));
            sim.request = sim.request.query("filter", "x").query("key", "k").header("X-A", "b");
            sim.is_exact(api, &all);
        }
    }

    #[test]
    fn an_empty_page_with_a_token_is_not_the_end() {
        let all = things(0..20);
        let api = |request: &Request| {
            let page: usize = param(request, "c").map_or(0, |p| p.parse().unwrap());
            let records = if page % 2 == 1 { Vec::new() } else { slice(&all, page / 2 * 10, 10) };
            reply(records, json!({ "next": (page < 2).then_some(page + 1) }))
        };
        Sim::new(Cursor::token("/next", "c")).is_exact(api, &all);
    }

    #[test]
    fn null_false_an_empty_text_and_a_named_token_are_the_end() {
        for end in [json!({}), json!({"next": null}), json!({"next": false}), json!({"next": ""}), json!({"next": 0})] {
            let sim = Sim::new(Cursor::token("/next", "c").end_token("0"));
            let mut api = Api::new(|_| reply(things(0..3), end.clone()));
            assert!(sim.read(&mut api, None).unwrap().complete);
            assert_eq!(api.requests.len(), 1);
        }
    }

    #[test]
    fn has_more_decides_and_a_missing_token_is_no_end_then() {
        let sim = Sim::new(Cursor::token("/next", "c").has_more("/more"));
        let mut api = Api::new(|_| reply(things(0..3), json!({ "next": "x", "more": false })));
        assert!(sim.read(&mut api, None).unwrap().complete);
        let (error, _) = sim.fails(|_| reply(things(0..3), json!({ "more": true })));
        assert!(error.contains("value at \"/next\", though more pages follow, is missing"), "{error}");
        let (error, _) = sim.fails(|_| reply(things(0..3), json!({ "more": "maybe" })));
        assert!(error.ends_with("value at \"/more\" is not true or false: \"maybe\""), "{error}");
    }

    #[test]
    fn a_token_or_url_that_comes_again_is_an_error_in_circles_of_any_length() {
        for circle in (1..=50).chain([100]) {
            // Records go on, so that only the token tells.
            let mut fresh = 0;
            let api = |request: &Request| {
                let at: usize = param(request, "c").map_or(0, |c| c.parse().unwrap());
                fresh += 1;
                reply(
                    things(fresh..fresh + 1),
                    json!({ "next": (at + 1) % circle, "url": format!("?c={}", (at + 1) % circle) }),
                )
            };
            let (error, records) = Sim::new(Cursor::token("/next", "c")).fails(api);
            assert!(error.contains("the same cursor again"), "{error}");
            assert!(records.len() <= circle + 1 || circle > 64);
            let mut fresh = 0;
            let api = |request: &Request| {
                let at: usize = param(request, "c").map_or(0, |c| c.parse().unwrap());
                fresh += 1;
                reply(things(fresh..fresh + 1), json!({ "url": format!("?c={}", (at + 1) % circle) }))
            };
            let (error, _) = Sim::new(Cursor::url("/url")).fails(api);
            assert!(error.contains("the same URL again"), "{error}");
        }
    }

    #[test]
    fn a_way_back_to_the_first_url_is_found_before_it_is_taken() {
        let mut fresh = 0;
        let mut api = Api::new(|request| {
            fresh += 1;
            let next = if param(request, "c").is_some() { "things" } else { "?c=1" };
            reply(things(fresh..fresh + 1), json!({ "url": next }))
        });
        let error = Sim::new(Cursor::url("/url")).read(&mut api, None).unwrap_err();
        assert!(
            error.to_string().ends_with(
                "the same URL again, so that reading would go in a circle: https://api.example.com/v1/things"
            )
        );
        assert_eq!(api.requests.len(), 2);
    }

    #[test]
    fn new_tokens_for_the_same_page_are_an_error_too() {
        let mut count = 0;
        let (error, records) = Sim::new(Cursor::token("/next", "c")).fails(|_| {
            count += 1;
            reply(things(0..5), json!({ "next": count }))
        });
        assert!(error.contains("the same page again"), "{error}");
        assert_eq!(records, things(0..5));
    }

    #[test]
    fn a_circle_is_found_across_interruptions() {
        let api = |request: &Request| {
            let at: usize = param(request, "c").map_or(0, |c| c.parse().unwrap());
            reply(things(at..at + 1), json!({ "next": (at + 1) % 20 }))
        };
        let sim = Sim::new(Cursor::token("/next", "c"));
        let (mut walk, mut records) = (sim.walk(), 0);
        let error = loop {
            let request = walk.request().unwrap().unwrap();
            match walk.take(&request, &api(&request)) {
                Ok(taken) => records += taken.count,
                Err(error) => break error,
            }
            let checkpoint = walk.checkpoint().unwrap();
            walk = sim.walk();
            walk.resume(&checkpoint).unwrap();
        };
        assert!(matches!(error, PageError::Repeated { .. }));
        assert_eq!(records, 20);
    }

    #[test]
    fn a_checkpoint_of_another_pagination_is_refused() {
        let checkpoint = Sim::new(super::super::Offset::new("o", "l", 5)).walk().checkpoint().unwrap();
        let error = Sim::new(Cursor::token("/next", "c")).walk().resume(&checkpoint).unwrap_err();
        assert!(error.to_string().starts_with("the checkpoint does not fit this stream's pagination: unknown field"));
    }

    #[test]
    fn a_200_without_records_is_an_error_and_not_the_end() {
        for (body, found) in [
            (r#"{"error":"busy"}"#, r#"but nothing; the response is {"error":"busy"}"#),
            (r#"{"data":{}}"#, "but an empty object"),
            (r#"{"data":{"a":1}}"#, "but an object"),
            (r#"{"data":null}"#, "but null"),
            (r#"{"data":"<html>"}"#, "but \"<html>\""),
            ("<html>", "body is not JSON"),
        ] {
            let (error, _) = Sim::new(Cursor::token("/next", "c")).fails(|_| Reply::json(body));
            assert!(error.contains(found), "{error}");
        }
    }
}
