//! Why a page's records were refused.

/// Why a page's records were refused. Records are counted from 0 within the page; a path is a JSON pointer within the
/// record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// What was selected is neither an array nor an object.
    #[error("an array of objects or one object was expected, found {found}")]
    NotRecords {
        /// What was found instead.
        found: &'static str,
    },
    /// An element of the page is no object.
    #[error("record {index} is not an object: {found}")]
    NotAnObject {
        /// The element's place.
        index: u64,
        /// What was found instead.
        found: &'static str,
    },
    /// The page is not JSON.
    #[error("record {index} is not valid JSON at `{path}`, byte {offset} of the body: {reason}")]
    Syntax {
        /// The record's place.
        index: u64,
        /// Where in the record.
        path: String,
        /// Where in the body.
        offset: usize,
        /// Why.
        reason: String,
    },
    /// An object has one name twice, so that one of two values would be lost.
    #[error("record {index} has a name twice: `{path}`")]
    Duplicate {
        /// The record's place.
        index: u64,
        /// The field that comes again.
        path: String,
    },
    /// Nesting beyond the limit.
    #[error("record {index} is nested deeper than {limit} at `{path}`")]
    TooDeep {
        /// The record's place.
        index: u64,
        /// Where in the record.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// A record beyond the size limit.
    #[error("record {index} is longer than {limit} bytes: {bytes}")]
    TooLarge {
        /// The record's place.
        index: u64,
        /// Its size as JSON text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A record has a field that the connector adds as a constant.
    #[error("record {index} already has the field that is added to it: `{name}`")]
    Clash {
        /// The record's place.
        index: u64,
        /// The field.
        name: String,
    },
    /// A record differs from what the complete readings before had, and that is not wanted.
    #[error("record {index} differs from those before: {change}")]
    Drift {
        /// The record's place.
        index: u64,
        /// In what.
        change: Box<crate::schema::Change>,
    },
    /// A constant field is not JSON.
    #[error("the added field `{name}` is not valid JSON: {reason}")]
    Extra {
        /// The field.
        name: String,
        /// Why.
        reason: String,
    },
    /// More fields than a table can have.
    #[error("the records have more fields than the limit of {limit}")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// The page is small as text and large as columns.
    #[error(
        "record {index} makes the page take more than 512 MiB as columns, most of them empty; ask for smaller pages, or write --format jsonl"
    )]
    Room {
        /// The record's place.
        index: u64,
    },
    /// One column of the page is beyond what a column holds.
    #[error("record {index} makes a column of more than 2 GiB at `{path}`")]
    Full {
        /// The record's place.
        index: u64,
        /// The field.
        path: String,
    },
}
