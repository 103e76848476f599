//! What DuckDB makes of the files that the host leaves: the program that users look at them with.

use std::process::Command;

use anyhow::ensure;
use serde_json::Value;

use crate::servers;

/// Prints a query's columns and rows as JSON.
const SCRIPT: &str = "import duckdb, json, sys
found = duckdb.sql(sys.argv[1])
print(json.dumps({'columns': found.columns, 'rows': found.fetchall()}, default=str))";

/// Makes a query; returns the names of its columns, and its rows as arrays.
///
/// # Errors
///
/// Where DuckDB is not installed, or refuses the query.
pub fn query(sql: &str) -> anyhow::Result<(Value, Value)> {
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, sql]).env("PYTHONPATH", servers::installed("duckdb")?);
    let ended = python.output()?;
    ensure!(ended.status.success(), "{sql}: {}", String::from_utf8_lossy(&ended.stderr));
    let mut found: Value = serde_json::from_slice(&ended.stdout)?;
    Ok((found["columns"].take(), found["rows"].take()))
}
