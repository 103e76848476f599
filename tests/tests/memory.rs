//! Memory does not grow with the number of records.

use anyhow::{Context, ensure};
use serde_json::json;
use tests::{
    mock::{Api, Endpoint, cursor::Cursor},
    program::{host, integers},
};

/// What the host may use for 1,000,000 small records.
const MAX_KIB: u64 = 200 << 10;
const RECORDS: u32 = 1_000_000;

/// The greatest resident size of a process so far, in KiB; none once it is gone.
fn peak_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[test]
fn a_million_records_need_less_than_200_mib() -> anyhow::Result<()> {
    let endpoint = Endpoint::new("/items", Cursor::default()).records(RECORDS).page_size(1_000, 1_000);
    let api = Api::builder().endpoint(endpoint).start()?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.json");
    let stream = json!({"name": "items", "path": "/items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"cursor": {"token": "/next", "param": "cursor"}}});
    std::fs::write(&config, json!({"base_url": api.url(""), "streams": [stream]}).to_string())?;
    let out = folder.path().join("out");
    let (config, out_text) = (config.to_str().context("a path")?, out.to_str().context("a path")?);
    let mut child = host(&["run", "rest", "--config", config, "--out", out_text, "-q"])?.spawn()?;
    let mut peak = 0;
    let status = loop {
        peak = peak_kib(child.id()).unwrap_or(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::yield_now();
    };
    ensure!(status.success(), "{status}");
    ensure!(peak > 10 << 10, "{peak} KiB is no measurement");
    ensure!(peak < MAX_KIB, "{} MiB at its peak", peak >> 10);
    assert_eq!(integers(&out, "items", "id")?.len(), RECORDS as usize);
    Ok(())
}
