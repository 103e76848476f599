//! Rate limits that processes on one machine share, in a SQLite file of their own: it is written with each request, its loss
//! costs nothing, and neither it nor a process that hangs on it may hold up a commit.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::patience;
use crate::http::budget::shared::{Store, Unshared};
use crate::http::budget::state::State;

/// How long an opening goes on trying while another process holds the file.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked whether the file is free, a millisecond apart. Others hold it for well under a millisecond, so that
/// even among many that want it hardly anybody is unlucky so often; who is asks again, without keeping a thread meanwhile.
const LOOKS: i32 = 50;

/// Budgets in the file; beyond it those that were looked at longest ago are forgotten.
const MAX_KEPT: usize = 4_096;

/// SQLite's own waiting rests ever longer, up to a tenth of a second: who comes anew overtakes who has waited long.
fn wait_a_little(looks: i32) -> bool {
    let again = looks < LOOKS;
    if again {
        std::thread::sleep(Duration::from_millis(1));
    }
    again
}

/// Budgets in a SQLite file.
pub struct SqliteBudgets {
    path: PathBuf,
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
        let mut connection = Connection::open(path)?;
        connection.busy_handler(Some(wait_a_little))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a power cut takes along, the server's next answer brings back.
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS budgets (name TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID",
        )?;
        match forget_old(&connection) {
            // Whoever opens it next does it.
            Err(error) if patience::is_busy(&error) => {}
            done => done?,
        }
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }
}

impl Store for SqliteBudgets {
    fn update(&self, name: &str, change: &mut dyn FnMut(&mut State)) -> Result<(), Unshared> {
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
        update().map_err(|error: rusqlite::Error| {
            let path = self.path.display();
            if patience::is_busy(&error) {
                Unshared::Held(format!("another process holds {path}"))
            } else {
                Unshared::Broken(format!("{path}: {error}"))
            }
        })
    }
}

/// Removes what concerns nobody any more, so that the file does not grow by each name that was ever used.
fn forget_old(connection: &Connection) -> rusqlite::Result<()> {
    let mut found: Vec<(String, String, Option<State>)> = connection
        .prepare("SELECT name, state FROM budgets")?
        .query_map([], |row| {
            let (name, text): (String, String) = (row.get(0)?, row.get(1)?);
            let state = serde_json::from_str(&text).ok();
            Ok((name, text, state))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let looked_at_ms = |state: &Option<State>| state.as_ref().map_or(0, State::looked_at_ms);
    // The latest time at which any of them was looked at has come for all.
    let now_ms = found.iter().map(|(.., state)| looked_at_ms(state)).max().unwrap_or(0);
    found.sort_by_key(|(.., state)| std::cmp::Reverse(looked_at_ms(state)));
    for (at, (name, text, state)) in found.iter().enumerate() {
        if at >= MAX_KEPT || state.as_ref().is_none_or(|state| state.is_over(now_ms)) {
            // Only as it was read: somebody may need it just now.
            connection.execute("DELETE FROM budgets WHERE name = ?1 AND state = ?2", params![name, text])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Silent;
    use crate::http::budget::shared::Pool;
    use crate::http::budget::state::{Asker, Claim, Step};
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
        one.observe("r", "a", Budget { remaining: Some(0), reset_at_ms: Some(begun + 5_000) }).unwrap();
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

    /// As many at once as a machine has connections, all at the same budget: none is given up, and none counts for nothing.
    #[test]
    fn among_many_that_want_it_at_once_nobody_decides_alone() {
        const EACH: u32 = 200;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_budgets.db");
        let rates = ["1/s".parse().unwrap()];
        let claim = Claim { tokens: 1, permits: 0, request: false };
        std::thread::scope(|scope| {
            for process in ["a", "b", "c", "d", "e", "f", "g", "h"] {
                let store = SqliteBudgets::open(&path).unwrap();
                scope.spawn(move || {
                    let asker = Asker { process, connector: "", rates: &rates, by_user: &rates, concurrency: None };
                    for _ in 0..EACH {
                        // What is held now is free later; no request goes out meanwhile.
                        while store.update("a", &mut |state| state.take(&asker, claim, 1_000)).is_err() {}
                    }
                });
            }
        });
        let asker = Asker { process: "i", connector: "", rates: &rates, by_user: &rates, concurrency: None };
        let mut step = None;
        let store = SqliteBudgets::open(&path).unwrap();
        store.update("a", &mut |state| step = Some(state.step(&asker, claim, 1_000))).unwrap();
        assert_eq!(step, Some(Step::Until(1_000 + u64::from(8 * EACH) * 1_000)));
    }

    #[test]
    fn a_file_that_another_holds_is_told_from_one_that_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_budgets.db");
        let store = SqliteBudgets::open(&path).unwrap();
        let mut holder = Connection::open(&path).unwrap();
        let held = holder.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let mut made = 0;
        let update = |made: &mut u32| store.update("a", &mut |_| *made += 1);
        assert_eq!(update(&mut made), Err(Unshared::Held(format!("another process holds {}", path.display()))));
        assert_eq!(made, 0);
        drop(held);
        assert_eq!(update(&mut made), Ok(()));
        holder.execute_batch("DROP TABLE budgets").unwrap();
        let reason = format!("{}: no such table: budgets", path.display());
        assert!(matches!(update(&mut made), Err(Unshared::Broken(text)) if text.starts_with(&reason)));
        assert_eq!(made, 1);
    }

    #[test]
    fn what_concerns_nobody_any_more_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_budgets.db");
        let names = || -> Vec<String> {
            let connection = Connection::open(&path).unwrap();
            let mut found = connection.prepare("SELECT name FROM budgets ORDER BY name").unwrap();
            let names = found.query_map([], |row| row.get(0)).unwrap();
            names.collect::<Result<_, _>>().unwrap()
        };
        let clock = VirtualClock::starting_at(1_700_000_000_000);
        let client = || {
            let pool = Pool::with_store(Arc::new(SqliteBudgets::open(&path).unwrap()));
            let time = Arc::new(clock.clone());
            Budgets::within(pool, time, Arc::new(Silent), Rates::default(), Duration::from_secs(60), 16)
        };
        let one = client();
        for (name, minutes) in [("a", 1), ("b", 10), ("c", 3)] {
            let reset_at_ms = Some(clock.now_ms() + minutes * 60_000);
            one.observe("r", name, Budget { remaining: Some(5), reset_at_ms }).unwrap();
        }
        clock.advance(Duration::from_secs(300));
        client();
        assert_eq!(names(), ["a", "b", "c"], "nobody knows how late it is");
        one.observe("r", "d", Budget { remaining: Some(5), reset_at_ms: Some(clock.now_ms() + 1) }).unwrap();
        let mut holder = Connection::open(&path).unwrap();
        let held = holder.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        client();
        drop(held);
        assert_eq!(names(), ["a", "b", "c", "d"], "who holds it does not keep others from opening it");
        client();
        assert_eq!(names(), ["b", "d"]);
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
