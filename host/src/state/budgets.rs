//! Rate limits that processes on one machine share, in a SQLite file of their own: it is written with each request, its loss
//! costs nothing, and neither it nor a process that hangs on it may hold up a commit.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::patience;
use crate::http::budget::shared::Store;
use crate::http::budget::state::State;

/// How long an opening goes on trying while another process holds the file.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// Budgets in a SQLite file.
pub struct SqliteBudgets {
    connection: Mutex<Connection>,
}

impl SqliteBudgets {
    /// Opens the file, making it where there is none.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn open(path: &Path) -> Result<Self, String> {
        patience::open(OPEN_WITHIN, || Self::try_open(path)).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn try_open(path: &Path) -> Result<Self, rusqlite::Error> {
        let connection = Connection::open(path)?;
        // Others hold it for well under a millisecond.
        connection.busy_timeout(Duration::from_millis(500))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a power cut takes along, the server's next answer brings back.
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS budgets (name TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID",
        )?;
        Ok(Self { connection: Mutex::new(connection) })
    }
}

impl Store for SqliteBudgets {
    fn update(&self, name: &str, change: &mut dyn FnMut(&mut State)) -> Result<(), String> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut update = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found: Option<String> = transaction
                .prepare_cached("SELECT state FROM budgets WHERE name = ?1")?
                .query_row(params![name], |row| row.get(0))
                .optional()?;
            // What another version of the host wrote is as good as nothing.
            let mut state = found.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            change(&mut state);
            let text = serde_json::to_string(&state).unwrap_or_default();
            transaction
                .prepare_cached("INSERT INTO budgets VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET state = ?2")?
                .execute(params![name, text])?;
            transaction.commit()
        };
        update().map_err(|error: rusqlite::Error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Silent;
    use crate::http::budget::shared::Pool;
    use crate::http::{Budget, Budgets, Rates};
    use crate::time::{Time, VirtualClock};

    #[tokio::test]
    async fn processes_share_a_budget_by_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_budgets.db");
        let clock = VirtualClock::starting_at(1_700_000_000_000);
        // Each opens the file for itself, as a process would.
        let client = |rate: Option<&str>| {
            let pool = Pool::with_store(Arc::new(SqliteBudgets::open(&path).unwrap()));
            let rates = Rates { default: rate.map(|rate| rate.parse().unwrap()), ..Rates::default() };
            let time = Arc::new(clock.clone());
            Budgets::within(pool, time, Arc::new(Silent), rates, Duration::from_secs(60), 16)
        };
        let (one, two) = (client(None), client(None));
        let begun = clock.now_ms();
        one.observe("a", Budget { remaining: Some(0), reset_at_ms: Some(begun + 5_000) }).unwrap();
        drop(two.admit("r", "a").await.unwrap());
        assert_eq!(clock.now_ms() - begun, 5_000);

        let (one, two) = (client(Some("10/s")), client(Some("10/s")));
        let begun = clock.now_ms();
        for _ in 0..5 {
            drop(one.admit("r", "b").await.unwrap());
            drop(two.admit("r", "b").await.unwrap());
        }
        assert_eq!(clock.now_ms() - begun, 900, "ten requests of both together at ten a second");
    }

    #[test]
    fn many_that_begin_at_once_all_open_it() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("_budgets.db");
            let barrier = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        barrier.wait();
                        SqliteBudgets::open(&path).unwrap();
                    });
                }
            });
        }
    }

    #[test]
    fn a_file_that_is_none_is_an_error_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_budgets.db");
        std::fs::write(&path, "not a database, and long enough to be looked at as one").unwrap();
        assert!(SqliteBudgets::open(&path).err().unwrap().contains("_budgets.db"));
    }
}
