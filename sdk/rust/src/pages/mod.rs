//! Reading page after page.
//!
//! A paginator is a plain value: it makes a request from where it stands, looks at the response
//! through [`ResponseView`], and stands somewhere else. None of that needs wasm or a host, so it is
//! tested like any other function. [`Read::pages`](crate::Read::pages) does the rest.
//!
//! | paginator | the next page is named by |
//! | --- | --- |
//! | [`Offset`] | the number of records so far |
//! | [`PageNumber`] | its number |
//! | [`Cursor`] | a token or URL in the body or a header |
//! | [`Keyset`] | the last record's key |
//! | [`LinkHeader`] | a `Link` header field |
//! | [`Single`] | nothing: there is one |
//! | [`Capped`] | another of these, and now and then the last record's value |
//!
//! What holds for all of them:
//! - The checkpoint after a page is exact: a read that resumes from it gets the remaining records,
//!   none lost and none twice.
//! - A short page is not the end, and neither is a missing list of records: that is an error.
//! - Pages say how they hang together, so that the host can tell what a deletion or insertion meanwhile may have hidden:
//!   [`Offset`] reads one record twice at each border, [`Keyset`] goes on behind a record, and [`PageNumber`] can do neither,
//!   so that a list of several pages can only be `unproven` ([`Pages::never_shifts`] says otherwise).
//! - A token, URL, key or page that comes again ends the read with an error. The last 64 of each are
//!   remembered, and longer circles are found as well, at the latest after the third round; the
//!   memory of both is part of the checkpoint, so it survives an interruption.

mod capped;
mod cursor;
mod drive;
mod key;
mod keyset;
mod link_header;
mod number;
mod offset;
mod place;
mod seen;
#[cfg(test)]
mod sim;
mod single;
mod walk;
mod watermark;

use crate::{Error, Request, ResponseView, Seam};

pub use capped::Capped;
pub use cursor::Cursor;
pub use drive::{Pages, Rejection, Summary};
pub use keyset::Keyset;
pub use link_header::LinkHeader;
pub use number::PageNumber;
pub use offset::Offset;
pub use place::{Place, Source};
pub use seen::Seen;
pub use single::Single;
pub use watermark::{Watermark, compare};

/// A way from one page to the next.
///
/// Each method is pure: no request is sent and nothing is emitted here.
pub trait Paginator {
    /// Makes the request for the page where this paginator stands.
    ///
    /// # Errors
    /// Where `base` has no place for what must be added, such as a JSON body.
    fn request(&self, base: &Request) -> Result<Request, PageError>;

    /// Makes the request for the page `distance` pages further on, where it can be known before the
    /// pages between are read. A guess that turns out wrong costs a request and nothing else.
    fn ahead(&self, base: &Request, distance: u64) -> Option<Request> {
        let _ = (base, distance);
        None
    }

    /// Steps over a page that was received.
    ///
    /// # Errors
    /// [`PageError`] where the response leads in a circle or lacks what names the next page.
    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError>;

    /// Returns where this paginator stands, as JSON.
    fn save(&self) -> String;

    /// Goes back to where [`save`](Paginator::save) was called.
    ///
    /// # Errors
    /// [`PageError::Checkpoint`] where the text is not from such a paginator.
    fn restore(&mut self, saved: &str) -> Result<(), PageError>;

    /// Statuses outside 200-299 that stand for "no more pages".
    fn end_statuses(&self) -> &[u16] {
        &[]
    }

    /// Tells whether equal pages in a row are in the nature of this paginator.
    fn pages_may_repeat(&self) -> bool {
        false
    }

    /// Says how the page that [`request`](Paginator::request) asks for hangs together with the one before it, now that it is
    /// known to have so many records. Called before [`advance`](Paginator::advance), and not for the first page.
    fn seam(&self, count: u64) -> Seam {
        let _ = count;
        Seam::Unsaid
    }

    /// Tells whether the total that comes with the page that [`request`](Paginator::request) asks for is that of the whole
    /// read. Called before [`advance`](Paginator::advance).
    fn total_holds(&self) -> bool {
        true
    }
}

impl<P: Paginator + ?Sized> Paginator for Box<P> {
    fn request(&self, base: &Request) -> Result<Request, PageError> {
        (**self).request(base)
    }

    fn ahead(&self, base: &Request, distance: u64) -> Option<Request> {
        (**self).ahead(base, distance)
    }

    fn advance(&mut self, page: &Received<'_>) -> Result<Step, PageError> {
        (**self).advance(page)
    }

    fn save(&self) -> String {
        (**self).save()
    }

    fn restore(&mut self, saved: &str) -> Result<(), PageError> {
        (**self).restore(saved)
    }

    fn end_statuses(&self) -> &[u16] {
        (**self).end_statuses()
    }

    fn pages_may_repeat(&self) -> bool {
        (**self).pages_may_repeat()
    }

    fn seam(&self, count: u64) -> Seam {
        (**self).seam(count)
    }

    fn total_holds(&self) -> bool {
        (**self).total_holds()
    }
}

/// A page as a paginator sees it.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// The request that was answered.
    pub request: &'a Request,
    /// The response.
    pub response: &'a dyn ResponseView,
    /// RFC 6901 pointer to the array of records.
    pub records: &'a str,
    /// How many records the page has.
    pub count: u64,
    /// How many records the API says the whole read has, where it says so.
    pub total: Option<u64>,
}

impl std::fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").field("request", &self.request.to_string()).field("count", &self.count).finish()
    }
}

/// What a paginator makes of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whether this was the last page.
    pub end: bool,
    /// Which of its records are new.
    pub keep: Keep,
}

impl Step {
    /// All records are new, and more pages follow.
    pub const NEXT: Self = Self { end: false, keep: Keep::All };
    /// All records are new, and this was the last page.
    pub const END: Self = Self { end: true, keep: Keep::All };
}

/// Which records of a page to emit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// All of them, straight from the host.
    All,
    /// Those at these indices; the others came before.
    Only(Vec<u64>),
}

/// Why a paginator cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Something that names a page came again.
    #[error("the API gave the same {what} again, so that reading would go in a circle: {value}")]
    Repeated {
        /// Token, URL, key or page.
        what: &'static str,
        /// Its value, or the request that it came from.
        value: String,
    },
    /// More records share one key than fit on a page, and the API cannot be asked for those after.
    #[error(
        "at least {count} records share one value of {field:?} and fill a page, so that the others cannot be \
         reached; ask for larger pages or page by another field; the value is {value}"
    )]
    Overfull {
        /// The sort field.
        field: String,
        /// The value that they share.
        value: String,
        /// How many are known.
        count: u64,
    },
    /// Records are not in the order that the paginator needs.
    #[error("records are not sorted by {field:?} in ascending order at {value}")]
    Unsorted {
        /// The sort field.
        field: String,
        /// The value where the order breaks.
        value: String,
    },
    /// A page that should begin with a record that was left out does not.
    #[error("the listing shifted while it was read: {request} does not begin with the last record of the page before")]
    Shifted {
        /// The request.
        request: String,
    },
    /// The response lacks something.
    #[error("{what} is missing in the response of {request}")]
    Missing {
        /// What is missing, and where.
        what: String,
        /// The request.
        request: String,
    },
    /// The response has something of the wrong type.
    #[error("{what} is not {expected}: {value}")]
    Unexpected {
        /// What it is, and where.
        what: String,
        /// What it should be.
        expected: &'static str,
        /// The start of its value.
        value: String,
    },
    /// There is no array of records.
    #[error("no array of records at {pointer:?} in the response of {request}, but {found}")]
    NoRecords {
        /// The pointer.
        pointer: String,
        /// The request.
        request: String,
        /// What is there.
        found: String,
    },
    /// The request has no place for what must be added.
    #[error("the request's body is not a JSON object that could take a value at {0:?}")]
    Body(String),
    /// The checkpoint cannot be used.
    #[error("the checkpoint does not fit this stream's pagination: {0}")]
    Checkpoint(String),
    /// The response could not be looked at.
    #[error(transparent)]
    Response(#[from] Error),
}

impl From<PageError> for Error {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Response(error) => error,
            PageError::Checkpoint(_) | PageError::Repeated { .. } | PageError::Unsorted { .. } => Error::restart(error),
            PageError::Body(_) => Error::config(error),
            _ => Error::data(error),
        }
    }
}

/// The start of a value, for a message.
fn excerpt(value: &str) -> String {
    const CHARS: usize = 120;
    match value.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or("")),
        None => value.to_owned(),
    }
}

/// Saves the moving part of a paginator.
fn save(state: &impl serde::Serialize) -> String {
    // States are structs of numbers and text, which always have a JSON form.
    serde_json::to_string(state).unwrap_or_default()
}

/// Restores the moving part of a paginator.
fn restore<T: serde::de::DeserializeOwned>(saved: &str) -> Result<T, PageError> {
    serde_json::from_str(saved).map_err(|e| PageError::Checkpoint(e.to_string()))
}
