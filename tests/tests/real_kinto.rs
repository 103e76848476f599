//! The connector `rest` over Kinto: pages by a URL in a header, then only what changed, deletions included.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::{Connection, Run},
    servers::kinto::{AUTHORIZATION, Kinto, record_id},
};

const RECORDS: usize = 250;

/// The configuration that comes along, with this server's address.
fn connection(kinto: &Kinto) -> anyhow::Result<Connection> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../connectors/rest/fixtures/kinto.json");
    let mut config: Value = serde_json::from_slice(&fs::read(file)?)?;
    config["base_url"] = kinto.url().into();
    config["auth"]["header"]["value"] = AUTHORIZATION.into();
    Connection::new("rest", &config)
}

/// The records of a run, as they are in its own files: id to the rest.
fn brought(connection: &Connection, run: &Run) -> anyhow::Result<BTreeMap<String, Value>> {
    let id = run.report["run"].as_str().context("a run has an id")?;
    let mut records = BTreeMap::new();
    for path in tests::program::parts(&connection.out(), "articles")? {
        if path.display().to_string().contains(id) {
            for line in fs::read_to_string(path)?.lines() {
                let record: Value = serde_json::from_str(line)?;
                let id = record["id"].as_str().context("an id")?.to_owned();
                ensure!(records.insert(id.clone(), record).is_none(), "{id} came twice");
            }
        }
    }
    Ok(records)
}

fn watermarks(run: &Run) -> (Option<&str>, Option<&str>) {
    let read = &run.stream("articles")["reads"][0];
    (read["watermark_before"].as_str(), read["watermark_after"].as_str())
}

#[test]
fn changes_and_deletions_come_once_and_then_nothing_does() -> anyhow::Result<()> {
    let kinto = Kinto::start(40)?;
    kinto.fill("articles", RECORDS)?;
    // Gone before the first read: no tombstone of it is ever wanted.
    kinto.delete("articles", 200)?;
    let connection = connection(&kinto)?;

    let first = connection.complete(&["--format", "jsonl"])?;
    let found = brought(&connection, &first)?;
    let wanted: Vec<String> = (0..RECORDS).filter(|n| *n != 200).map(record_id).collect();
    ensure!(found.keys().eq(&wanted), "{} records", found.len());
    for (n, record) in (0..RECORDS).filter(|n| *n != 200).zip(found.values()) {
        ensure!(record["n"] == n && record["group"] == format!("g{}", n % 7), "{record}");
    }
    let stream = first.stream("articles");
    // The server cuts the wish for a hundred records down to its own 40.
    ensure!(stream["mode"] == "full" && stream["pages"] == RECORDS.div_ceil(40), "{stream:#}");
    let (None, Some(etag)) = watermarks(&first) else { anyhow::bail!("{first:#?}") };
    ensure!(etag.starts_with('"') && etag.ends_with('"'), "an entity tag, as the server wrote it: {etag}");

    kinto.change("articles", 3)?;
    kinto.change("articles", RECORDS)?;
    kinto.delete("articles", 5)?;
    let second = connection.complete(&["--format", "jsonl"])?;
    let found = brought(&connection, &second)?;
    ensure!(found.keys().eq([&record_id(3), &record_id(5), &record_id(RECORDS)]), "{found:#?}");
    ensure!(found.get(&record_id(3)).is_some_and(|record| record["group"] == "changed"), "{found:#?}");
    ensure!(found.get(&record_id(5)).is_some_and(|record| record["deleted"] == true), "{found:#?}");
    let (before, Some(after)) = watermarks(&second) else { anyhow::bail!("{second:#?}") };
    ensure!(second.stream("articles")["mode"] == "incremental" && before == Some(etag) && after > etag, "{second:#?}");

    let third = connection.complete(&["--format", "jsonl"])?;
    ensure!(third.stream("articles")["records"] == 0, "{third:#?}");
    ensure!(brought(&connection, &third)?.is_empty());
    ensure!(watermarks(&third) == (Some(after), Some(after)), "{third:#?}");
    Ok(())
}

#[test]
fn without_a_version_of_the_list_the_newest_change_is_the_watermark() -> anyhow::Result<()> {
    let kinto = Kinto::start(40)?;
    kinto.fill("articles", 100)?;
    let config = json!({
        "base_url": kinto.url(), "auth": {"header": {"name": "Authorization", "value": AUTHORIZATION}},
        "streams": [{
            "name": "articles", "path": tests::servers::kinto::records("articles"), "records": "/data", "primary_key": ["id"],
            "query": {"_sort": "last_modified"}, "pagination": {"cursor": {"url": "Next-Page"}},
            "incremental": {"cursor_field": "last_modified", "param": "_since", "order": "ascending"}
        }]
    });
    let connection = Connection::new("rest", &config)?;
    let first = connection.complete(&["--format", "jsonl"])?;
    ensure!(brought(&connection, &first)?.len() == 100);
    let newest = connection.ids("articles", "last_modified")?.last().copied().context("a record")?;
    ensure!(watermarks(&first) == (None, Some(newest.to_string().as_str())), "{first:#?}");
    kinto.delete("articles", 7)?;
    let second = connection.complete(&["--format", "jsonl"])?;
    ensure!(brought(&connection, &second)?.keys().eq([&record_id(7)]), "{second:#?}");
    Ok(())
}
