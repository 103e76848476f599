//! Real exchanges, served again from the files that others recorded.
//!
//! A [`Recording`] is read from the replay files of PyGithub's tests; a [`Replay`] serves a choice of
//! them. Bodies stay as they were recorded (some were cut down to ids by those who recorded them),
//! and headers do, except that links and redirects lead to this server.

mod literal;
mod recording;
mod replay;

pub use recording::{Exchange, Recording, RecordingError};
pub use replay::Replay;
