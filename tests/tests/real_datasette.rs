//! The connector `rest` over datasette: 300,000 orders, tokens of two columns, many orders on one day.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    servers::datasette::{Datasette, ORDERS, day, key},
};

/// The configuration that comes along, with only one of its streams, and this server's address.
fn config(datasette: &Datasette, stream: &str) -> anyhow::Result<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../connectors/rest/fixtures/datasette.json");
    let mut config: Value = serde_json::from_slice(&fs::read(file)?)?;
    config["base_url"] = datasette.url().into();
    let streams = config["streams"].as_array_mut().context("streams")?;
    streams.retain(|one| one["name"] == stream);
    ensure!(streams.len() == 1, "no stream {stream}");
    Ok(config)
}

/// The whole table, as the database was filled.
fn orders(wanted: impl Fn(u32) -> bool) -> HashMap<(String, u64), Value> {
    let order = |n: u32| {
        let (shop, number) = key(n);
        let mut order =
            json!({"shop": shop, "number": number, "day": day(n), "cents": n, "weight": f64::from(n % 1000) / 8.0});
        if !n.is_multiple_of(3) {
            order["note"] = format!("note {n}").into();
        }
        ((shop, u64::from(number)), order)
    };
    (0..ORDERS).filter(|n| wanted(*n)).map(order).collect()
}

/// Checks that each wanted record is there once, with all its fields, and no other.
fn exactly(connection: &Connection, stream: &str, mut wanted: HashMap<(String, u64), Value>) -> anyhow::Result<()> {
    for record in connection.records(stream)? {
        let key =
            (record["shop"].as_str().context("a shop")?.to_owned(), record["number"].as_u64().context("a number")?);
        let expected = wanted.remove(&key).with_context(|| format!("not wanted, or a second time: {record}"))?;
        ensure!(record == expected, "found  {record}\nwanted {expected}");
    }
    ensure!(wanted.is_empty(), "{} records are missing", wanted.len());
    Ok(())
}

#[test]
fn every_order_arrives_once_by_token_and_by_url() -> anyhow::Result<()> {
    let datasette = Datasette::start()?;
    let all = orders(|_| true);
    ensure!(all.len() == ORDERS as usize, "{} keys", all.len());
    for stream in ["by_token", "by_url", "sorted"] {
        let connection = Connection::new("rest", &config(&datasette, stream)?)?;
        let run = connection.complete(&[])?;
        // A last page that is full ends by its missing token, so that no request is wasted.
        let pages = u64::from(ORDERS / 1000);
        let found = run.stream(stream);
        ensure!(found["pages"] == pages && found["traffic"]["requests"] == pages, "{found:#}");
        exactly(&connection, stream, all.clone()).with_context(|| stream.to_owned())?;
        if stream == "sorted" {
            next_read_begins_at_the_last_day(&connection)?;
        }
    }
    Ok(())
}

#[test]
fn an_order_without_a_tie_breaker_is_not_taken_for_complete() -> anyhow::Result<()> {
    let datasette = Datasette::start()?;
    let mut config = config(&datasette, "sorted")?;
    // Without a token to start from, datasette 0.65 sorts its first page by day alone and all others by day and key: orders
    // of the first day that lie between come twice or never.
    config["streams"][0]["query"].as_object_mut().context("a query")?.remove("_next");
    config["streams"][0]["query"]["day"] = day(0).into();
    let connection = Connection::new("rest", &config)?;
    let run = connection.run(&[])?;
    ensure!(run.code == Some(1) && run.verdict() == "incomplete", "{run:#?}");
    let end = " primary keys came more than once: the listing shifted while it was read, or repeats itself";
    ensure!(run.reasons().iter().any(|reason| reason.starts_with("sorted: ") && reason.ends_with(end)), "{run:#?}");
    Ok(())
}

/// The last day comes again, for more may have been ordered on it; what is there already is not written again.
fn next_read_begins_at_the_last_day(connection: &Connection) -> anyhow::Result<()> {
    let last = (0..ORDERS).map(day).max().context("a day")?;
    let run = connection.complete(&[])?;
    let found = run.stream("sorted");
    ensure!(found["mode"] == "incremental" && found["records"] == 0, "{found:#}");
    ensure!(found["pages"].as_u64() > Some(1), "{found:#}");
    let read = &found["reads"][0];
    ensure!(read["watermark_before"] == last.as_str() && read["watermark_after"] == last.as_str(), "{found:#}");
    Ok(())
}

#[test]
fn orders_are_read_by_keyset_and_by_shop() -> anyhow::Result<()> {
    let datasette = Datasette::start()?;
    let base = |streams: Value| {
        json!({"base_url": datasette.url(), "query": {"_nocount": 1, "_nofacet": 1, "_nosuggest": 1, "_shape": "array"},
               "streams": streams})
    };
    // By key: the numbers of one shop, after the last one.
    let shop = key(3).0;
    let keyset = json!([{
        "name": "orders", "path": "shop/orders.json", "primary_key": ["shop", "number"],
        "query": {"shop": shop, "_sort": "number", "_size": 700},
        "pagination": {"keyset": {"field": "number", "param": "number__gt"}}
    }]);
    let connection = Connection::new("rest", &base(keyset))?;
    connection.complete(&[])?;
    exactly(&connection, "orders", orders(|n| key(n).0 == shop))?;

    // One partition a shop, whose names hold whatever must be encoded.
    let substream = json!([
        {"name": "shops", "path": "shop.json", "primary_key": ["shop"],
         "query": {"sql": "select distinct shop from orders where shop like '%-0_' order by shop"}},
        {"name": "orders", "path": "shop/orders.json", "primary_key": ["shop", "number"], "parent": {"stream": "shops"},
         "query": {"shop": "{parent.shop}", "number__lt": 50, "_size": 30, "_shape": "objects"}, "records": "/rows",
         "pagination": {"cursor": {"url": "/next_url"}}}
    ]);
    let connection = Connection::new("rest", &base(substream))?;
    let run = connection.complete(&[])?;
    let chosen = |n: u32| key(n).0.split('-').nth(1).is_some_and(|number| number.starts_with('0'));
    let shops: std::collections::HashSet<String> = (0..ORDERS).filter(|n| chosen(*n)).map(|n| key(n).0).collect();
    let reads = run.stream("orders")["reads"].as_array().context("reads")?;
    ensure!(reads.len() == shops.len() && reads.iter().all(|read| read["pages"] == 2), "{reads:#?}");
    exactly(&connection, "orders", orders(|n| chosen(n) && key(n).1 < 50))
}
