//! What can go wrong, and what it means for the read.

use std::fmt::Display;

use crate::bindings::exports::ingest::connector::source;

/// The result of everything in this SDK; the error is [`enum@Error`] unless it is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a connector gives up; the variant tells the host what to do about it.
///
/// The errors of the SDK's own modules become the fitting variant through `?`: a 401 is
/// [`Auth`](Error::Auth), a 503 is [`Transient`](Error::Transient), a value of another type is
/// [`Data`](Error::Data), a cursor that repeats is [`Restart`](Error::Restart).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong: field and reason.
    #[error("configuration: {0}")]
    Config(String),
    /// The API refuses the credentials.
    #[error("credentials refused: {0}")]
    Auth(String),
    /// Worth trying again from the last checkpoint.
    #[error("worth trying again: {0}")]
    Transient(String),
    /// The API's answer is not what its documentation promises.
    #[error("unexpected answer: {0}")]
    Data(String),
    /// The same, and what came before is in doubt too, as where pages lead in a circle: the read has to begin again. So it has
    /// where its checkpoint cannot be gone on from.
    #[error("the read has to begin again: {0}")]
    Restart(String),
    /// The HTTP request failed for good.
    #[error("request failed: {0}")]
    Http(String),
    /// What was to be read is not there or may not be seen, and by the API's documentation nothing is lost with it: the read
    /// of a partition counts as complete, and the user is told.
    #[error("not there: {0}")]
    Absent(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Makes a [`Config`](Error::Config) error.
    pub fn config(reason: impl Display) -> Self {
        Self::Config(reason.to_string())
    }

    /// Makes an [`Auth`](Error::Auth) error.
    pub fn auth(reason: impl Display) -> Self {
        Self::Auth(reason.to_string())
    }

    /// Makes a [`Transient`](Error::Transient) error.
    pub fn transient(reason: impl Display) -> Self {
        Self::Transient(reason.to_string())
    }

    /// Makes a [`Data`](Error::Data) error.
    pub fn data(reason: impl Display) -> Self {
        Self::Data(reason.to_string())
    }

    /// Makes a [`Restart`](Error::Restart) error.
    pub fn restart(reason: impl Display) -> Self {
        Self::Restart(reason.to_string())
    }

    /// Makes an [`Http`](Error::Http) error.
    pub fn http(reason: impl Display) -> Self {
        Self::Http(reason.to_string())
    }

    /// Makes an [`Absent`](Error::Absent) error.
    pub fn absent(reason: impl Display) -> Self {
        Self::Absent(reason.to_string())
    }

    /// Makes an [`Other`](Error::Other) error.
    pub fn other(reason: impl Display) -> Self {
        Self::Other(reason.to_string())
    }

    /// Puts what was being done in front of the reason; the variant stays.
    ///
    /// ```
    /// # use connector_sdk::Error;
    /// let error = Error::data("no value at /next").context("stream issues");
    /// assert_eq!(error, Error::data("stream issues: no value at /next"));
    /// ```
    #[must_use]
    pub fn context(mut self, what: impl Display) -> Self {
        let reason = match &mut self {
            Self::Config(reason)
            | Self::Auth(reason)
            | Self::Transient(reason)
            | Self::Data(reason)
            | Self::Restart(reason)
            | Self::Http(reason)
            | Self::Absent(reason)
            | Self::Other(reason) => reason,
        };
        *reason = format!("{what}: {reason}");
        self
    }
}

impl From<Error> for source::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Config(reason) => Self::Config(reason),
            Error::Auth(reason) => Self::Auth(reason),
            Error::Transient(reason) => Self::Transient(reason),
            Error::Data(reason) => Self::Data(reason),
            Error::Restart(reason) => Self::Restart(reason),
            Error::Http(reason) => Self::Http(reason),
            Error::Absent(reason) => Self::Absent(reason),
            Error::Other(reason) => Self::Other(reason),
        }
    }
}
