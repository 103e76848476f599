//! A report as tables for people.

use std::path::Path;

use host::run::Report;

use host::schema::drift::Policy;

use super::print::Out;
use super::{CliError, units};

/// Prints what a run did and what can be said of it.
pub(crate) fn print(report: &Report, folder: &Path, out: &mut Out) -> Result<(), CliError> {
    let mut head =
        vec!["stream", "mode", "records", "pages", "requests", "retries", "received", "waited", "files", "verdict"];
    let mut rows: Vec<Vec<String>> = report
        .streams
        .iter()
        .map(|stream| {
            vec![
                stream.name.clone(),
                stream.mode.clone(),
                units::count(stream.records),
                units::count(stream.pages),
                units::count(stream.traffic.requests),
                units::count(stream.traffic.retries),
                units::bytes(stream.traffic.received_bytes),
                units::millis(stream.traffic.waited_ms),
                stream.parts.len().to_string(),
                stream.finding.verdict.to_string(),
            ]
        })
        .collect();
    if report.dead_letters() > 0 {
        head.insert(3, "dead letters");
        for (row, stream) in rows.iter_mut().zip(&report.streams) {
            row.insert(3, units::count(stream.dead_letters));
        }
    }
    out.table(&head, &rows)?;
    let reads = report.streams.iter().flat_map(|stream| stream.reads.iter().map(move |read| (stream, read)));
    let moved: Vec<Vec<String>> = reads
        .filter(|(_, read)| read.watermark_after.is_some())
        .map(|(stream, read)| {
            vec![
                read.partition.as_ref().map_or(stream.name.clone(), |id| format!("{}/{id}", stream.name)),
                read.watermark_before.as_deref().map_or_else(|| "the beginning".to_owned(), units::start),
                read.watermark_after.as_deref().map(units::start).unwrap_or_default(),
            ]
        })
        .collect();
    if !moved.is_empty() {
        out.line("")?;
        out.table(&["watermark of", "before", "now"], &moved)?;
    }
    out.line("")?;
    out.line(format!(
        "{}: {} in {} ({} run {})",
        report.finding.verdict,
        units::counted(report.records(), "record"),
        units::millis(report.ended_ms.saturating_sub(report.started_ms)),
        if report.resumed { "resumed" } else { "new" },
        report.run
    ))?;
    for reason in &report.finding.reasons {
        out.line(format!("  {reason}"))?;
    }
    for line in drift(report) {
        out.line(line)?;
    }
    out.line(format!("files in {0}; more in `host report --json --out {0}`", folder.display()))
}

/// What records differed in, as lines; nothing of streams in which that is silently taken over.
pub(crate) fn drift(report: &Report) -> Vec<String> {
    let told = report.streams.iter().filter(|stream| stream.on_drift != Policy::Evolve && !stream.drift.is_empty());
    told.flat_map(|stream| {
        let changes = stream.drift.iter().map(|change| format!("  {change}"));
        std::iter::once(format!("drift in {}:", stream.name)).chain(changes)
    })
    .collect()
}
