//! What a user of `rest` does over several runs and streams: incremental reading, substreams, credentials, mistakes.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::{Connection, Run},
    mock::{Action, Api, Change, Encoding, Endpoint, Received, Rule, Total, cursor, keyset, offset::Offset, time},
};

fn ids(api: &Api, path: &str) -> Vec<u64> {
    let mut ids: Vec<u64> = api.ids(path).into_iter().map(u64::from).collect();
    ids.sort_unstable();
    ids
}

fn targets(api: &Api) -> Vec<String> {
    let targets = api.targets();
    api.forget_requests();
    targets
}

fn watermarks<'a>(run: &'a Run, stream: &str) -> (Option<&'a str>, Option<&'a str>) {
    let read = &run.stream(stream)["reads"][0];
    (read["watermark_before"].as_str(), read["watermark_after"].as_str())
}

#[test]
fn the_next_run_brings_what_is_new_and_no_more() -> anyhow::Result<()> {
    let items = Endpoint::new("/items", Offset::default()).records(100).page_size(40, 40).since("since");
    let api = Api::builder().endpoint(items).start()?;
    let stream = json!({
        "name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
        "pagination": {"offset": {"limit": 40}},
        "incremental": {"cursor_field": "updated_at", "param": "since", "start": "2023-01-01T00:00:00Z"}
    });
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;

    let first = connection.complete(&[])?;
    ensure!(connection.ids("items", "id")? == ids(&api, "/items"));
    let asked = targets(&api);
    ensure!(
        asked.first().is_some_and(|one| one == "/items?since=2023-01-01T00%3A00%3A00Z&offset=0&limit=40"),
        "{asked:?}"
    );
    let newest = time::rfc3339(time::START + 99);
    ensure!(watermarks(&first, "items") == (None, Some(newest.as_str())), "{first:#?}");

    // Nothing new: the record at the watermark comes again, since others may have the same time, and is known.
    let second = connection.complete(&[])?;
    ensure!(second.stream("items")["records"] == 0 && second.stream("items")["mode"] == "incremental", "{second:#?}");
    let since = newest.replace(':', "%3A");
    let expected =
        [format!("/items?since={since}&offset=0&limit=40"), format!("/items?since={since}&offset=1&limit=40")];
    ensure!(targets(&api) == expected);

    api.change("/items", &Change::Append(3));
    api.change("/items", &Change::Edit(vec![5, 6]));
    let third = connection.complete(&[])?;
    let (before, after) = watermarks(&third, "items");
    ensure!(before == Some(newest.as_str()) && after > before, "{third:#?}");
    ensure!(third.stream("items")["records"] == 5, "{third:#?}");
    let mut expected = ids(&api, "/items");
    expected.extend([5, 6]);
    expected.sort_unstable();
    ensure!(connection.ids("items", "id")? == expected);

    // All of it again takes the place of what is there.
    connection.complete(&["--full"])?;
    ensure!(connection.ids("items", "id")? == ids(&api, "/items"));
    Ok(())
}

#[test]
fn a_list_with_the_newest_first_is_read_until_the_watermark() -> anyhow::Result<()> {
    let newest_first = |from: u32, to: u32| -> String {
        let record = |id: u32| json!({"id": id, "at": time::rfc3339(time::START + i64::from(id))});
        Value::from((from..=to).rev().map(record).collect::<Vec<_>>()).to_string()
    };
    let page = |from: u32, to: u32, next: &str| tests::recorded::Exchange {
        method: "GET".into(),
        host: "api.example".into(),
        path: "/events".into(),
        query: if to == 20 || to == 25 { Vec::new() } else { vec![("page".into(), to.to_string())] },
        status: 200,
        headers: vec![("link".into(), next.into())],
        body: newest_first(from, to),
    };
    let replay = tests::recorded::Replay::start(
        [tests::recorded::Recording {
            exchanges: vec![page(11, 20, "<https://api.example/events?page=10>; rel=next"), page(1, 10, "")],
        }],
        0,
    )?;
    let stream = json!({
        "name": "events", "path": "events", "primary_key": ["id"], "pagination": {"link": {}}, "never_shifts": true,
        "incremental": {"cursor_field": "at", "order": "descending", "stop_at_watermark": true}
    });
    let connection = Connection::new("rest", &json!({"base_url": replay.url(), "streams": [stream]}))?;
    connection.complete(&[])?;
    ensure!(connection.ids("events", "id")? == (1..=20).collect::<Vec<_>>());

    // Five more: the first page reaches back to the watermark, and no other is asked for.
    let first = page(16, 25, "<https://api.example/events?page=15>; rel=next");
    replay.replace([tests::recorded::Recording { exchanges: vec![first] }]);
    let run = connection.complete(&[])?;
    ensure!(replay.targets() == [("/events".to_owned(), 200)], "{:?}", replay.targets());
    ensure!(run.stream("events")["records"] == 5, "{run:#?}");
    ensure!(watermarks(&run, "events").1 == Some(time::rfc3339(time::START + 25).as_str()), "{run:#?}");
    Ok(())
}

#[test]
fn a_run_after_a_failed_one_goes_on_where_that_ended() -> anyhow::Result<()> {
    let third = |action| Rule::always(action).containing("cursor=k+/60=60");
    let api = Api::builder()
        .endpoint(Endpoint::new("/items", cursor::Cursor::default()).records(100).page_size(30, 30))
        .fault(third(Action::Html))
        .start()?;
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"cursor": {"token": "/next", "param": "cursor"}}});
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;
    let run = connection.run(&[])?;
    ensure!(run.code == Some(1) && connection.ids("items", "id")? == (1..=60).collect::<Vec<_>>(), "{run:#?}");
    api.script(Vec::new());
    api.forget_requests();
    let run = connection.complete(&[])?;
    let items = run.stream("items");
    ensure!(items["reads"][0]["resumed"] == true && items["records"] == 100, "{run:#?}");
    ensure!(connection.ids("items", "id")? == ids(&api, "/items"));
    ensure!(targets(&api) == ["/items?cursor=k%2B%2F60%3D60", "/items?cursor=k%2B%2F90%3D90"]);
    Ok(())
}

#[test]
fn a_run_after_one_that_did_not_add_up_replaces_what_that_left() -> anyhow::Result<()> {
    let api = Api::builder()
        .endpoint(Endpoint::new("/items", Offset::default()).records(100).total(Total::Body).page_size(30, 30))
        .fault(Rule::always(Action::Short(0)).containing("offset=58"))
        .start()?;
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"], "total": "/total",
                        "pagination": {"offset": {"limit": 30}}});
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;
    let run = connection.run(&[])?;
    ensure!(run.code == Some(1) && connection.ids("items", "id")? == (1..=59).collect::<Vec<_>>(), "{run:#?}");
    api.script(Vec::new());
    let run = connection.complete(&[])?;
    ensure!(run.stream("items")["records"] == 100, "{run:#?}");
    ensure!(connection.ids("items", "id")? == ids(&api, "/items"));
    Ok(())
}

#[test]
fn a_substream_has_one_partition_for_each_record_of_its_parent() -> anyhow::Result<()> {
    let api = Api::builder()
        .endpoint(Endpoint::new("/groups", cursor::Cursor::default()).records(12).page_size(5, 5))
        .endpoint(
            Endpoint::new("/groups/{group}/items", keyset::Keyset { by_id: true, ..Default::default() })
                .records(25)
                .page_size(10, 10),
        )
        .start()?;
    let streams = json!([
        {"name": "groups", "path": "groups", "records": "/items", "primary_key": ["id"],
         "pagination": {"cursor": {"token": "/next", "param": "cursor"}}},
        {"name": "items", "path": "groups/{parent.name}/items", "records": "/items", "primary_key": ["group_id", "id"],
         "parent": {"stream": "groups", "copy": {"group_id": "id", "group_owner": "owner.login"}},
         "pagination": {"keyset": {"field": "id", "param": "after_id"}}}
    ]);
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": streams}))?;
    let run = connection.complete(&[])?;
    let reads = run.stream("items")["reads"].as_array().context("reads")?;
    let mut partitions: Vec<&str> = reads.iter().filter_map(|read| read["partition"].as_str()).collect();
    partitions.sort_by_key(|id| id.parse::<u32>().unwrap_or(0));
    ensure!(partitions == (1..=12).map(|id| id.to_string()).collect::<Vec<_>>(), "{partitions:?}");
    ensure!(reads.iter().all(|read| read["records"] == 25 && read["pages"] == 4), "{reads:#?}");
    ensure!(connection.ids("groups", "id")? == (1..=12).collect::<Vec<_>>());
    let mut seen = std::collections::BTreeSet::new();
    for item in connection.records("items")? {
        let group = item["group_id"].as_u64().context("a group")?;
        ensure!(item["parent"] == format!("item-{group:07}") && item["group_owner"].is_string(), "{item}");
        ensure!(seen.insert((group, item["id"].as_u64())), "twice: {item}");
    }
    ensure!(seen.len() == 12 * 25, "{}", seen.len());
    Ok(())
}

const SECRET: &str = "s3cr3t/+=0123456789";

#[test]
fn a_secret_reaches_the_api_and_no_file() -> anyhow::Result<()> {
    type Sent = fn(&Received) -> Option<String>;
    let header = |received: &Received| received.header("authorization").map(str::to_owned);
    let cases: [(Value, Sent, String); 3] = [
        (json!({"bearer": SECRET}), header, format!("Bearer {SECRET}")),
        (
            json!({"header": {"name": "X-Api-Key", "value": SECRET}}),
            |one| one.header("x-api-key").map(str::to_owned),
            SECRET.into(),
        ),
        (
            json!({"query": {"name": "api_key", "value": SECRET}}),
            |one| one.query("api_key").map(str::to_owned),
            SECRET.into(),
        ),
    ];
    for (auth, sent, expected) in cases {
        // Each answer carries the query on in the next URL, so that a secret in the query comes back.
        for (format, encoding) in [("parquet", Encoding::Identity), ("jsonl", Encoding::Gzip)] {
            let paging = cursor::Cursor { place: cursor::Place::Url, ..Default::default() };
            let api = Api::builder()
                .endpoint(Endpoint::new("/items", paging).records(100).page_size(30, 30))
                .encoding(encoding)
                .start()?;
            let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                                "pagination": {"cursor": {"url": "/next"}}});
            let config = json!({"base_url": api.url(""), "auth": auth, "streams": [stream]});
            let connection = Connection::new("rest", &config)?;
            let run = connection.complete(&["--format", format, "--verbose"])?;
            ensure!(connection.ids("items", "id")? == ids(&api, "/items"), "{auth}");
            let received = api.requests();
            ensure!(received.len() == 4, "{auth}: {received:#?}");
            ensure!(received.iter().all(|one| sent(one).as_ref() == Some(&expected)), "{auth}: {received:#?}");
            let encoded = "s3cr3t%2F%2B%3D0123456789";
            for text in [SECRET, encoded] {
                let found = connection.files_with(text)?;
                ensure!(found.is_empty(), "{auth}: {text} is in {found:?}");
                ensure!(!run.log.contains(text) && !run.report.to_string().contains(text), "{auth}: {run:#?}");
            }
            // The search does find what is there.
            ensure!(connection.files_with("item-0000077")?.len() == 2, "{:?}", connection.files_with("item-0000077")?);
        }
    }
    Ok(())
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() -> anyhow::Result<()> {
    let base_url = "http://127.0.0.1:1";
    let stream = |more: Value| {
        let mut stream = json!({"name": "a", "path": "a"});
        if let (Value::Object(stream), Value::Object(more)) = (&mut stream, more) {
            stream.extend(more);
        }
        json!({"base_url": base_url, "streams": [stream]})
    };
    for (config, reasons) in [
        (
            json!({"base_url": base_url, "steams": []}),
            vec!["\"streams\" is a required property", "unknown key \"steams\"; did you mean \"streams\"?"],
        ),
        (stream(json!({"record": "/x"})), vec!["/streams/0: unknown key \"record\"; did you mean \"records\"?"]),
        (
            stream(json!({"pagination": {"ofset": {}}})),
            vec!["/streams/0/pagination: unknown key \"ofset\"; did you mean \"offset\"?"],
        ),
        (
            stream(json!({"pagination": {"cursor": {"token": "/next", "parm": "c"}}})),
            vec![
                "/streams/0/pagination/cursor: \"param\" is a required property",
                "/streams/0/pagination/cursor: unknown key \"parm\"; did you mean \"param\"?",
            ],
        ),
    ] {
        let run = Connection::new("rest", &config)?.run(&[])?;
        let text = format!(
            "error[config]: the configuration does not fit the connector:\n  {}\n\
             next: see what can be set with `host inspect rest`\n",
            reasons.join("\n  ")
        );
        ensure!(run.code == Some(2) && run.log == text, "{:?}\n{}", run.code, run.log);
    }
    Ok(())
}
