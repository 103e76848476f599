//! Credentials: the values that a user gives so that an API lets the connector in. A connector never sees one; it sees a
//! placeholder, and [`crate::http`] puts the value in on the way out.

mod secret;

pub(crate) use secret::percent_encode;
pub use secret::{Form, PLACEHOLDER_PREFIX, PLACEHOLDER_SUFFIX, Secret, Secrets};
