//! What `rest` and the host make of an API that fails, for a moment or for good.

use std::time::Duration;

use serde_json::json;
use tests::{
    mock::{Action, Encoding, RetryAfter, Rule, Total, cursor::Cursor, offset::Offset},
    variation::{Variation, judge},
};

fn cursor(name: &'static str) -> Variation {
    Variation::new(name, Cursor::default(), json!({"cursor": {"token": "/next", "param": "cursor"}}))
}

/// The third page, by the text of its request.
fn third(action: Action) -> Rule {
    Rule::always(action).containing("cursor=k+/60=60")
}

#[test]
fn what_passes_is_tried_again_and_counted() -> anyhow::Result<()> {
    let nth = |nth, action| Rule::on(nth, action);
    judge(&[
        cursor("429 that says at once").fault(nth(2, Action::Status(429, RetryAfter::Seconds(0)))).retries(1),
        cursor("429 with a time of day").fault(nth(2, Action::Status(429, RetryAfter::Date(0)))).retries(1),
        cursor("429 that says nothing").fault(nth(3, Action::Status(429, RetryAfter::None)).times(2)).retries(2),
        cursor("500").fault(nth(1, Action::Status(500, RetryAfter::None))).retries(1),
        cursor("502 and 503 and 504")
            .fault(nth(1, Action::Status(502, RetryAfter::None)))
            .fault(nth(2, Action::Status(503, RetryAfter::Seconds(0))))
            .fault(nth(3, Action::Status(504, RetryAfter::None)))
            .retries(3),
        cursor("every other request fails").fault(Rule::every(2, Action::Status(503, RetryAfter::None))).retries(3),
        cursor("a connection that ends in the middle of a body").fault(nth(2, Action::Cut(500))).retries(1),
        cursor("a connection that ends before an answer").fault(nth(2, Action::HangUp)).retries(1),
        Variation::new("several in flight at once", Offset::default(), json!({"offset": {"limit": 10}}))
            .total(Total::Body)
            .fault(Rule::every(4, Action::Status(503, RetryAfter::None)))
            .retries(3),
    ])
}

#[test]
fn bodies_are_read_however_they_are_sent() -> anyhow::Result<()> {
    judge(&[
        cursor("the best that is offered").encoding(Encoding::Negotiate),
        cursor("gzip").encoding(Encoding::Gzip),
        cursor("brotli").encoding(Encoding::Brotli),
        cursor("zstd").encoding(Encoding::Zstd),
        cursor("in small pieces").fault(Rule::on(2, Action::Drip(1024, Duration::from_millis(10)))),
        cursor("after a pause").fault(Rule::on(2, Action::Delay(Duration::from_millis(100)))),
    ])
}

#[test]
fn what_does_not_pass_ends_the_read_and_says_why() -> anyhow::Result<()> {
    let failing = |name, action, reason: &str| cursor(name).fault(third(action)).records(1..=60).incomplete(&[reason]);
    let json = |body: &str| Action::Body(200, "application/json", body.to_owned());
    let wrong = |reason: &str| format!("the API's answer is not what it should be: {reason}");
    let no_list = |found: &str| {
        wrong(&format!(
            "no array of records at \"/items\" in the response of GET BASE/items?cursor=k%2B%2F60%3D60, but {found}"
        ))
    };
    judge(&[
        failing(
            "truncated JSON",
            Action::Truncate(100),
            &wrong("body of BASE/items is not JSON: line 1, column 101: the text ends in the middle of a value; it may be cut off"),
        ),
        failing(
            "200 with an error in it",
            Action::ErrorBody,
            &no_list(r#"nothing; the response is {"error":"the query timed out"}"#),
        ),
        failing(
            "200 with a page for people",
            Action::Html,
            &wrong("body of BASE/items is not JSON: line 1, column 1: unexpected `<`; the body looks like HTML or XML"),
        ),
        failing("200 with an empty object", Action::EmptyObject, &no_list("nothing; the response is {}")),
        failing(
            "an empty body",
            json(""),
            &wrong("body of BASE/items is not JSON: line 1, column 1: the text ends in the middle of a value; it may be cut \
                    off; the body is empty"),
        ),
        failing("null in the place of the list", json(r#"{"items":null}"#), &no_list("null")),
        failing("an object in the place of the list", json(r#"{"items":{"id":1}}"#), &no_list("an object")),
        failing(
            "a list of something else than objects",
            json(r#"{"items":[1]}"#),
            "the answer of BASE/items?cursor=k%2B%2F60%3D60 cannot be taken as records: record 0 is not an object: a number",
        ),
        failing(
            "404",
            Action::Status(404, RetryAfter::None),
            r#"a request failed: BASE/items answered 404: {"error":"by script"}"#,
        ),
        failing(
            "401",
            Action::Status(401, RetryAfter::None),
            "the API refuses the credentials: BASE/items answered 401: {\"error\":\"by script\"}; check the credentials in the \
             configuration, and that they may read this",
        ),
        failing(
            "503 for good",
            Action::Status(503, RetryAfter::None),
            "the API fails for now: BASE/items answered 503 after 6 attempts: {\"error\":\"by script\"}; run again to go on \
             from here",
        )
        .retries(5),
        failing(
            "a body that is not in its encoding",
            Action::Encode(Encoding::FalseGzip),
            "the API fails for now: BASE/items cannot be reached: the body is no whole gzip, in the answer of BASE/items; tried \
             6 times; run again to go on from here",
        )
        .retries(5),
        failing(
            "a redirect to another host",
            Action::Headers(302, vec![("location", "http://example.com/items".into())]),
            "a request failed: BASE/items is not allowed: after a redirect, host example.com is not in the connector's \
             description; to allow it, add --allow-host http://example.com (rule host)",
        ),
    ])
}
