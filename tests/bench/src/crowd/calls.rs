//! What a call of the host costs: a guest asks for the time ten million times.

use std::time::Instant;

use host::engine::limits::Limits;
use serde_json::{Value, json};

use crate::pages::{Memory, instance, request};
use crate::place;

/// Calls that the guest `clock_often` makes in one read.
const CALLS: f64 = 10_000_000.0;
const ROUNDS: usize = 5;

/// Measures.
pub(crate) fn measure() -> anyhow::Result<Value> {
    place::runtime()?.block_on(async {
        let engine = place::engine(Limits::default())?;
        let connector = engine.load(&place::guest("clock_often")?)?;
        let mut ns = Vec::new();
        for _ in 0..ROUNDS {
            let (instance, _) = instance(&engine, &connector, Memory::empty()).await?;
            let begun = Instant::now();
            let read = instance.read(request(&json!({"url": "https://api.example.com"}))).await.1?;
            let took = begun.elapsed();
            read.map_err(|error| anyhow::anyhow!("{error:?}"))?;
            ns.push(took.as_secs_f64() * 1e9 / CALLS);
        }
        Ok(json!({"calls": CALLS, "ns": ns}))
    })
}
