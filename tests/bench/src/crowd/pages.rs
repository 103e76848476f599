//! What the sandbox adds to a page: guests read pages out of memory, through the host's whole way out but the network, and
//! what decoding the same pages takes by itself is subtracted.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use host::auth::Secrets;
use host::capability::http::HttpCtx;
use host::capability::log::LogCtx;
use host::capability::output::{Emitted, Outlet, OutputCtx};
use host::capability::rate_limit::RateLimitCtx;
use host::capability::storage::{Committed, StorageCtx};
use host::engine::bindings::exports::ingest::connector::source::ReadRequest;
use host::engine::guest::Capabilities;
use host::engine::limits::Limits;
use host::engine::{Connector, Engine, Instance};
use host::event::Silent;
use host::http::transport::{Incoming, Outgoing, Sending};
use host::http::{Client, Config, Policy, Transport};
use host::json::Document;
use host::record::{Appended, Page, Refused, Table};
use host::schema::Schema;
use host::time::SystemClock;
use serde_json::{Value, json};

use crate::many::rest_config;
use crate::place;
use crate::stats::{quantile, sorted};

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Pages of one reading.
    #[arg(long, default_value_t = 2000)]
    pages: usize,
    /// Readings.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only the guest of this name, for a profile.
    #[arg(long)]
    only: Option<String>,
}

const URL: &str = "https://api.example.com";

/// Pages after which a table starts anew, in the guest's reading and in the one by itself.
const TABLE_PAGES: usize = 50;

/// A server that answers from memory: pages behind cursors.
pub(crate) struct Memory {
    pages: Vec<Bytes>,
}

impl Memory {
    pub(crate) fn empty() -> Self {
        Self { pages: Vec::new() }
    }

    /// Pages of so many records of 150 bytes.
    fn new(pages: usize, records: usize) -> Self {
        let page = |number: usize| {
            let records: Vec<Value> = (0..records)
                .map(|record| {
                    let id = number * records + record;
                    json!({
                        "id": id, "name": format!("Thing number {id}"), "updated_at": "2024-01-02T03:04:05Z",
                        "amount": id as f64 * 0.25, "tags": ["a", "b"], "active": id.is_multiple_of(2), "owner": {"id": id % 17},
                    })
                })
                .collect();
            let next = (number + 1 < pages).then(|| format!("c{}", number + 1));
            Bytes::from(json!({"items": records, "next": next}).to_string())
        };
        Self { pages: (0..pages).map(page).collect() }
    }

    /// The records of each page, found beforehand.
    fn records(&self) -> anyhow::Result<Vec<Page>> {
        let select = |body: &Bytes| {
            let document = Document::new(body.clone(), Limits::default().json_depth);
            Page::select(&document, "/items", Vec::new()).ok().flatten().context("a page without records")
        };
        self.pages.iter().map(select).collect()
    }
}

impl Transport for Memory {
    fn send(&self, request: Outgoing, _max_body_bytes: u64) -> Sending<'_> {
        let cursor = request.url.query().and_then(|query| query.strip_prefix("cursor=c"));
        let page = cursor.and_then(|number| number.parse().ok()).unwrap_or(0);
        let body = self.pages.get(page).cloned().unwrap_or_default();
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("content-length".to_owned(), body.len().to_string()),
            ("date".to_owned(), "Tue, 02 Jan 2024 03:04:05 GMT".to_owned()),
        ];
        Box::pin(std::future::ready(Ok(Incoming { status: 200, headers, body })))
    }
}

/// Decodes what it gets at once, and counts.
#[derive(Default)]
pub(crate) struct Counted {
    pages: usize,
    records: u64,
}

struct Decoder {
    counted: Arc<Mutex<Counted>>,
    table: Table,
}

impl Outlet for Decoder {
    fn emit(&mut self, emitted: Emitted) -> Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + '_>> {
        Box::pin(async move {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            if counted.pages.is_multiple_of(TABLE_PAGES) {
                self.table = table();
            }
            let appended =
                append(&mut self.table, &emitted.page).map_err(|error| wasmtime::Error::msg(format!("{error:#}")))?;
            counted.pages += 1;
            counted.records += appended.records;
            Ok(true)
        })
    }
}

fn table() -> Table {
    let limits = Limits::default();
    Table::new(Schema::default(), vec!["id".to_owned()], limits.json_depth, limits.record_bytes)
}

/// Takes over a page, widening the columns where that is asked for.
fn append(table: &mut Table, page: &Page) -> anyhow::Result<Appended> {
    loop {
        match table.append(page) {
            Ok(appended) => return Ok(appended),
            Err(Refused::Widen(schema)) => table.widen(schema),
            Err(other) => anyhow::bail!("a page was refused: {other:?}"),
        }
    }
}

/// Makes an instance whose way out is a server in memory, and that decodes what it emits.
pub(crate) async fn instance(
    engine: &Engine,
    connector: &Connector,
    memory: Memory,
) -> anyhow::Result<(Instance, Arc<Mutex<Counted>>)> {
    let policy = Arc::new(Policy::default().described("api.example.com".parse()?));
    let client = Client::new(Config::new(policy, Arc::new(memory)));
    let counted = Arc::new(Mutex::new(Counted::default()));
    let limits = engine.limits();
    let label: Arc<str> = "items".into();
    let capabilities = Capabilities {
        http: HttpCtx::new(Some(client.clone()), label.clone(), limits),
        storage: StorageCtx::new(Committed::default(), 0),
        rate_limit: RateLimitCtx::new(client.budgets().clone(), label),
        log: LogCtx::new("bench".into(), Arc::new(Silent), Secrets::default(), limits.log_bytes),
        output: OutputCtx::new(Some(Box::new(Decoder { counted: counted.clone(), table: table() })), limits.page_bytes),
        time: Arc::new(SystemClock::new()),
        seed: 0,
    };
    Ok((connector.instantiate(engine, capabilities).await?, counted))
}

/// A request to read everything.
pub(crate) fn request(config: &Value) -> ReadRequest {
    let config = config.to_string();
    ReadRequest { config, stream: "items".to_owned(), partition: None, since: None, resume: None }
}

/// Measures.
pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    let mut cases = Vec::new();
    for records in [1, 100] {
        for name in ["rest", "reads_by_cursor"] {
            if arguments.only.as_ref().is_none_or(|only| only == name) {
                cases.push(place::runtime()?.block_on(case(arguments, name, records))?);
            }
        }
    }
    Ok(json!({ "cases": cases }))
}

async fn case(arguments: &Arguments, name: &str, records: usize) -> anyhow::Result<Value> {
    let engine = place::engine(Limits::default())?;
    let (path, config) = match name {
        "rest" => (place::connector(name)?, rest_config(URL)),
        _ => (place::guest(name)?, json!({ "url": URL })),
    };
    let connector = engine.load(&path)?;
    let (mut whole, mut decoding, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=arguments.rounds {
        let pages = Memory::new(arguments.pages, records).records()?;
        let begun = Instant::now();
        let mut own = table();
        for (number, page) in pages.iter().enumerate() {
            if number.is_multiple_of(TABLE_PAGES) {
                own = table();
            }
            append(&mut own, page)?;
        }
        let by_itself = micros(begun.elapsed(), arguments.pages);

        let memory = Memory::new(arguments.pages, records);
        let (instance, counted) = instance(&engine, &connector, memory).await?;
        let reading = request(&config);
        // On a worker, as in a run.
        let (took, read) = tokio::spawn(async move {
            let begun = Instant::now();
            let read = instance.read(reading).await.1;
            (begun.elapsed(), read)
        })
        .await?;
        read?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(counted.records == (arguments.pages * records) as u64, "{} records", counted.records);
        if round > 0 {
            let took = micros(took, arguments.pages);
            whole.push(took);
            decoding.push(by_itself);
            added.push(took - by_itself);
        }
    }
    Ok(json!({
        "guest": name,
        "records": records,
        "pages": arguments.pages,
        "us": whole,
        "decoding_us": decoding,
        "added_us": added,
        "added_us_median": quantile(&sorted(added.clone()), 0.5),
    }))
}

fn micros(time: Duration, pages: usize) -> f64 {
    time.as_secs_f64() * 1e6 / pages as f64
}
