//! Runs that are killed at random moments, until every record is there exactly once.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    mock::{Api, Endpoint, Total, cursor, keyset, link, offset, page},
};

/// Records behind each endpoint, or behind each of its partitions; of no page size a multiple.
const RECORDS: u32 = 1_030;
const PARTITIONS: u32 = 3;
const PAGE: usize = 50;

/// What every request is let in by.
pub const SECRET: &str = "s3cr3t-0123456789";

/// One way of reading: a pagination, with partitions or without, into a format.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Its number.
    pub pagination: usize,
    /// Whether a stream of groups is behind it.
    pub partitions: bool,
    /// Form of the files.
    pub format: &'static str,
}

/// All ways there are.
#[must_use]
pub fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for pagination in 0..5 {
        for partitions in [false, true] {
            for format in ["parquet", "jsonl"] {
                ways.push(Way { pagination, partitions, format });
            }
        }
    }
    ways
}

impl Way {
    fn listing(self, path: &str, page: usize) -> (Endpoint, Value, Value, &'static str) {
        let size = json!({"limit": page});
        match self.pagination {
            0 => (
                Endpoint::new(path, offset::Offset::default()).total(Total::Body),
                json!({"offset": {"limit": page}}),
                json!({}),
                "/items",
            ),
            1 => (
                Endpoint::new(path, page::Page::default()).total(Total::Body),
                json!({"page": {"size_param": "per_page", "size": page}}),
                json!({}),
                "/items",
            ),
            2 => (
                Endpoint::new(path, cursor::Cursor::default()).total(Total::Body),
                json!({"cursor": {"token": "/next", "param": "cursor"}}),
                size,
                "/items",
            ),
            3 => (
                Endpoint::new(path, keyset::Keyset { by_id: true, ..keyset::Keyset::default() }),
                json!({"keyset": {"field": "id", "param": "after_id", "limit_param": "limit", "limit": page}}),
                json!({}),
                "/items",
            ),
            _ => (Endpoint::new(path, link::Link::default()), json!({"link": {}}), json!({"per_page": page}), ""),
        }
    }

    fn start(self, records_behind: u32, page: usize) -> anyhow::Result<(Api, Value)> {
        let (path, configured) = match self.partitions {
            true => ("/groups/{group}/items", "groups/{parent.name}/items"),
            false => ("/items", "items"),
        };
        let (endpoint, pagination, query, records) = self.listing(path, page);
        let endpoint = endpoint.records(records_behind).page_size(page, page).latency(Duration::from_millis(2));
        let mut stream = json!({"name": "items", "path": configured, "records": records, "query": query,
                                "primary_key": ["id"], "pagination": pagination});
        if matches!(self.pagination, 0..=2) {
            stream["total"] = json!("/total");
        }
        // Nothing shifts here, so that counted pages are whole.
        stream["never_shifts"] = json!(true);
        let mut streams = vec![stream];
        let mut builder = Api::builder().endpoint(endpoint);
        if self.partitions {
            streams[0]["parent"] = json!({"stream": "groups", "copy": {"group_id": "id"}});
            streams[0]["primary_key"] = json!(["group_id", "id"]);
            streams.push(json!({"name": "groups", "path": "groups", "records": "/items", "primary_key": ["id"],
                                "pagination": {"cursor": {"token": "/next", "param": "cursor"}}}));
            builder = builder.endpoint(Endpoint::new("/groups", cursor::Cursor::default()).records(PARTITIONS));
        }
        let api = builder.start()?;
        let config = json!({"base_url": api.url(""), "auth": {"bearer": SECRET}, "streams": streams});
        Ok((api, config))
    }

    /// Reads so many records, and returns the connection with its archive. The API is gone then.
    ///
    /// # Errors
    ///
    /// Where the run is anything but complete.
    pub fn record(self, records: u32, page: usize) -> anyhow::Result<Connection> {
        let (_api, config) = self.start(records, page)?;
        let connection = Connection::new("rest", &config)?;
        connection.complete(&["--format", self.format])?;
        Ok(connection)
    }

    /// Reads it again and again, killed at random moments `kills` times in all, and looks at what is there each time that
    /// a run comes to its end, and once more after the last kill.
    ///
    /// # Errors
    ///
    /// Where a record is lost, doubled or changed, a visible file cannot be read, or something temporary is left behind.
    pub fn survive(self, kills: u32, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let (_api, config) = self.start(RECORDS, PAGE)?;
        let mut left = kills;
        loop {
            let connection = Connection::new("rest", &config)?;
            loop {
                let more = ["--format", self.format, "--part-rows", "120", "--concurrency", "3"];
                if left == 0 {
                    connection.complete(&more)?;
                    break;
                }
                let mut child = connection.start(&more)?;
                // A random moment from the process's first breath on to a little beyond its end. The test needs no
                // certain one.
                std::thread::sleep(Duration::from_millis(random.u64(5..220)));
                if let Some(status) = child.try_wait()? {
                    let said = child.said()?;
                    ensure!(status.success(), "it ended with {status}: {said}\n{}", reports(&connection.out())?);
                    break;
                }
                child.killed()?;
                left -= 1;
                // What is visible is readable at any moment.
                connection.records("items").context("after a kill")?;
            }
            self.each_once(&connection)?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    fn each_once(self, connection: &Connection) -> anyhow::Result<()> {
        let mut found: Vec<(u64, u64)> = Vec::new();
        for record in connection.records("items")? {
            let group = if self.partitions { record["group_id"].as_u64().context("a group")? } else { 1 };
            found.push((group, record["id"].as_u64().context("an id")?));
        }
        found.sort_unstable();
        let groups = if self.partitions { PARTITIONS } else { 1 };
        let wanted = (1..=groups).flat_map(|group| (1..=RECORDS).map(move |id| (u64::from(group), u64::from(id))));
        ensure!(found.iter().copied().eq(wanted), "{} records, some are missing or doubled", found.len());
        let leftovers = leftovers(&connection.out())?;
        ensure!(leftovers.is_empty(), "left behind: {leftovers:?}");
        Ok(())
    }
}

/// What the runs say of themselves.
fn reports(out: &Path) -> anyhow::Result<String> {
    let mut texts = String::new();
    for run in std::fs::read_dir(out.join("_runs"))? {
        texts.push_str(&std::fs::read_to_string(run?.path().join("report.json")).unwrap_or_default());
    }
    Ok(texts)
}

/// Temporary files of streams, and keys of reads that are over.
fn leftovers(out: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(out)? {
        let folder = entry?;
        if !folder.file_type()?.is_dir() || matches!(folder.file_name().to_str(), Some("_runs" | "_locks")) {
            continue;
        }
        for file in std::fs::read_dir(folder.path())? {
            let name = file?.file_name().to_string_lossy().into_owned();
            let connector = folder.file_name() == "_connectors" && name.ends_with(".wasm");
            if !name.starts_with("part-") && name != "_schema.json" && !connector {
                found.push(format!("{}/{name}", folder.file_name().display()));
            }
        }
    }
    Ok(found)
}
