//! A mock API: generated records behind any pagination, with faults by script.
//!
//! ```
//! use tests::mock::{Api, Endpoint, offset::Offset, Total};
//!
//! let api = Api::builder()
//!     .endpoint(Endpoint::new("/items", Offset::default()).records(250).total(Total::Body))
//!     .start()?;
//! assert!(api.url("/items").starts_with("http://127.0.0.1:"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The server runs on a thread of its own, so that it serves blocking tests, asynchronous tests and
//! child processes alike. It is deterministic: the same requests in the same order get the same bytes.

mod answer;
mod budget;
mod dataset;
mod deliver;
mod encode;
mod endpoint;
mod fault;
mod paging;
pub mod records;
mod request;
mod serve;
pub mod time;

pub use answer::{Answer, Envelope};
pub use budget::{Budget, Clock, Exceeded, RateHeaders};
pub use dataset::{Change, Dataset};
pub use encode::Encoding;
pub use endpoint::Endpoint;
pub use fault::{Action, RetryAfter, Rule};
pub use paging::{Ask, Cycle, Paging, Total, Twist, cursor, keyset, link, offset, page};
pub use records::Shape;
pub use request::Received;
pub use serve::{Api, Builder};
