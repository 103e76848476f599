//! Opening a file that another process is just making.

use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

/// How long it rests between two attempts.
const AGAIN: Duration = Duration::from_millis(5);

/// Opens a file, and tries again for so long while another process holds it.
///
/// SQLite's own waiting (`busy_timeout`) is not enough: the step in which a file gets a journal of its own kind waits for
/// nobody, and two processes that begin at once meet there.
///
/// # Errors
///
/// The last error, where the file is held for longer, and any other at once.
pub(super) fn open<T>(within: Duration, mut attempt: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && begun.elapsed() < within => std::thread::sleep(AGAIN),
            opened => return opened,
        }
    }
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
