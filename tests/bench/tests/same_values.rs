//! The ceiling is one only as long as it does the same work: these are the host's columns and values.

use std::path::Path;

use anyhow::{Context, ensure};
use arrow_schema::Fields;
use bench::fetch::Way;
use bench::read::read;
use bench::records::{Large, Record, Small};
use serde_json::{Value, json};
use tests::mock::{Api, Endpoint, Paging, Shape, Total, cursor::Cursor, offset::Offset};
use tests::{program, rows};

fn api(shape: Shape, paging: Paging, records: u32) -> anyhow::Result<Api> {
    let endpoint = Endpoint::new("/items", paging).records(records).shape(shape).page_size(100, 100);
    Ok(Api::builder().endpoint(endpoint.total(Total::Body)).start()?)
}

fn content(out: &Path) -> anyhow::Result<(Fields, Vec<Value>)> {
    let batches = program::batches(out, "items")?;
    let fields = batches.first().context("no batch")?.schema().fields().clone();
    let mut records = Vec::new();
    for batch in &batches {
        records.extend(rows::of_batch(batch)?);
    }
    Ok((fields, records))
}

fn compare<R: Record>(shape: Shape, paging: Paging, pagination: &Value, way: Way) -> anyhow::Result<()> {
    let count = 12_345;
    let api = api(shape, paging, count)?;
    let folder = tempfile::tempdir()?;
    let (host, ceiling) = (folder.path().join("host"), folder.path().join("ceiling"));
    let config = folder.path().join("config.json");
    let stream = json!({
        "name": "items", "path": "/items", "records": "/items", "primary_key": ["id"], "pagination": pagination,
        "total": "/total",
    });
    let base = api.url("");
    std::fs::write(&config, json!({ "base_url": base, "streams": [stream] }).to_string())?;
    let text = |path: &Path| path.display().to_string();
    program::complete(&["rest", "--config", &text(&config), "--out", &text(&host), "--no-archive"])?;

    std::fs::create_dir_all(ceiling.join("items"))?;
    let records = read::<R>(api.url("/items").parse()?, way, &ceiling.join("items/part-0.parquet"))?;
    ensure!(records == u64::from(count), "{records} records");

    let (host, ceiling) = (content(&host)?, content(&ceiling)?);
    ensure!(host.0 == ceiling.0, "{:?}\n{:?}", host.0, ceiling.0);
    ensure!(host.1.len() == ceiling.1.len(), "{} and {} records", host.1.len(), ceiling.1.len());
    for (one, other) in host.1.iter().zip(&ceiling.1) {
        ensure!(one == other, "{one}\n{other}");
    }
    Ok(())
}

#[test]
fn large_records_by_cursor_are_the_same() -> anyhow::Result<()> {
    let pagination = json!({ "cursor": { "token": "/next", "param": "cursor" } });
    compare::<Large>(Shape::Large, Cursor::default().into(), &pagination, Way::Cursor)
}

#[test]
fn small_records_by_offset_are_the_same() -> anyhow::Result<()> {
    let pagination = json!({ "offset": { "trust_total": true } });
    let way = Way::Offset { limit: 100, in_flight: 8 };
    compare::<Small>(Shape::Small, Offset::default().into(), &pagination, way)
}
