//! An archive as HTTP Archive 1.2 (http://www.softwareishard.com/blog/har-12-spec/), which browsers and other tools open.
//! Secrets are the placeholders that the archive holds.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::{Bodies, Entry, Error, Reader, RecordedExchange};
use crate::http::header;
use crate::time::rfc3339;

/// Why an archive could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] Error),
    /// The export cannot be written.
    #[error("cannot write the export")]
    Write(#[from] io::Error),
}

/// Writes every exchange of an archive, one at a time: memory is bounded by the largest body.
///
/// # Errors
///
/// When the archive is damaged, or `out` takes no more.
pub fn export(reader: Reader, max_body_bytes: u64, out: &mut impl Write) -> Result<u64, ExportError> {
    let bodies = reader.bodies();
    let creator = json!({"name": "host", "version": env!("CARGO_PKG_VERSION")});
    write!(out, "{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":[")?;
    let mut count = 0;
    for entry in reader {
        let Entry::Exchange(exchange) = entry? else { continue };
        let separator = if count == 0 { "\n" } else { ",\n" };
        write!(out, "{separator}{}", har_entry(&exchange, &bodies, max_body_bytes)?)?;
        count += 1;
    }
    out.write_all(b"\n]}}\n")?;
    out.flush()?;
    Ok(count)
}

fn har_entry(exchange: &RecordedExchange, bodies: &Bodies, max_body_bytes: u64) -> Result<Value, Error> {
    let request_body = exchange.request.body.as_ref().map(|body| bodies.load(body)).transpose()?;
    // What cannot be decoded (an answer that was cut off) is exported as it was received.
    let body = match &exchange.body {
        Some(body) => bodies.load_decoded(body, max_body_bytes).or_else(|_| bodies.load(body))?,
        None => Bytes::new(),
    };
    let url = &exchange.request.url;
    let query: Vec<(String, String)> =
        Url::parse(url).map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
    let mut request = json!({
        "method": exchange.request.method, "url": url, "httpVersion": "HTTP/1.1", "cookies": [],
        "headers": pairs(&exchange.request.headers), "queryString": pairs(&query),
        "headersSize": -1, "bodySize": request_body.as_ref().map_or(0, Bytes::len),
    });
    if let (Some(body), Some(members)) = (&request_body, request.as_object_mut()) {
        let kind = header(&exchange.request.headers, "content-type").unwrap_or("application/octet-stream");
        let data = json!({"mimeType": kind, "text": String::from_utf8_lossy(body)});
        members.insert("postData".to_owned(), data);
    }
    let kind = header(&exchange.headers, "content-type").unwrap_or("application/octet-stream");
    let content = match std::str::from_utf8(&body) {
        Ok(text) => json!({"size": body.len(), "mimeType": kind, "text": text}),
        Err(_) => json!({"size": body.len(), "mimeType": kind, "text": STANDARD.encode(&body), "encoding": "base64"}),
    };
    let status = exchange.status.unwrap_or(0);
    let reason = ::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let response = json!({
        "status": status, "statusText": reason.unwrap_or_default(), "httpVersion": "HTTP/1.1", "cookies": [],
        "headers": pairs(&exchange.headers), "content": content,
        "redirectURL": header(&exchange.headers, "location").unwrap_or_default(),
        "headersSize": -1, "bodySize": exchange.body.as_ref().map_or(0, |body| body.size),
    });
    let mut entry = json!({
        "startedDateTime": moment(exchange.started_ms), "time": exchange.elapsed_ms, "request": request,
        "response": response, "cache": {}, "timings": {"send": 0, "wait": exchange.elapsed_ms, "receive": 0},
        "_read": exchange.read, "_attempt": exchange.attempt,
    });
    if let (Some(error), Some(members)) = (&exchange.error, entry.as_object_mut()) {
        members.insert("comment".to_owned(), json!(error));
    }
    Ok(entry)
}

fn pairs(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// A moment as RFC 3339 with milliseconds, UTC.
fn moment(epoch_ms: u64) -> String {
    format!("{}.{:03}Z", rfc3339(epoch_ms).trim_end_matches('Z'), epoch_ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339() {
        assert_eq!(moment(951_782_400_007), "2000-02-29T00:00:00.007Z");
        assert_eq!(moment(1_795_440_185_120), "2026-11-23T13:23:05.120Z");
    }
}
