//! Many connections in one process. Each is a whole run: state, lock, archive, a sandbox, Parquet in a folder of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use host::config::Sources;
use host::engine::Engine;
use host::engine::limits::Limits;
use host::event::{Event, Observer};
use host::http::{Rate, Rates};
use host::run::{Described, Format, Network, Options, PartLimits, Report, Stop, Stopper};
use host::time::SystemClock;
use serde_json::{Value, json};

use crate::mock::Mock;
use crate::place;
use crate::stats::{quantile, sorted};

/// Time between the first requests of the last connection and the first figure.
const SETTLING: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Connections.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Seconds of the steady state.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Connections that start in a second.
    #[arg(long, default_value_t = 50)]
    starts: u32,
    /// Seconds after which each connection commits what it has.
    #[arg(long, default_value_t = 20)]
    commit: u64,
    /// Keeps no exchanges.
    #[arg(long)]
    no_archive: bool,
}

/// When requests of one connection left, and when their answers came.
#[derive(Default)]
pub(crate) struct Times {
    left: Mutex<Vec<Instant>>,
    answered: Mutex<Vec<Instant>>,
    committed: Mutex<Vec<Instant>>,
}

impl Observer for Times {
    fn observe(&self, event: Event) {
        let times = match event {
            Event::Requesting { .. } => &self.left,
            Event::Answered { .. } => &self.answered,
            Event::Committed { .. } => &self.committed,
            _ => return,
        };
        times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
}

impl Times {
    fn of(times: &Mutex<Vec<Instant>>) -> Vec<Instant> {
        times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How late requests left, in milliseconds: a rate without a burst permits one a period after the one before it.
    pub(crate) fn late_ms(&self, period: Duration, from: Instant, to: Instant) -> Vec<f64> {
        let left = Self::of(&self.left);
        let pairs = left.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
        let within = pairs.filter(|(_, second)| (from..to).contains(second));
        within.map(|(first, second)| (second - first).saturating_sub(period).as_secs_f64() * 1e3).collect()
    }

    /// How long answers took, in milliseconds.
    fn took_ms(&self, from: Instant, to: Instant) -> Vec<f64> {
        let pairs = Self::of(&self.left).into_iter().zip(Self::of(&self.answered));
        pairs
            .filter(|(left, _)| (from..to).contains(left))
            .map(|(left, answered)| answered.saturating_duration_since(left).as_secs_f64() * 1e3)
            .collect()
    }

    fn commits(&self, from: Instant, to: Instant) -> usize {
        Self::of(&self.committed).iter().filter(|at| (from..to).contains(*at)).count()
    }
}

/// One connection to be.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) engine: Arc<Engine>,
    pub(crate) wasm: PathBuf,
    pub(crate) config: Value,
    pub(crate) out: PathBuf,
    pub(crate) rate: Option<Rate>,
    pub(crate) archive: bool,
    pub(crate) commit: Duration,
}

impl Connection {
    /// Runs it to its end, or until it is told to stop.
    pub(crate) async fn run(self, times: Arc<Times>, stop: Stop) -> anyhow::Result<Report> {
        let described = Described::load(self.engine, &self.wasm, times.clone(), Arc::new(SystemClock::new())).await?;
        let options = Options {
            connection: "crowd".to_owned(),
            run: None,
            out: self.out,
            sources: Sources { value: self.config, ..Sources::default() },
            streams: Vec::new(),
            format: Format::Parquet,
            limit: None,
            full: false,
            on_drift: host::config::OnDrift::default(),
            rereads: 1,
            lookback: Vec::new(),
            keep_state: false,
            concurrency: 4,
            parts: PartLimits { age: self.commit, ..PartLimits::default() },
            archive: self.archive,
            redact_archive: false,
            network: Network { rates: Rates { default: self.rate, ..Rates::default() }, ..Network::default() },
        };
        Ok(host::run::run(described, options, times, stop).await?)
    }
}

/// The configuration of `rest` for the mock API.
pub(crate) fn rest_config(url: &str) -> Value {
    json!({"base_url": url, "streams": [{
        "name": "items", "path": "/items", "records": "/items", "primary_key": ["id"],
        "pagination": {"cursor": {"token": "/next", "param": "cursor"}},
    }]})
}

pub(crate) type Running = tokio::task::JoinHandle<anyhow::Result<Report>>;

/// Connections under way.
pub(crate) struct Crowd {
    pub(crate) running: Vec<Running>,
    pub(crate) times: Vec<Arc<Times>>,
    stopper: Stopper,
}

impl Crowd {
    /// Starts connections one after the other, so many a second, each with a folder of its own.
    pub(crate) async fn start(count: usize, starts: u32, one: Connection) -> anyhow::Result<Self> {
        let (stopper, stop) = Stop::new();
        let mut crowd = Self { running: Vec::new(), times: Vec::new(), stopper };
        let begun = tokio::time::Instant::now();
        for number in 0..count {
            let connection = Connection { out: one.out.join(number.to_string()), ..one.clone() };
            let times = Arc::new(Times::default());
            crowd.running.push(tokio::spawn(connection.run(times.clone(), stop.clone())));
            crowd.times.push(times);
            if starts > 0 {
                let due = Duration::from_secs(1) / starts * u32::try_from(number + 1)?;
                tokio::time::sleep_until(begun + due).await;
            }
        }
        Ok(crowd)
    }

    /// Waits until each has made its second request.
    pub(crate) async fn steady(&self) -> anyhow::Result<()> {
        for (times, running) in self.times.iter().zip(&self.running) {
            while times.requests() < 2 {
                ensure!(!running.is_finished(), "a connection ended before its second request");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Stops all of them and returns their reports.
    pub(crate) async fn stop(self) -> anyhow::Result<Vec<Report>> {
        self.stopper.stop();
        let mut reports = Vec::new();
        for running in self.running {
            reports.push(running.await.context("a connection crashed")??);
        }
        Ok(reports)
    }
}

/// Measures.
pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    place::open_files()?;
    let mock = Mock::start(1_000_000)?;
    let out = tempfile::tempdir_in(place::built()?)?;
    let result = place::runtime()?.block_on(crowd(arguments, &mock, out.path()))?;
    Ok(result)
}

async fn crowd(arguments: &Arguments, mock: &Mock, out: &Path) -> anyhow::Result<Value> {
    let period = Duration::from_secs(1);
    let one = Connection {
        engine: place::engine(Limits::default())?,
        wasm: place::connector("rest")?,
        config: rest_config(mock.url()),
        out: out.to_owned(),
        rate: Some("1/s".parse()?),
        archive: !arguments.no_archive,
        commit: Duration::from_secs(arguments.commit),
    };
    let empty_kib = place::memory_kib("VmRSS")?;
    let begun = Instant::now();
    let crowd = Crowd::start(arguments.connections, arguments.starts, one).await?;
    crowd.steady().await?;
    let started = begun.elapsed();
    tokio::time::sleep(SETTLING).await;
    let (from, cpu) = (Instant::now(), cpu_seconds()?);
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let (to, cpu) = (Instant::now(), cpu_seconds()? - cpu);
    let (steady_kib, threads) = (place::memory_kib("VmRSS")?, place::threads());
    let times = crowd.times.clone();
    let stopping = Instant::now();
    let reports = crowd.stop().await?;
    let stopped = stopping.elapsed();

    let late = sorted(times.iter().flat_map(|times| times.late_ms(period, from, to)).collect());
    let took = sorted(times.iter().flat_map(|times| times.took_ms(from, to)).collect());
    let commits: usize = times.iter().map(|times| times.commits(from, to)).sum();
    for report in &reports {
        let reasons = &report.finding.reasons;
        ensure!(reasons.iter().all(|reason| reason.contains("interrupted")), "a connection failed: {reasons:?}");
    }
    let records: u64 = reports.iter().flat_map(|report| &report.streams).map(|stream| stream.records).sum();
    let requests: u64 = reports.iter().map(|report| report.traffic.requests).sum();
    // An answer that came as everything was stopped was not emitted any more.
    let unused = (requests * 100).checked_sub(records).context("more records than were requested")?;
    ensure!(unused <= arguments.connections as u64 * 100, "{requests} requests brought {records} records");
    Ok(json!({
        "connections": arguments.connections,
        "archive": !arguments.no_archive,
        "seconds": (to - from).as_secs_f64(),
        "requests": late.len(),
        "requests_per_s": late.len() as f64 / (to - from).as_secs_f64(),
        "commits": commits,
        "late_ms": {"p50": quantile(&late, 0.5), "p99": quantile(&late, 0.99), "max": quantile(&late, 1.0)},
        "answer_ms": {"p50": quantile(&took, 0.5), "p99": quantile(&took, 0.99), "max": quantile(&took, 1.0)},
        "cpu_s_per_s": cpu / (to - from).as_secs_f64(),
        "started_s": started.as_secs_f64(),
        "stopped_s": stopped.as_secs_f64(),
        "empty_mib": empty_kib as f64 / 1024.0,
        "steady_mib": steady_kib as f64 / 1024.0,
        "peak_mib": place::memory_kib("VmHWM")? as f64 / 1024.0,
        "threads": threads,
        "records": records,
    }))
}

/// CPU time of this process.
pub(crate) fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("a malformed stat")?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // The kernel tells them in hundredths of a second, whatever its own clock does.
    Ok((ticks(11) + ticks(12)) / 100.0)
}
