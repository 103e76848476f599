//! The mock API does what it promises, seen by a plain HTTP client.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::mock::{
    Action, Api, Budget, Change, Clock, Cycle, Encoding, Endpoint, Paging, RateHeaders, RetryAfter, Rule, Shape, Total,
    cursor::{self, Cursor},
    keyset::{self, Keyset},
    link::{self, Link},
    offset::Offset,
    page::Page,
};

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into()
}

struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn ids(&self) -> Vec<u64> {
        let items = if self.body.is_array() { &self.body } else { &self.body["items"] };
        items.as_array().into_iter().flatten().filter_map(|item| item["id"].as_u64()).collect()
    }
}

fn get(agent: &ureq::Agent, url: &str) -> anyhow::Result<Got> {
    read(agent.get(url).call()?)
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Got> {
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let text = response.body_mut().read_to_string()?;
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
    Ok(Got { status: response.status().as_u16(), headers, body })
}

fn api(endpoint: Endpoint) -> anyhow::Result<Api> {
    Ok(Api::builder().endpoint(endpoint).start()?)
}

fn items(paging: impl Into<Paging>) -> Endpoint {
    Endpoint::new("/items", paging).records(250)
}

fn all() -> Vec<u64> {
    (1..=250).collect()
}

#[test]
fn offset_hands_out_every_record_and_the_total() -> anyhow::Result<()> {
    for (total, header) in [(Total::Body, false), (Total::Header, true)] {
        let api = api(items(Offset::default()).total(total))?;
        let (agent, mut ids) = (agent(), Vec::new());
        loop {
            let got = get(&agent, &api.url(&format!("/items?offset={}&limit=70", ids.len())))?;
            match header {
                true => assert_eq!(got.header("x-total-count"), Some("250")),
                false => assert_eq!(got.body["total"], 250),
            }
            if got.ids().is_empty() {
                break;
            }
            ids.extend(got.ids());
        }
        assert_eq!(ids, all());
        let targets: Vec<String> =
            [0, 70, 140, 210, 250].iter().map(|n| format!("/items?offset={n}&limit=70")).collect();
        assert_eq!(api.targets(), targets);
        assert_eq!(api.requests().first().and_then(|request| request.status), Some(200));
    }
    Ok(())
}

#[test]
fn page_numbers_start_where_they_are_told_to() -> anyhow::Result<()> {
    for first in [0, 1] {
        let api = api(items(Page { first, ..Page::default() }).total(Total::Pages))?;
        let (agent, mut ids) = (agent(), Vec::new());
        for page in first..first + 3 {
            let got = get(&agent, &api.url(&format!("/items?page={page}&per_page=100")))?;
            assert_eq!(got.body["total_pages"], 3);
            ids.extend(got.ids());
        }
        assert_eq!(ids, all());
        assert!(get(&agent, &api.url(&format!("/items?page={}", first + 3)))?.ids().is_empty());
    }
    let clamped = api(items(Page { clamp: true, ..Page::default() }))?;
    assert_eq!(get(&agent(), &clamped.url("/items?page=9"))?.ids().first(), Some(&201));
    Ok(())
}

/// Follows a cursor in any place to the end; at most `pages` pages.
fn follow(api: &Api, place: cursor::Place, pages: usize) -> anyhow::Result<(Vec<u64>, Vec<String>)> {
    let (agent, mut ids, mut tokens) = (agent(), Vec::new(), Vec::new());
    let mut url = api.url("/items?limit=60");
    for _ in 0..pages {
        let got = get(&agent, &url)?;
        ids.extend(got.ids());
        let token = match place {
            cursor::Place::Header => got.header("x-next-cursor"),
            cursor::Place::HeaderUrl => got.header("next-page"),
            cursor::Place::Nested => got.body["meta"]["paging"]["next"].as_str(),
            _ => got.body["next"].as_str(),
        };
        let Some(token) = token.filter(|token| !token.is_empty()).map(str::to_owned) else { break };
        url = match place {
            cursor::Place::Url | cursor::Place::HeaderUrl => token.clone(),
            cursor::Place::RelativeUrl => api.url(&token),
            _ => {
                let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("cursor", &token).finish();
                api.url(&format!("/items?limit=60&{query}"))
            }
        };
        tokens.push(token);
        if got.body["has_more"] == false || (got.ids().is_empty() && tokens.len() > 9) {
            break;
        }
    }
    Ok((ids, tokens))
}

#[test]
fn cursors_lead_to_the_end_from_every_place() -> anyhow::Result<()> {
    use cursor::{End, Place};
    for place in [Place::Body, Place::Nested, Place::Header, Place::Url, Place::RelativeUrl, Place::HeaderUrl] {
        for end in [End::Missing, End::Null, End::Empty, End::HasMore, End::EmptyPage] {
            let api = api(items(Cursor { place, end, ..Cursor::default() }))?;
            let (ids, _) = follow(&api, place, 10)?;
            assert_eq!(ids, all(), "{place:?} {end:?}");
        }
    }
    Ok(())
}

#[test]
fn a_token_encoded_twice_is_not_understood() -> anyhow::Result<()> {
    let api = api(items(Cursor::default()))?;
    let got = get(&agent(), &api.url("/items"))?;
    let next = got.body["next"].as_str().context("a token")?.to_owned();
    assert_eq!(next, "k+/100=100");
    assert_eq!(get(&agent(), &api.url("/items?cursor=k%2B%2F100%3D100"))?.ids().first(), Some(&101));
    assert_eq!(get(&agent(), &api.url("/items?cursor=k%252B%252F100%253D100"))?.ids().first(), Some(&1));
    Ok(())
}

#[test]
fn cursors_go_round_in_circles_of_any_length() -> anyhow::Result<()> {
    for length in [1, 2, 4] {
        let cycle = Some(Cycle { at: 3, length });
        let api = api(items(Cursor { cycle, ..Cursor::default() }))?;
        let (ids, tokens) = follow(&api, cursor::Place::Body, 20)?;
        assert_eq!(ids.len(), 1200);
        let different: HashSet<_> = tokens.iter().collect();
        assert_eq!(different.len(), if length == 4 { 4 } else { 3 }, "{tokens:?}");
        let fresh = self::api(items(Cursor { cycle, fresh: true, ..Cursor::default() }))?;
        let (_, tokens) = follow(&fresh, cursor::Place::Body, 20)?;
        assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), 20);
    }
    Ok(())
}

#[test]
fn a_cursor_travels_in_the_body_of_a_post() -> anyhow::Result<()> {
    let api = api(items(Cursor::default()).post())?;
    let agent = agent();
    let (mut ids, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let body = if cursor.is_null() { json!({"limit": 90}) } else { json!({"limit": 90, "cursor": cursor}) };
        let got = read(agent.post(api.url("/items")).send_json(body)?)?;
        ids.extend(got.ids());
        cursor = got.body["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(ids, all());
    assert_eq!(get(&agent, &api.url("/items"))?.status, 405);
    Ok(())
}

#[test]
fn keysets_keep_their_promise_about_ties() -> anyhow::Result<()> {
    let last = |got: &Got| {
        let items = got.body["items"].as_array().and_then(|items| items.last()).cloned().unwrap_or_default();
        (items["updated_at"].as_str().unwrap_or_default().to_owned(), items["id"].as_u64().unwrap_or_default())
    };
    for (compare, ties, expected) in [
        (keyset::Compare::Pair, 70, 250),
        (keyset::Compare::AtLeast, 40, 250),
        // 60 records a page: the ties across each border are lost by the API, or the page never moves on.
        (keyset::Compare::Later, 40, 190),
        (keyset::Compare::AtLeast, 70, 60),
    ] {
        let api = api(items(Keyset { compare, ..Keyset::default() }).ties(ties))?;
        let agent = agent();
        let (mut ids, mut url) = (HashSet::new(), api.url("/items?limit=60"));
        for _ in 0..20 {
            let got = get(&agent, &url)?;
            ids.extend(got.ids());
            let (at, id) = last(&got);
            url = api.url(&format!("/items?limit=60&after={at}&after_id={id}"));
            if got.ids().is_empty() {
                break;
            }
        }
        assert_eq!(ids.len(), expected, "{compare:?} {ties}");
    }
    Ok(())
}

#[test]
fn links_are_written_in_every_way_that_is_allowed() -> anyhow::Result<()> {
    let plain = api(items(Link::default()))?;
    let got = get(&agent(), &plain.url("/items?per_page=100"))?;
    let base = plain.url("");
    assert_eq!(
        got.header("link"),
        Some(
            format!(
                "<{base}/items?page=2&per_page=100>; rel=\"next\", <{base}/items?page=3&per_page=100>; rel=\"last\""
            )
            .as_str()
        )
    );
    let odd = Link { relative: true, tricky: true, odd: true, moved: true, repeated: true, ..Link::default() };
    let odd = api(items(odd))?;
    let got = get(&agent(), &odd.url("/items?page=2&per_page=100"))?;
    let links: Vec<&str> =
        got.headers.iter().filter(|(name, _)| name == "link").map(|(_, value)| value.as_str()).collect();
    assert_eq!(links.len(), 4);
    assert_eq!(
        links.get(2).copied(),
        Some(
            "</by-id/items?page=3&per_page=100&fields=id,name;rel=next,%3Eb>; title=\"a, <b>; rel=\\\"next\\\", c\"; rel=\"NEXT last\""
        )
    );
    assert_eq!(
        get(&agent(), &odd.url("/by-id/items?page=3&per_page=100&fields=id,name;rel=next,%3Eb"))?.ids().len(),
        50
    );
    let token = api(items(Link { by: link::By::Token, ..Link::default() }))?;
    let got = get(&agent(), &token.url("/items?per_page=100"))?;
    ensure!(got.header("link").is_some_and(|link| link.contains("after=k%2B%2F100%3D100")), "{:?}", got.headers);
    Ok(())
}

#[test]
fn statuses_come_by_script_and_say_when_to_return() -> anyhow::Result<()> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let api = Api::builder()
        .endpoint(items(Offset::default()))
        .clock(Clock::new(move || now))
        .fault(Rule::on(1, Action::Status(429, RetryAfter::Seconds(7))))
        .fault(Rule::on(2, Action::Status(429, RetryAfter::Date(7))))
        .fault(Rule::on(3, Action::Status(503, RetryAfter::None)).times(2))
        .start()?;
    let got: Vec<Got> = (0..5).map(|_| get(&agent(), &api.url("/items"))).collect::<Result<_, _>>()?;
    assert_eq!(got.iter().map(|got| got.status).collect::<Vec<_>>(), [429, 429, 503, 503, 200]);
    let after: Vec<_> = got.iter().map(|got| got.header("retry-after")).collect();
    assert_eq!(after, [Some("7"), Some("Tue, 14 Nov 2023 22:13:27 GMT"), None, None, None]);
    Ok(())
}

#[test]
fn bodies_break_in_every_way() -> anyhow::Result<()> {
    let api = Api::builder()
        .endpoint(items(Offset::default()))
        .fault(Rule::on(1, Action::Cut(500)))
        .fault(Rule::on(2, Action::HangUp))
        .fault(Rule::on(3, Action::Truncate(500)))
        .fault(Rule::on(4, Action::Html))
        .fault(Rule::on(5, Action::ErrorBody))
        .fault(Rule::on(6, Action::EmptyObject))
        .fault(Rule::on(7, Action::Drip(4096, Duration::from_millis(1))))
        .start()?;
    let url = api.url("/items");
    // A fresh client for each, so that none repeats a request on its own on a stale connection.
    assert!(get(&agent(), &url).is_err(), "a cut body is an error of the transport");
    assert!(get(&agent(), &url).is_err(), "no answer is an error of the transport");
    let truncated = get(&agent(), &url)?;
    assert_eq!((truncated.status, truncated.header("content-length")), (200, Some("500")));
    assert!(truncated.body.is_string(), "what is left is no JSON");
    assert!(get(&agent(), &url)?.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(get(&agent(), &url)?.body, json!({"error": "the query timed out"}));
    assert_eq!(get(&agent(), &url)?.body, json!({}));
    assert_eq!(get(&agent(), &url)?.ids().len(), 100);
    assert_eq!(api.requests().len(), 7);
    assert_eq!(api.requests().get(1).map(|request| request.status), Some(None));
    Ok(())
}

#[test]
fn bodies_are_compressed_as_the_client_accepts() -> anyhow::Result<()> {
    let api = Api::builder().endpoint(items(Offset::default())).encoding(Encoding::Negotiate).start()?;
    for (accept, name) in [("gzip", "gzip"), ("br", "br"), ("gzip, br, zstd", "zstd")] {
        let mut response = agent().get(api.url("/items?limit=50")).header("accept-encoding", accept).call()?;
        assert_eq!(response.headers().get("content-encoding").and_then(|value| value.to_str().ok()), Some(name));
        let body = response.body_mut().read_to_vec()?;
        let text = match name {
            "gzip" => std::io::read_to_string(flate2::read::GzDecoder::new(body.as_slice()))?,
            "br" => std::io::read_to_string(brotli::Decompressor::new(body.as_slice(), 4096))?,
            _ => String::from_utf8(zstd::decode_all(body.as_slice())?)?,
        };
        let page: Value = serde_json::from_str(&text)?;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(50));
    }
    Ok(())
}

#[test]
fn short_and_empty_pages_lose_nothing_where_the_api_goes_on_behind_them() -> anyhow::Result<()> {
    let short = || [Rule::on(2, Action::Short(7)), Rule::on(4, Action::Short(0))];
    let [one, two] = short();
    let by_cursor =
        Api::builder().endpoint(items(Cursor::default()).total(Total::Body)).fault(one).fault(two).start()?;
    let (ids, tokens) = follow(&by_cursor, cursor::Place::Body, 20)?;
    assert_eq!(ids, all());
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len(), "no token comes twice");
    let by_page = Api::builder().endpoint(items(Page::default())).fault(Rule::on(1, Action::Short(7))).start()?;
    assert_eq!(get(&agent(), &by_page.url("/items?page=1"))?.ids().len(), 7);
    assert_eq!(get(&agent(), &by_page.url("/items?page=2"))?.ids().first(), Some(&101));
    Ok(())
}

#[test]
fn rows_change_while_they_are_read() -> anyhow::Result<()> {
    let endpoint = items(Offset::default())
        .total(Total::Body)
        .change(1, Change::InsertFront(3))
        .change(2, Change::DeleteFront(5))
        .change(3, Change::Repeat { id: 250, at: 0 });
    let api = Api::builder().endpoint(endpoint).fault(Rule::on(4, Action::Total(-40))).start()?;
    let page = |n: usize| get(&agent(), &api.url(&format!("/items?offset={}", n * 100)));
    let first: Vec<u64> =
        (0..4).map(|n| page(n).map(|got| got.ids().first().copied().unwrap_or(0))).collect::<Result<_, _>>()?;
    // Three records come twice, then two are lost.
    assert_eq!(first, [1, 98, 203, 0]);
    assert_eq!(api.ids("/items").first(), Some(&250));
    assert_eq!(api.ids("/items").len(), 249);
    let totals: Vec<Value> = (0..2).map(|_| page(0).map(|got| got.body["total"].clone())).collect::<Result<_, _>>()?;
    assert_eq!(totals, [249, 249]);
    Ok(())
}

#[test]
fn a_filter_by_time_sees_edits_that_arrive_out_of_order() -> anyhow::Result<()> {
    let api = api(items(Offset::default()).since("since"))?;
    let agent = agent();
    let since = "2024-01-01T00:04:05Z";
    assert_eq!(get(&agent, &api.url(&format!("/items?since={since}")))?.ids(), [246, 247, 248, 249, 250]);
    api.change("/items", &Change::Edit(vec![3]));
    api.change("/items", &Change::EditAt(9, 1_704_067_200 + 246));
    assert_eq!(get(&agent, &api.url(&format!("/items?since={since}")))?.ids(), [3, 9, 246, 247, 248, 249, 250]);
    Ok(())
}

#[test]
fn a_budget_is_enforced_for_each_token() -> anyhow::Result<()> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let budget = Budget { per_token: true, headers: RateHeaders::Delta, ..Budget::new(2, Duration::from_secs(60)) };
    let api = Api::builder()
        .endpoint(items(Offset::default()))
        .clock(Clock::new(move || now))
        .budget(budget)
        .token("one")
        .token("two")
        .start()?;
    let ask = |token: &str| -> anyhow::Result<Got> {
        read(agent().get(api.url("/items")).header("authorization", format!("Bearer {token}")).call()?)
    };
    let one: Vec<Got> = (0..3).map(|_| ask("one")).collect::<Result<_, _>>()?;
    assert_eq!(one.iter().map(|got| got.status).collect::<Vec<_>>(), [200, 200, 429]);
    assert_eq!(one.last().and_then(|got| got.header("retry-after")), Some("60"));
    assert_eq!(one.first().and_then(|got| got.header("x-ratelimit-remaining")), Some("1"));
    assert_eq!(ask("two")?.status, 200);
    assert_eq!(get(&agent(), &api.url("/items"))?.status, 401);
    Ok(())
}

#[test]
fn a_path_with_placeholders_is_a_listing_for_each_value() -> anyhow::Result<()> {
    let api = api(Endpoint::new("/groups/{group}/items", Offset::default()).records(3))?;
    let got = get(&agent(), &api.url("/groups/a%20b/items"))?;
    assert_eq!(got.body["items"][2]["parent"], "a b");
    api.change("/groups/x/items", &Change::DeleteFront(2));
    assert_eq!(get(&agent(), &api.url("/groups/x/items"))?.ids(), [3]);
    assert_eq!(get(&agent(), &api.url("/groups/y/items"))?.ids().len(), 3);
    assert_eq!(get(&agent(), &api.url("/groups/x"))?.status, 404);
    Ok(())
}

#[test]
fn large_records_are_the_same_every_time() -> anyhow::Result<()> {
    let api = api(items(Link::default()).shape(Shape::Large).prebuilt(1 << 20))?;
    let pages: Vec<Value> =
        (0..2).map(|_| get(&agent(), &api.url("/items?page=2")).map(|got| got.body)).collect::<Result<_, _>>()?;
    assert_eq!(pages.first(), pages.last());
    let expected: Value = serde_json::from_str(api.records("/items").get(100).context("a record")?)?;
    assert_eq!(pages.first().and_then(|page| page.get(0)), Some(&expected));
    Ok(())
}
