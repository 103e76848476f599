//! Records: from the bytes of a page to columns, without a tree in between.
//!
//! ```ignore
//! let page = Page::from_json(Bytes::from_static(br#"[{"id":1},{"id":2}]"#));
//! let mut table = Table::new(Schema::default(), vec!["id".to_owned()], 128, 16 << 20);
//! if let Err(Refused::Widen(schema)) = table.append(&page) {
//!     table.widen(schema);
//!     table.append(&page)?;
//! }
//! let batch = table.batch()?;
//! ```

mod absent;
mod ahead;
mod arrays;
mod column;
mod error;
mod guard;
mod infer;
pub(crate) mod instant;
mod key;
mod lead;
mod number;
mod page;
mod presence;
mod reader;
mod records;
mod split;
mod survey;
mod table;
mod validity;
mod walk;

pub use self::ahead::{Ahead, Ready, Shapes};
pub use self::error::RecordError;
pub use self::guard::Guard;
pub(crate) use self::infer::absorb;
pub(crate) use self::key::key_hash;
pub use self::page::Page;
pub(crate) use self::records::{Bounds, clash, members};
pub(crate) use self::split::{Refused as RefusedRecord, Split, Unpicked, pick, spans, split};
pub(crate) use self::survey::{Record, Survey};
pub(crate) use self::table::content_hash;
pub use self::table::{Refused, Table};
pub(crate) use self::walk::Walker;

/// What is known of a page whose records were taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many records it had.
    pub records: u64,
    /// Bytes of their JSON text.
    pub bytes: u64,
    /// A hash of the records and constant fields as they came: two pages with the same one have the same records.
    pub content_hash: u128,
    /// A hash of the primary key of each record that has one, in order; empty where none is set. `1` and `"1"` differ.
    pub key_hashes: Vec<u64>,
    /// What tells the last record from others: the hash of its primary key, or of its text where a record of the page has no
    /// key. None where no record was taken over.
    pub edge: Option<u64>,
    /// Records that lack a part of the primary key, or have null there.
    pub missing_keys: u64,
}

impl Appended {
    /// The [`edge`](Appended::edge) of records of which the last has this text.
    pub(crate) fn edge_of(&self, last: &[u8]) -> u64 {
        match self.key_hashes.last() {
            Some(key) if self.missing_keys == 0 => *key,
            _ => xxhash_rust::xxh3::xxh3_64(last),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
