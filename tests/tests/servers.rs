//! The real servers start, and answer as the connectors' configurations expect.

use std::collections::HashSet;

use anyhow::Context;
use serde_json::Value;
use tests::{
    recorded::{Recording, Replay},
    servers::{
        datasette::{self, Datasette},
        installed,
        kinto::{self, Kinto},
        octokit::{MEDIA_TYPE, Octokit, TOKEN},
    },
};

struct Got {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Value,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn get(url: &str, headers: &[(&str, &str)]) -> anyhow::Result<Got> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call()?;
    let headers = response.headers().clone();
    let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
    Ok(Got { status: response.status().as_u16(), headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn next(link: &str) -> Option<&str> {
    link.split(", ").find(|link| link.ends_with("rel=\"next\""))?.strip_prefix('<')?.split('>').next()
}

#[test]
fn octokits_scenario_is_read_once_page_by_page() -> anyhow::Result<()> {
    let octokit = Octokit::start()?;
    let scenario = octokit.scenario("paginate-issues")?;
    let token = format!("token {TOKEN}");
    let headers = [("authorization", token.as_str()), ("accept", MEDIA_TYPE)];
    let mut url = format!("{}/repos/octokit-fixture-org/paginate-issues/issues?per_page=3", scenario.url);
    let mut numbers = Vec::new();
    for page in 1..=5 {
        let got = get(&url, &headers)?;
        assert_eq!(got.status, 200, "page {page}: {}", got.body);
        numbers.extend(got.body.as_array().into_iter().flatten().filter_map(|issue| issue["number"].as_u64()));
        match got.header("link").and_then(next) {
            Some(link) => url = link.to_owned(),
            None => break,
        }
        assert!(url.starts_with(&format!("{}/repositories/1000/issues", scenario.url)), "{url}");
    }
    assert_eq!(numbers, (1..=13).rev().collect::<Vec<_>>());
    assert_eq!(get(&url, &headers)?.status, 404, "each exchange is given once");
    assert_eq!(Octokit::recorded("paginate-issues")?.len(), 5);
    Ok(())
}

#[test]
fn datasettes_compound_tokens_are_followed_to_the_end() -> anyhow::Result<()> {
    let datasette = Datasette::start()?;
    let quick = "_size=1000&_shape=objects&_nocount=1&_nofacet=1&_nosuggest=1&day=2024-01-03";
    let mut seen = HashSet::new();
    let mut cursor = None::<String>;
    loop {
        let next = cursor.as_ref().map_or_else(String::new, |token| {
            let token = url::form_urlencoded::Serializer::new(String::new()).append_pair("_next", token).finish();
            format!("&{token}")
        });
        let got = get(&format!("{}/shop/orders.json?{quick}{next}", datasette.url()), &[])?;
        assert_eq!(got.status, 200, "{}", got.body);
        for row in got.body["rows"].as_array().context("rows")? {
            seen.insert((row["shop"].as_str().map(str::to_owned), row["number"].as_u64()));
        }
        match got.body["next"].as_str() {
            Some(token) => cursor = Some(token.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen.len(), datasette::TIES as usize);
    let sorted = get(&format!("{}/shop/orders.json?_size=1000&_sort=day", datasette.url()), &[])?;
    assert_eq!(sorted.body["rows"].as_array().map(Vec::len), Some(1000));
    let token = sorted.body["next"].as_str().context("a token")?;
    assert!(token.starts_with("2024-01-01,"), "{token}");
    Ok(())
}

#[test]
fn kinto_hands_out_pages_and_what_changed_since() -> anyhow::Result<()> {
    let kinto = Kinto::start(40)?;
    kinto.fill("things", 100)?;
    let records = format!("{}/{}", kinto.url(), kinto::records("things"));
    let get = |url: &str| get(url, &[("authorization", kinto::AUTHORIZATION)]);
    let (mut url, mut ids) = (format!("{records}?_sort=last_modified"), Vec::new());
    let etag = loop {
        let got = get(&url)?;
        assert_eq!(got.status, 200, "{}", got.body);
        ids.extend(
            got.body["data"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str().map(str::to_owned)),
        );
        match got.header("next-page") {
            Some(next) => url = next.to_owned(),
            None => break got.header("etag").context("an etag")?.to_owned(),
        }
    };
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 100);
    kinto.change("things", 3)?;
    kinto.delete("things", 5)?;
    let since = etag.trim_matches('"');
    let got = get(&format!("{records}?_since={since}&_sort=last_modified"))?;
    let changed: Vec<_> = got.body["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one["id"].clone(), one["deleted"].clone()))
        .collect();
    assert_eq!(changed, [("r-0000003".into(), Value::Null), ("r-0000005".into(), true.into())]);
    Ok(())
}

#[test]
fn recorded_issues_are_served_to_their_last_page() -> anyhow::Result<()> {
    let names = ["PaginatedList.testSliceIndexingUntilFourthPage", "PaginatedList.testIteration"];
    let files = names.map(|name| installed(&format!("recordings/{name}.txt")));
    let recordings = files.into_iter().map(|file| Ok(Recording::read(&file?)?)).collect::<anyhow::Result<Vec<_>>>()?;
    let replay = Replay::start(recordings, 0)?;
    let mut url = format!("{}/repos/openframeworks/openFrameworks/issues?state=all&per_page=100", replay.url());
    let mut ids = HashSet::new();
    let mut pages = 0;
    loop {
        let got = get(&url, &[])?;
        assert_eq!(got.status, 200, "{url}");
        pages += 1;
        ids.extend(got.body.as_array().into_iter().flatten().filter_map(|issue| issue["id"].as_u64()));
        match got.header("link").and_then(next) {
            Some(link) => url = link.to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, ids.len()), (14, 333));
    assert_eq!(get(&format!("{}/repos/a/b", replay.url()), &[])?.status, 404);
    Ok(())
}
