//! Looking into a response without copying it.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// What a paginator may look at; [`Response`](crate::Response) in a component, and
/// [`testing::Reply`](crate::testing::Reply) in a native test.
pub trait ResponseView {
    /// Returns the status.
    fn status(&self) -> u16;

    /// Returns the first value of a header, looked up without regard to case.
    fn header(&self, name: &str) -> Option<String>;

    /// Returns all header fields in order.
    fn headers(&self) -> Vec<(String, String)>;

    /// Returns the JSON text at an RFC 6901 pointer; none where the pointer leads nowhere.
    ///
    /// # Errors
    /// [`Error::Data`] where the body is not JSON or the pointer is malformed.
    fn json_text(&self, pointer: &str) -> Result<Option<String>>;

    /// Returns how many elements the array (or members the object) at a pointer has.
    ///
    /// # Errors
    /// As [`json_text`](ResponseView::json_text).
    fn len(&self, pointer: &str) -> Result<Option<u64>>;

    /// Returns a JSON array of what stands at a pointer within each element of the array at another one, `null` where that
    /// leads nowhere; none where there is no array.
    ///
    /// # Errors
    /// As [`json_text`](ResponseView::json_text).
    fn values(&self, pointer: &str, within: &str) -> Result<Option<String>>;

    /// Returns a number that is equal for equal JSON texts at a pointer; none where it leads nowhere.
    ///
    /// # Errors
    /// As [`json_text`](ResponseView::json_text).
    fn fingerprint(&self, pointer: &str) -> Result<Option<u64>>;
}

impl<'a> dyn ResponseView + 'a {
    /// Reads the value at a pointer; nothing there reads as `null`, so ask for an `Option` where
    /// that is fine.
    ///
    /// # Errors
    /// [`Error::Data`] where the body is not JSON, or the value is missing or of another type.
    pub fn json<T: DeserializeOwned>(&self, pointer: &str) -> Result<T> {
        read_json(self, pointer)
    }
}

pub(crate) fn read_json<T: DeserializeOwned>(view: &(impl ResponseView + ?Sized), pointer: &str) -> Result<T> {
    match view.json_text(pointer)? {
        Some(text) => serde_json::from_str(&text).map_err(|e| Error::data(format!("value at {pointer:?}: {e}"))),
        None => serde_json::from_str("null").map_err(|_| Error::data(format!("no value at {pointer:?}"))),
    }
}
