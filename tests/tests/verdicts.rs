//! Runs in which a naive client succeeds and says nothing, while records are missing, doubled or about to be: what the host
//! says of each, word for word.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::{Connection, Run},
    mock::{
        Action, Api, Change, Cycle, Endpoint, RetryAfter, Rule, cursor::Cursor, link::Link, offset::Offset, page::Page,
        time,
    },
    recorded::{Exchange, Recording, Replay},
    variation::{Variation, judge},
};

const KEPT: &str =
    "items: its records are kept but not to be believed; the next run reads them again and replaces them";

/// A stream at `/items` that is read from a watermark on, by the parameter `since`.
fn changing(more: &Value) -> Value {
    let mut stream = json!({
        "name": "items", "path": "items", "primary_key": ["id"],
        "incremental": {"cursor_field": "at", "param": "since"}
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        stream[name] = value.clone();
    }
    stream
}

/// An API with one answer for `/items`, whatever it is asked from.
struct Fixed(Replay);

impl Fixed {
    fn start(records: &Value) -> anyhow::Result<Self> {
        Ok(Self(Replay::start([Self::recording(records)], 0)?))
    }

    fn recording(records: &Value) -> Recording {
        Recording {
            exchanges: vec![Exchange {
                method: "GET".into(),
                host: "api.example".into(),
                path: "/items".into(),
                query: Vec::new(),
                status: 200,
                headers: Vec::new(),
                body: records.to_string(),
            }],
        }
    }

    fn answers(&self, records: &Value) {
        self.0.replace([Self::recording(records)]);
    }

    fn connection(&self, stream: &Value) -> anyhow::Result<Connection> {
        Connection::new("rest", &json!({"base_url": self.0.url(), "streams": [stream]}))
    }

    /// The last request's `since`.
    fn since(&self) -> Option<String> {
        let (target, _) = self.0.targets().pop()?;
        Some(target.split_once("since=")?.1.replace("%3A", ":").replace("%2B", "+"))
    }
}

fn watermark(run: &Run) -> Option<&str> {
    run.stream("items")["reads"][0]["watermark_after"].as_str()
}

fn is(run: &Run, code: i32, records: u64, reasons: &[&str]) -> anyhow::Result<()> {
    let verdict = ["complete", "incomplete", "", "unproven"].get(usize::try_from(code)?).copied().unwrap_or_default();
    ensure!(run.reasons() == reasons, "{:#?}\n{}", run.reasons(), run.log);
    ensure!(run.code == Some(code) && run.verdict() == verdict, "{run:#?}");
    ensure!(run.stream("items")["records"] == records, "{:#}", run.stream("items"));
    Ok(())
}

#[test]
fn a_circle_of_any_length_from_1_to_50_ends_the_read() -> anyhow::Result<()> {
    let mut builder = Api::builder();
    let mut streams = Vec::new();
    for length in 1..=50_usize {
        // One record a page; the way leads back from the page 51 − 1.
        let cycle = Some(Cycle { at: 50, length });
        let path = format!("/circle{length}");
        let cursor = Cursor { cycle, fresh: length % 2 == 0, ..Cursor::default() };
        builder = builder.endpoint(Endpoint::new(path.as_str(), cursor).records(60).page_size(1, 1));
        streams
            .push(json!({"name": format!("circle{length}"), "path": path, "records": "/items", "primary_key": ["id"],
                            "pagination": {"cursor": {"token": "/next", "param": "cursor"}}}));
    }
    let api = builder.start()?;
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": streams}))?;
    let run = connection.run(&["--no-archive", "--quiet"])?;
    ensure!(run.code == Some(1) && run.reasons().len() == 100, "{:#?}", run.reasons());
    for length in 1..=50_usize {
        let name = format!("circle{length}");
        let stream = run.stream(&name);
        let reason = stream["reasons"][0].as_str().unwrap_or_default();
        let again = if length % 2 == 0 { "page" } else { "cursor" };
        let wanted = format!(
            "the read has to begin again: the API gave the same {again} again, so that reading would go in a circle: "
        );
        ensure!(stream["verdict"] == "incomplete" && reason.starts_with(&wanted), "{name}: {stream:#}");
        let ids = connection.ids(&name, "id")?;
        ensure!(ids.iter().copied().eq(1..=ids.len() as u64) && ids.len() >= 50, "{name}: {ids:?}");
    }
    Ok(())
}

#[test]
fn results_that_are_truncated_under_load_are_not_taken_for_the_end() -> anyhow::Result<()> {
    let by_offset = json!({"offset": {"limit": 30}});
    judge(&[
        Variation::new("every second page is cut to seven records", Offset::default(), by_offset.clone())
            .fault(Rule::every(2, Action::Short(7))),
        Variation::new("every third page is empty", Offset::default(), by_offset)
            .fault(Rule::on(3, Action::Short(0)))
            .repaired(&[
                "it was read again, since the listing shifted: 1 page did not begin with the last record of the page \
                         before: the listing shifted while it was read",
            ]),
    ])
}

#[test]
fn an_api_that_pages_no_further_than_a_cap_is_read_beyond_it_from_the_last_value() -> anyhow::Result<()> {
    let incremental = json!({"cursor_field": "updated_at", "param": "since", "order": "ascending"});
    let capped = |name, paging: Offset| {
        Variation::new(name, paging, json!({"offset": {"limit": 30}}))
            .with(|endpoint| endpoint.records(500).ties(7).since("since"))
            .set("incremental", incremental.clone())
    };
    let cap = || Offset { cap: Some(90), ..Offset::default() };
    judge(&[
        capped("the cap is said", cap()).set("cap", json!(90)),
        capped("more share one time than the cap", cap())
            .with(|endpoint| endpoint.ties(120))
            .set("cap", json!(90))
            .records(1..=59)
            .incomplete(&["the API's answer is not what it should be: at least 88 records share one value of \"/updated_at\" and \
                           fill a page, so that the others cannot be reached; ask for larger pages or page by another field; \
                           the value is \"2024-01-01T00:00:00Z\""]),
        capped("the cap is not said", cap()).records(1..=117).incomplete(&[
            "it was read again, since the listing shifted: 1 page did not begin with the last record of the page before: the \
             listing shifted while it was read",
            "1 page did not begin with the last record of the page before: the listing shifted while it was read",
            "its records are kept but not to be believed; the next run reads them again and replaces them",
        ]),
        Variation::new("the same by page number", Page::default(), json!({"page": {"size_param": "per_page", "size": 30}}))
            .with(|endpoint| endpoint.records(100).since("since"))
            .set("incremental", incremental.clone())
            .set("cap", json!(60))
            .unproven(&["its pages are counted: a record that moved across one of the 2 borders between them, because another \
                         was deleted meanwhile, would be missing unseen"]),
    ])
}

#[test]
fn an_order_that_is_relied_on_is_checked() -> anyhow::Result<()> {
    let at = |id: u32, hour: u32| json!({"id": id, "at": format!("2024-01-01T{hour:02}:00:00Z")});
    let api = Fixed::start(&json!([at(1, 1), at(2, 3), at(3, 2), at(4, 4)]))?;
    let stream = changing(&json!({"incremental": {"cursor_field": "at", "param": "since", "order": "ascending"}}));
    let run = api.connection(&stream)?.run(&[])?;
    is(
        &run,
        1,
        4,
        &[
            "items: 1 record stands on the wrong side of the one before, and the connector relies on an order by at, ascending",
            KEPT,
        ],
    )?;

    // Newest first, and read until the watermark: what stands behind an older one would not be reached.
    let descending = json!({"cursor_field": "at", "order": "descending", "stop_at_watermark": true});
    let api = Fixed::start(&json!([at(4, 4), at(3, 3)]))?;
    let connection = api.connection(&changing(&json!({"incremental": descending})))?;
    connection.complete(&[])?;
    api.answers(&json!([at(5, 5), at(1, 1), at(6, 6), at(4, 4), at(3, 3)]));
    let run = connection.run(&[])?;
    is(
        &run,
        1,
        2,
        &[
            "items: 1 record stands on the wrong side of the one before, and the connector relies on an order by at, descending",
            KEPT,
        ],
    )
}

#[test]
fn a_watermark_is_compared_as_a_moment_whatever_its_zone() -> anyhow::Result<()> {
    // As texts, the first would be the greatest.
    let records = json!([{"id": 1, "at": "2024-01-01T09:00:00+09:00"}, {"id": 2, "at": "2024-01-01T01:00:00Z"}]);
    let api = Fixed::start(&records)?;
    let run = api.connection(&changing(&json!({})))?.complete(&[])?;
    ensure!(watermark(&run) == Some("2024-01-01T01:00:00Z"), "{run:#?}");
    Ok(())
}

#[test]
fn a_watermark_without_a_zone_is_unproven_until_it_is_read_back_over() -> anyhow::Result<()> {
    let records = json!([{"id": 1, "at": "2024-01-01T09:00:00"}, {"id": 2, "at": "2024-01-01 08:00:00"}]);
    let api = Fixed::start(&records)?;
    let connection = api.connection(&changing(&json!({})))?;
    let run = connection.run(&[])?;
    let reason = "items: the watermark 2024-01-01T09:00:00 has no time zone, so that the next read may step over some hours; read \
                  back over them with --lookback 1d";
    is(&run, 3, 2, &[reason])?;
    let run = connection.complete(&["--lookback", "1d"])?;
    is(&run, 0, 0, &[])?;
    ensure!(api.since().as_deref() == Some("2023-12-31T09:00:00"), "{:?}", api.since());
    ensure!(watermark(&run) == Some("2024-01-01T09:00:00"), "{run:#?}");
    Ok(())
}

#[test]
fn equal_seconds_at_the_border_are_not_lost_where_the_api_cuts_fractions() -> anyhow::Result<()> {
    // The API knows fractions, shows whole seconds, and gives what is later than it is asked for: the third record, later
    // in the same second, is never given again by `since=…00Z`.
    let at = |id: u32, second: u32| json!({"id": id, "at": format!("2024-01-01T00:00:{second:02}Z")});
    let api = Fixed::start(&json!([at(1, 0), at(2, 1)]))?;
    let stream = changing(&json!({}));
    let connection = api.connection(&stream)?;
    connection.complete(&[])?;
    api.answers(&json!([at(4, 2)]));
    let run = connection.run(&[])?;
    let reason = "items: none of the records at the watermark 2024-01-01T00:00:01Z came again, so others of the same moment may \
                  have been stepped over; read back over it with --lookback";
    is(&run, 3, 1, &[reason])?;

    // With a lookback it is asked from a second before, and what is there already comes to nothing.
    let api = Fixed::start(&json!([at(1, 0), at(2, 1)]))?;
    let connection = api.connection(&changing(&json!({
        "incremental": {"cursor_field": "at", "param": "since", "lookback": "1s"}
    })))?;
    connection.complete(&[])?;
    api.answers(&json!([at(2, 1), at(3, 1), at(4, 2)]));
    let run = connection.complete(&[])?;
    is(&run, 0, 2, &[])?;
    ensure!(api.since().as_deref() == Some("2024-01-01T00:00:00Z"), "{:?}", api.since());
    ensure!(connection.ids("items", "id")? == [1, 2, 3, 4]);
    Ok(())
}

#[test]
fn a_record_of_the_future_hides_nothing() -> anyhow::Result<()> {
    let records = json!([{"id": 1, "at": "2099-01-01T00:00:00Z"}, {"id": 2, "at": "2024-01-01T00:00:00Z"}]);
    let api = Fixed::start(&records)?;
    let connection = api.connection(&changing(&json!({})))?;
    let run = connection.complete(&[])?;
    ensure!(watermark(&run) == Some("2024-01-01T00:00:00Z"), "{run:#?}");
    let told = "items: 1 record is of the future, up to 2099-01-01T00:00:00Z; no watermark is taken from that, so that nothing is \
                hidden until then";
    is(&run, 0, 2, &[told])?;
    // It comes again with each read, and is not written again.
    is(&connection.complete(&[])?, 0, 0, &[told])?;

    // A connector that takes such a watermark from elsewhere is held back by the host.
    let stream = changing(&json!({
        "records": "/items", "incremental": {"cursor_field": "at", "param": "since", "watermark": "/now"}
    }));
    let api =
        Fixed::start(&json!({"now": "2099-01-01T00:00:00Z", "items": [{"id": 1, "at": "2024-01-01T00:00:00Z"}]}))?;
    let connection = api.connection(&stream)?;
    let run = connection.complete(&[])?;
    is(
        &run,
        0,
        1,
        &[
            "items: the watermark 2099-01-01T00:00:00Z lies in the future and would hide what comes until then: the next read \
           starts from the beginning, as this one did",
        ],
    )?;
    ensure!(watermark(&run).is_none(), "{run:#?}");
    Ok(())
}

#[test]
fn a_lookback_brings_what_came_late_and_doubles_nothing() -> anyhow::Result<()> {
    for format in ["parquet", "jsonl"] {
        let items = Endpoint::new("/items", Offset::default()).records(100).page_size(40, 40).since("since");
        let api = Api::builder().endpoint(items).start()?;
        let stream = json!({
            "name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
            "pagination": {"offset": {"limit": 40}}, "incremental": {"cursor_field": "updated_at", "param": "since"}
        });
        let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;
        connection.complete(&["--format", format])?;
        // A record is changed now, and its time is one before the watermark.
        api.change("/items", &Change::EditAt(7, time::START + 60));
        is(&connection.complete(&["--format", format])?, 0, 0, &[])?;
        ensure!(connection.records("items")?.len() == 100);
        api.forget_requests();
        let run = connection.complete(&["--format", format, "--lookback", "items=1m"])?;
        is(&run, 0, 1, &[])?;
        let asked = api.targets();
        let earlier = time::rfc3339(time::START + 39).replace(':', "%3A");
        ensure!(asked.first().is_some_and(|one| one.starts_with(&format!("/items?since={earlier}&"))), "{asked:?}");
        let found = connection.records("items")?;
        let versions: Vec<&Value> = found.iter().filter(|record| record["id"] == 7).collect();
        ensure!(found.len() == 101 && versions.len() == 2 && versions[0] != versions[1], "{versions:?}");
        // The watermark stays; verify and replay agree with what was left out.
        ensure!(watermark(&run) == Some(time::rfc3339(time::START + 99).as_str()), "{run:#?}");
        let out = connection.out().display().to_string();
        let verified = tests::program::call(&["verify", &out])?;
        ensure!(verified.code == Some(0), "{verified:#?}");
        let replayed = tests::program::call(&["replay", "--out", &out])?;
        ensure!(replayed.code == Some(0), "{replayed:#?}");
    }
    Ok(())
}

#[test]
fn what_is_at_the_border_survives_a_kill_and_a_table_made_anew() -> anyhow::Result<()> {
    let items = Endpoint::new("/items", Cursor::default()).records(100).ties(10).page_size(10, 10).since("since");
    let api = Api::builder().endpoint(items).fault(Rule::always(Action::Html).containing("cursor=k+/60")).start()?;
    let stream = json!({
        "name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
        "pagination": {"cursor": {"token": "/next", "param": "cursor"}},
        "incremental": {"cursor_field": "updated_at", "param": "since"}
    });
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;
    // It fails in the middle, and goes on in another process.
    ensure!(connection.run(&["--part-rows", "20"])?.code == Some(1));
    api.script(Vec::new());
    let first = connection.complete(&["--part-rows", "20"])?;
    // The ten records of the last second come again, and are known.
    is(&connection.complete(&[])?, 0, 0, &[])?;
    let full = connection.complete(&["--full"])?;
    let out = connection.out().display().to_string();
    let run = full.report["run"].as_str().context("a run has an id")?;
    let made = tests::program::call(&["reprocess", "items", "--out", &out, "--from", run])?;
    ensure!(made.code == Some(0), "{made:#?}\n{first:#?}");
    is(&connection.complete(&[])?, 0, 0, &[])?;
    ensure!(connection.ids("items", "id")? == (1..=100).collect::<Vec<_>>());
    Ok(())
}

/// Three groups with ten items each, of which the second answers `status`.
fn groups(status: u16, more: &Value) -> anyhow::Result<(Api, Connection)> {
    let api = Api::builder()
        .endpoint(Endpoint::new("/groups", Cursor::default()).records(3))
        .endpoint(Endpoint::new("/groups/{group}/items", Link::default()).records(10))
        .fault(Rule::always(Action::Status(status, RetryAfter::None)).path("/groups/item-0000002/"))
        .start()?;
    let mut items = json!({
        "name": "items", "path": "groups/{parent.name}/items", "primary_key": ["group_id", "id"],
        "parent": {"stream": "groups", "copy": {"group_id": "id"}}, "pagination": {"link": {}}
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        items[name] = value.clone();
    }
    let streams = json!([
        {"name": "groups", "path": "groups", "records": "/items", "primary_key": ["id"]}, items
    ]);
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": streams}))?;
    Ok((api, connection))
}

fn partitions(run: &Run) -> Vec<(&str, &str)> {
    let reads = run.stream("items")["reads"].as_array().map(Vec::as_slice).unwrap_or_default();
    reads
        .iter()
        .map(|read| (read["partition"].as_str().unwrap_or_default(), read["verdict"].as_str().unwrap_or_default()))
        .collect()
}

#[test]
fn a_partition_that_is_refused_is_named_and_makes_the_run_incomplete() -> anyhow::Result<()> {
    for status in [403, 404] {
        let (api, connection) = groups(status, &json!({}))?;
        let run = connection.run(&[])?;
        let url = api.url("/groups/item-0000002/items");
        let why = match status {
            403 => format!(
                "the API refuses the credentials: {url} answered 403: {{\"error\":\"by script\"}}; check the credentials in the \
                 configuration, and that they may read this"
            ),
            _ => format!(r#"a request failed: {url} answered 404: {{"error":"by script"}}"#),
        };
        is(&run, 1, 20, &[&format!("items: 2: {why}")])?;
        ensure!(partitions(&run) == [("1", "complete"), ("2", "incomplete"), ("3", "complete")], "{run:#?}");
        ensure!(run.stream("groups")["verdict"] == "complete" && run.stream("items")["verdict"] == "incomplete");
    }
    Ok(())
}

#[test]
fn a_connector_that_takes_a_refusal_for_an_empty_list_is_told() -> anyhow::Result<()> {
    let by_page = json!({"pagination": {"page": {"end_statuses": [404]}}, "records": ""});
    let (_api, connection) = groups(404, &by_page)?;
    let run = connection.run(&[])?;
    ensure!(run.code == Some(1) && run.verdict() == "incomplete", "{run:#?}");
    let reason = "items: 2: every request was answered with 404, and the connector took that for an empty list";
    ensure!(run.reasons().contains(&reason), "{:#?}", run.reasons());
    ensure!(partitions(&run).contains(&("2", "incomplete")), "{run:#?}");
    Ok(())
}

#[test]
fn a_refusal_that_the_connector_tolerates_is_told_and_is_no_reason() -> anyhow::Result<()> {
    let (_api, connection) = groups(403, &json!({"tolerate": [403, 404]}))?;
    let run = connection.run(&[])?;
    is(&run, 0, 20, &["items: 2: left out, as the connector allows: the API answered 403"])?;
    ensure!(partitions(&run) == [("1", "complete"), ("2", "complete"), ("3", "complete")], "{run:#?}");
    Ok(())
}

#[test]
fn a_lookback_that_cannot_be_is_refused() -> anyhow::Result<()> {
    let api = Fixed::start(&json!([{"id": 1, "at": "a"}]))?;
    let connection = api.connection(&changing(&json!({})))?;
    connection.complete(&["--lookback", "1d"])?;
    let run = connection.run(&["--lookback", "items=1d"])?;
    is(
        &run,
        1,
        0,
        &["items: the watermark a is no moment from which one could read back; take --lookback away for this stream"],
    )
}
