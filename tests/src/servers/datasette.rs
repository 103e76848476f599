//! datasette over an SQLite file: a `next` token and URL in the body, ties, compound keys.

use std::{path::Path, process::Command};

use super::{
    ServerError, installed,
    process::{Port, Process},
};

/// Rows of the table `orders`.
pub const ORDERS: u32 = 300_000;
/// So many orders share one `day`: more than fit on a page.
pub const TIES: u32 = 2_500;

/// The running server.
#[derive(Debug)]
pub struct Datasette {
    base: String,
    _process: Process,
}

impl Datasette {
    /// Makes the database and starts the server over it.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub fn start() -> Result<Self, ServerError> {
        let program = installed(".venv/bin/datasette")?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("shop.db");
        make(&file)?;
        let claimed = Port::claim()?;
        let port = claimed.number();
        let mut command = Command::new(program);
        command.arg("serve").arg(&file).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        for (name, value) in [("max_returned_rows", "1000"), ("sql_time_limit_ms", "30000"), ("suggest_facets", "off")]
        {
            command.args(["--setting", name, value]);
        }
        let process = Process::start("datasette", command, folder, vec![claimed])?;
        Ok(Self { base: format!("http://127.0.0.1:{port}"), _process: process })
    }

    /// Scheme, host and port. The table is `/shop/orders.json`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }
}

/// The key of an order: its shop, whose name holds characters that URLs or datasette's own tokens give
/// a meaning to, and its number there.
#[must_use]
pub fn key(n: u32) -> (String, u32) {
    const MARKS: [&str; 8] = ["a,b", "50%", "x/y", "~tilde", "sp ace", "pl+us", "q?&=#", "ü🦀"];
    let mark = MARKS.get(n as usize % MARKS.len()).copied().unwrap_or_default();
    (format!("{mark}-{:02}", n % 40), n / 40)
}

/// The day of an order, which says nothing about its place by key.
#[must_use]
pub fn day(n: u32) -> String {
    // 77,773 is prime to the number of orders: every place is taken once.
    let place = u64::from(n) * 77_773 % u64::from(ORDERS) / u64::from(TIES);
    let date = crate::mock::time::rfc3339(crate::mock::time::START + i64::try_from(place).unwrap_or(0) * 86_400);
    date.split('T').next().unwrap_or_default().to_owned()
}

/// Makes the database: `orders` with a key of two columns, many of them on one day.
///
/// # Errors
/// Where SQLite refuses.
pub fn make(file: &Path) -> Result<(), rusqlite::Error> {
    let mut database = rusqlite::Connection::open(file)?;
    // A file that a test throws away needs no durability.
    database.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         CREATE TABLE orders (
             shop TEXT NOT NULL, number INTEGER NOT NULL, day TEXT NOT NULL, cents INTEGER NOT NULL, weight REAL, note TEXT,
             PRIMARY KEY (shop, number)
         );",
    )?;
    let insert = database.transaction()?;
    {
        let mut row = insert.prepare("INSERT INTO orders VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for n in 0..ORDERS {
            let (shop, number) = key(n);
            let note = (!n.is_multiple_of(3)).then(|| format!("note {n}"));
            row.execute((shop, number, day(n), n, f64::from(n % 1000) / 8.0, note))?;
        }
    }
    insert.execute_batch("CREATE INDEX by_day ON orders (day);")?;
    insert.commit()
}
