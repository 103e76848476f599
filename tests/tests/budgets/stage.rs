//! Runs of the host's engine in this process, beside a mock API, with one clock for all.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use host::{
    config::{OnDrift, Sources},
    engine::{Engine, cache::Cache, limits::Limits},
    event::{Event, Observer},
    http::{Pool, Rates},
    run::{Described, Format, Network, Options, PartLimits, Stop},
    state::SqliteBudgets,
    time::Time,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    mock::{Api, Budget, Builder, Endpoint, Total, offset::Offset},
    program,
};

use crate::clock::{BEGIN_MS, Clock};

/// Real time in which every test has to come to its end: no wait takes any of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API, and the time.
pub(crate) struct Stage {
    pub(crate) api: Api,
    pub(crate) clock: Clock,
    /// When each request arrived, since the beginning, by its number.
    arrived: Arc<Mutex<BTreeMap<u64, Duration>>>,
    folder: TempDir,
}

/// A connection, with what it is told on the command line.
pub(crate) struct Side {
    config: Value,
    pool: Pool,
    out: TempDir,
    pub(crate) rates: Rates,
    pub(crate) max_wait: Duration,
}

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Value,
    pub(crate) events: Vec<Event>,
}

impl Stage {
    /// An API with 100 records a page.
    pub(crate) fn new(records: u32, budget: Budget) -> anyhow::Result<Self> {
        Self::of(records, |api| api.budget(budget))
    }

    /// The same, with more to it.
    pub(crate) fn of(records: u32, more: impl FnOnce(Builder) -> Builder) -> anyhow::Result<Self> {
        let (clock, arrived) = (Clock::default(), Arc::new(Mutex::new(BTreeMap::new())));
        let (seen, time) = (Arc::clone(&arrived), clock.clone());
        let items = Endpoint::new("/items", Offset::default()).records(records).total(Total::Body);
        let api = Api::builder().endpoint(items).clock(clock.of_server()).watched(move |request| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).insert(request.number, time.passed());
            None
        });
        Ok(Self { api: more(api).start()?, clock, arrived, folder: TempDir::new()? })
    }

    /// The configuration of a connection that reads so many streams side by side.
    pub(crate) fn config(&self, streams: usize, auth: &Value) -> Value {
        // One alone reads page after page.
        let in_flight = if streams == 1 { 1 } else { 4 };
        let streams: Vec<Value> = (0..streams)
            .map(|number| {
                json!({
                    "name": format!("items{number}"), "path": "items", "records": "/items", "total": "/total",
                    "primary_key": ["id"], "in_flight": in_flight,
                    "pagination": {"offset": {"offset_param": "offset", "limit_param": "limit", "limit": 100}},
                })
            })
            .collect();
        let mut config = json!({"base_url": self.api.url(""), "streams": streams});
        if !auth.is_null() {
            config["auth"] = auth.clone();
        }
        config
    }

    /// A connection in a process of its own.
    pub(crate) fn side(&self, streams: usize, auth: &Value) -> anyhow::Result<Side> {
        // Each process opens the file for itself.
        let store = SqliteBudgets::open(&self.folder.path().join("budgets.db")).map_err(anyhow::Error::msg)?;
        self.within(Pool::with_store(Arc::new(store)), streams, auth)
    }

    /// A connection in the process of others.
    pub(crate) fn within(&self, pool: Pool, streams: usize, auth: &Value) -> anyhow::Result<Side> {
        Ok(Side {
            config: self.config(streams, auth),
            pool,
            out: TempDir::new()?,
            rates: Rates::default(),
            max_wait: Duration::from_secs(7 * 86_400),
        })
    }

    /// Runs connections side by side to their ends.
    pub(crate) fn run(&self, sides: &[&Side]) -> anyhow::Result<Vec<Outcome>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut runs = tokio::task::JoinSet::new();
            for (at, side) in sides.iter().enumerate() {
                let observer = Arc::new(Witness { clock: self.clock.clone(), events: Mutex::default() });
                let described = described(&self.clock, observer.clone()).await?;
                let options = side.options();
                runs.spawn(async move {
                    let report = host::run::run(described, options, observer.clone(), Stop::never()).await;
                    (at, report, observer)
                });
            }
            let all = async {
                let mut outcomes = Vec::new();
                while let Some(ended) = runs.join_next().await {
                    let (at, report, observer) = ended?;
                    let events = std::mem::take(&mut *observer.events());
                    outcomes.push((at, Outcome { report: serde_json::to_value(report?)?, events }));
                }
                outcomes.sort_by_key(|(at, _)| *at);
                anyhow::Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
            };
            tokio::select! {
                ended = tokio::time::timeout(PATIENCE, all) => ended.context("a run hangs")?,
                never = self.clock.run() => match never {},
            }
        })
    }

    /// Runs connections side by side, and expects all to be complete.
    pub(crate) fn complete(&self, sides: &[&Side], records: u64) -> anyhow::Result<Vec<Outcome>> {
        let outcomes = self.run(sides)?;
        for outcome in &outcomes {
            ensure!(outcome.report["verdict"] == "complete", "{outcome:#?}");
            for stream in outcome.report["streams"].as_array().context("no streams")? {
                ensure!(stream["records"] == records, "{outcome:#?}");
            }
        }
        Ok(outcomes)
    }

    /// How many requests were answered with a status.
    pub(crate) fn statuses(&self, status: u16) -> usize {
        self.api.requests().iter().filter(|one| one.status == Some(status)).count()
    }

    /// When each request arrived, and how it was answered.
    pub(crate) fn answers(&self) -> Vec<(Duration, u16)> {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |number: u64| arrived.get(&number).copied().unwrap_or_default();
        self.api.requests().iter().map(|one| (at(one.number), one.status.unwrap_or(0))).collect()
    }

    /// Whole seconds since the beginning.
    pub(crate) fn seconds(&self) -> u64 {
        self.clock.passed().as_secs()
    }
}

impl Side {
    fn options(&self) -> Options {
        Options {
            connection: "rest".to_owned(),
            run: None,
            out: self.out.path().to_owned(),
            sources: Sources { value: self.config.clone(), ..Sources::default() },
            streams: Vec::new(),
            format: Format::JsonLines,
            limit: None,
            full: false,
            rereads: 1,
            on_drift: OnDrift::default(),
            lookback: Vec::new(),
            keep_state: false,
            concurrency: 8,
            // What is committed hangs on pages, and not on how late it is.
            parts: PartLimits { age: Duration::from_secs(10 * 365 * 86_400), ..PartLimits::default() },
            archive: false,
            redact_archive: false,
            network: Network {
                rates: self.rates.clone(),
                pool: self.pool.clone(),
                max_wait: self.max_wait,
                ..Network::default()
            },
        }
    }
}

impl Outcome {
    /// The waits that were announced: of which budget, and until how many seconds after the beginning.
    pub(crate) fn waits(&self) -> Vec<(&str, u64)> {
        let waits = self.events.iter().filter_map(|event| match event {
            Event::Waiting { budget, until_ms, .. } => {
                Some((budget.as_str(), until_ms.saturating_sub(BEGIN_MS) / 1_000))
            }
            _ => None,
        });
        waits.collect()
    }

    /// The host's own warnings.
    pub(crate) fn warnings(&self) -> Vec<&str> {
        let warnings = self.events.iter().filter_map(|event| match event {
            Event::Log { target, message, .. } if target == "host" => Some(message.as_str()),
            _ => None,
        });
        warnings.collect()
    }

    /// The reasons for the verdict.
    pub(crate) fn reasons(&self) -> String {
        let reasons = self.report["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        reasons.collect::<Vec<_>>().join("; ")
    }
}

/// Counts requests for the clock, and keeps what is told.
struct Witness {
    clock: Clock,
    events: Mutex<Vec<Event>>,
}

impl Witness {
    fn events(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Witness {
    fn observe(&self, event: Event) {
        match event {
            Event::Requesting { .. } => self.clock.request(1),
            Event::Answered { .. } => self.clock.request(-1),
            _ => {}
        }
        self.events().push(event);
    }
}

/// The connector of all these runs, by an engine that they share.
async fn described(clock: &Clock, observer: Arc<dyn Observer>) -> anyhow::Result<Described> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    let built = program::built()?;
    let engine = match ENGINE.get() {
        Some(engine) => Arc::clone(engine),
        None => {
            let cache = Cache::new(built.join("test-cache").join("host"));
            let made =
                Arc::new(Engine::new(Limits::default(), Some(cache)).map_err(|error| anyhow::anyhow!("{error:#}"))?);
            Arc::clone(ENGINE.get_or_init(|| made))
        }
    };
    let path: &Path = &built.join("connectors").join("rest.wasm");
    let time: Arc<dyn Time> = Arc::new(clock.clone());
    Ok(Described::load(engine, path, observer, time).await?)
}
