//! One connection whose connector computes for ever, beside healthy ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use host::engine::limits::Limits;
use host::run::{Report, Stop, Verdict};
use serde_json::{Value, json};

use crate::many::{Connection, Crowd, Times, cpu_seconds, rest_config};
use crate::mock::Mock;
use crate::place;
use crate::stats::{quantile, sorted};

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Healthy connections.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Pages that each of them reads, as fast as it can.
    #[arg(long, default_value_t = 100)]
    pages: u32,
    /// Rounds, each without and with the one that computes.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds in which healthy ones make one request a second, without and with it.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Measures.
pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    place::open_files()?;
    let mock = Mock::start(arguments.pages * 100)?;
    let paced = Mock::start(1_000_000)?;
    let out = tempfile::tempdir_in(place::built()?)?;
    place::runtime()?.block_on(rounds(arguments, &mock, &paced, out.path()))
}

/// A connection that computes until it is told to stop.
struct Stuck {
    running: crate::many::Running,
    stopper: host::run::Stopper,
}

impl Stuck {
    async fn start(healthy: &Connection, out: PathBuf, wait: Duration) -> anyhow::Result<Self> {
        let connection = Connection {
            wasm: place::guest("loop_in_read")?,
            config: json!({"url": "https://api.example.com"}),
            out,
            ..healthy.clone()
        };
        let (stopper, stop) = Stop::new();
        let running = tokio::spawn(connection.run(Arc::new(Times::default()), stop));
        tokio::time::sleep(wait).await;
        ensure!(!running.is_finished(), "what should compute for ever has ended");
        Ok(Self { running, stopper })
    }

    async fn stop(self) -> anyhow::Result<Report> {
        ensure!(!self.running.is_finished(), "what should compute for ever has ended");
        self.stopper.stop();
        self.running.await?
    }
}

async fn rounds(arguments: &Arguments, mock: &Mock, paced: &Mock, out: &Path) -> anyhow::Result<Value> {
    // Longer than all rounds: what ends it is not what is measured.
    let limits = Limits { cpu: Duration::from_secs(3600), ..Limits::default() };
    let one = Connection {
        engine: place::engine(limits)?,
        wasm: place::connector("rest")?,
        config: rest_config(mock.url()),
        out: out.to_owned(),
        rate: None,
        archive: true,
        commit: Duration::from_secs(120),
    };
    let (mut alone, mut beside, mut ratios, mut stuck_share) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first round warms up everything.
    for round in 0..=arguments.rounds {
        let without = whole(arguments, &one, out.join(format!("{round}-alone"))).await?;
        let stuck = Stuck::start(&one, out.join(format!("{round}-stuck")), Duration::from_millis(300)).await?;
        let cpu = cpu_seconds()?;
        let with = whole(arguments, &one, out.join(format!("{round}-beside"))).await?;
        let cpu = cpu_seconds()? - cpu;
        stuck.stop().await?;
        if round > 0 {
            alone.push(without);
            beside.push(with);
            ratios.push(with / without);
            stuck_share.push(cpu / with);
        }
    }
    let steady = Connection { rate: Some("1/s".parse()?), config: rest_config(paced.url()), ..one.clone() };
    let late_alone = late(arguments, &steady, out.join("paced-alone"), None).await?;
    let late_beside = late(arguments, &steady, out.join("paced-beside"), Some(out.join("paced-stuck"))).await?;
    Ok(json!({
        "connections": arguments.connections,
        "pages": arguments.pages,
        "alone_s": alone,
        "beside_s": beside,
        "ratios": ratios,
        "ratio": quantile(&sorted(ratios.clone()), 0.5),
        "cpu_s_per_s_beside": stuck_share,
        "paced_late_ms_alone": late_alone,
        "paced_late_ms_beside": late_beside,
    }))
}

/// Reads all healthy connections to their ends, and returns how long it took.
async fn whole(arguments: &Arguments, one: &Connection, out: PathBuf) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let crowd = Crowd::start(arguments.connections, 0, Connection { out, ..one.clone() }).await?;
    for running in crowd.running {
        let report = running.await.context("a connection crashed")??;
        ensure!(report.finding.verdict == Verdict::Complete, "{:?}", report.finding.reasons);
        let records: u64 = report.streams.iter().map(|stream| stream.records).sum();
        ensure!(records == u64::from(arguments.pages) * 100, "{records} records");
    }
    // Files stay until the end: where some were deleted a moment ago, others are slower to make.
    Ok(begun.elapsed().as_secs_f64())
}

/// How late requests leave at one a second, in milliseconds.
async fn late(arguments: &Arguments, one: &Connection, out: PathBuf, stuck: Option<PathBuf>) -> anyhow::Result<Value> {
    let stuck = match stuck {
        Some(out) => Some(Stuck::start(one, out, Duration::from_millis(300)).await?),
        None => None,
    };
    let crowd = Crowd::start(arguments.connections, 50, Connection { out, ..one.clone() }).await?;
    crowd.steady().await?;
    let from = Instant::now();
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let to = Instant::now();
    let times = crowd.times.clone();
    crowd.stop().await?;
    if let Some(stuck) = stuck {
        stuck.stop().await?;
    }
    let period = Duration::from_secs(1);
    let late = sorted(times.iter().flat_map(|times| times.late_ms(period, from, to)).collect());
    Ok(json!({"p50": quantile(&late, 0.5), "p99": quantile(&late, 0.99), "max": quantile(&late, 1.0)}))
}
