//! A small key-value store private to one connection, whose writes become durable together with
//! the next page.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::ingest::connector::storage as wit;
use crate::{Error, Result};

/// Reads a value, if there is one.
///
/// # Errors
/// [`Error::Data`] where what is stored is of another type.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let Some(bytes) = get_bytes(key)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("stored value {key:?}: {e}")))?;
    Ok(Some(value))
}

/// Writes a value as JSON.
///
/// # Errors
/// [`Error::Other`] where the quota is reached.
pub fn set(key: &str, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|e| Error::other(format!("value for {key:?}: {e}")))?;
    set_bytes(key, &bytes)
}

/// Reads the bytes under a key.
///
/// # Errors
/// [`Error::Other`] where the store fails.
pub fn get_bytes(key: &str) -> Result<Option<Vec<u8>>> {
    wit::get(key).map_err(|e| store_error(key, e))
}

/// Writes bytes under a key.
///
/// # Errors
/// [`Error::Other`] where the quota is reached or the store fails.
pub fn set_bytes(key: &str, value: &[u8]) -> Result<()> {
    wit::set(key, value).map_err(|e| store_error(key, e))
}

/// Removes a key and its value.
///
/// # Errors
/// [`Error::Other`] where the store fails.
pub fn delete(key: &str) -> Result<()> {
    wit::delete(key).map_err(|e| store_error(key, e))
}

fn store_error(key: &str, error: wit::Error) -> Error {
    match error {
        wit::Error::Quota(bytes) => {
            Error::other(format!("storing {key:?} would pass the quota of {bytes} bytes (--max-storage)"))
        }
        wit::Error::Other(reason) => Error::other(format!("storage of {key:?}: {reason}")),
    }
}
