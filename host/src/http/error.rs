//! Why there is no response.

use super::tape::NotRecorded;
use super::{archive, http_date};
use crate::auth::Refusal;

/// Why there is no response. All but the last three are told to the connector as they are.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The policy forbids the request; the text names the rule.
    #[error("request denied: {0}")]
    Denied(String),
    /// No response after every retry.
    #[error("no response: {0}")]
    Unreachable(String),
    /// A final status that the request does not accept.
    #[error("status {status} after {attempts} attempts: {excerpt}")]
    Status {
        /// The status.
        status: u16,
        /// Times the request was sent.
        attempts: u32,
        /// Start of the body, at most 1 KiB, with secrets redacted.
        excerpt: String,
    },
    /// The response is larger than the limit, in bytes.
    #[error("the response is larger than the limit in bytes: {0}")]
    TooLarge(u64),
    /// The request itself is malformed; the text names the rule.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// A response that the connector rejected, for good.
    #[error("status {status} after {attempts} attempts, rejected by the connector: {reason}")]
    Rejected {
        /// The status.
        status: u16,
        /// Times the request was sent.
        attempts: u32,
        /// Why, in the connector's words.
        reason: String,
    },
    /// The budget asks for a wait longer than the limit: the read has to end and go on later.
    #[error("the rate limit of {budget} asks to wait longer than --max-wait allows; come back at {}", http_date(*.until_ms))]
    Wait {
        /// The budget's name.
        budget: String,
        /// When to come back, in milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// There are no credentials for the request: nobody has signed in, or the API gives no token.
    #[error(transparent)]
    Auth(#[from] Refusal),
    /// The archive can't be written, so the run can't go on.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// In a replay: the request is none of those recorded.
    #[error(transparent)]
    Replay(#[from] NotRecorded),
}
