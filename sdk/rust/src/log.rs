//! Structured log lines; use them through [`info!`](crate::info) and its siblings.

use crate::bindings::ingest::connector::log as wit;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps whoever writes the connector.
    Debug,
    /// What a user may like to know.
    Info,
    /// What a user should look at.
    Warn,
    /// What went wrong.
    Error,
}

/// Writes one line with fields.
pub fn write(level: Level, message: &str, fields: &[(&str, String)]) {
    let level = match level {
        Level::Trace => wit::Level::Trace,
        Level::Debug => wit::Level::Debug,
        Level::Info => wit::Level::Info,
        Level::Warn => wit::Level::Warn,
        Level::Error => wit::Level::Error,
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    wit::write(level, message, &fields);
}

/// Logs at a level: a format string and its arguments, then fields after a semicolon.
///
/// ```no_run
/// # use connector_sdk::{log, log::Level};
/// let repository = "left-pad";
/// log!(Level::Info, "{} issues", 12; repository, pages = 3);
/// ```
#[macro_export]
macro_rules! log {
    ($level:expr, $format:literal $(, $arg:expr)* $(; $($field:ident $(= $value:expr)?),+ $(,)?)?) => {
        $crate::log::write(
            $level,
            &::std::format!($format $(, $arg)*),
            &[$($((
                ::std::stringify!($field),
                ::std::string::ToString::to_string(&$crate::log!(@value $field $(= $value)?)),
            )),+)?],
        )
    };
    (@value $field:ident) => { $field };
    (@value $field:ident = $value:expr) => { $value };
}

/// Logs what a user may like to know; see [`log!`](crate::log!).
#[macro_export]
macro_rules! info {
    ($($line:tt)*) => { $crate::log!($crate::log::Level::Info, $($line)*) };
}

/// Logs what a user should look at; see [`log!`](crate::log!).
#[macro_export]
macro_rules! warn {
    ($($line:tt)*) => { $crate::log!($crate::log::Level::Warn, $($line)*) };
}

/// Logs what helps whoever writes the connector; see [`log!`](crate::log!).
#[macro_export]
macro_rules! debug {
    ($($line:tt)*) => { $crate::log!($crate::log::Level::Debug, $($line)*) };
}
