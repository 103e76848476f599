//! The ceiling: what a native program can do at best that was written for one API alone.
//!
//! It reads the mock API's records and writes the same columns as `host run rest` does, without a sandbox, an archive, a
//! state, retries, limits or a schema that it does not know before. Whatever makes it faster belongs here, as long as the
//! columns and values stay the same: the host is measured against it.
//!
//! Three threads: one fetches, one decodes, one encodes and writes; what waits between them is bounded.

#![deny(missing_docs)]

pub mod columns;
pub mod fetch;
pub mod read;
pub mod records;
pub mod text;
pub mod write;
