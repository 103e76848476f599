//! Putting a header into a request as it leaves.

use ::http::header::{HeaderName, HeaderValue};

use super::Refusal;
use crate::http::transport::Outgoing;

/// Reads a header's name.
pub(crate) fn header(name: &str) -> Result<HeaderName, Refusal> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Refusal::new(format!("{name:?} is no name of a header or cookie"), "mend it in the configuration's auth")
    })
}

/// Puts a header in, in the place of any that the connector wrote.
pub(crate) fn put_header(outgoing: &mut Outgoing, name: HeaderName, value: &str) -> Result<(), Refusal> {
    let mut header = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        Refusal::new(format!("the credentials cannot stand in the header {name}"), "look for a line break in them")
    })?;
    header.set_sensitive(true);
    outgoing.headers.insert(name, header);
    Ok(())
}
