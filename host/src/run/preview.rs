//! Previews (`--limit`): counting down records over pages, and cutting the last page.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, BytesMut};
use serde_json::value::RawValue;

use crate::json::{Document, JsonError, MAX_DEPTH};
use crate::record::Page;

/// Counts down the records of a preview; shared by all reads of a stream.
#[derive(Debug)]
pub(crate) struct Countdown(AtomicU64);

impl Countdown {
    pub(crate) fn new(records: u64) -> Self {
        Self(AtomicU64::new(records))
    }

    /// Takes the records of a page off the count, but for the first `again` that came before, and cuts the page where the
    /// count ends. Says whether more may come.
    pub(crate) fn cut(&self, page: &mut Page, again: u64) -> Result<bool, JsonError> {
        let records = count(page)?.saturating_sub(again);
        let before =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(records)));
        let left = before.unwrap_or(0);
        if left < records {
            truncate(page, left + again)?;
        }
        Ok(left > records)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

fn document(page: &Page) -> Document {
    Document::new(page.body.slice(page.range.clone()), MAX_DEPTH)
}

fn lines(page: &Page) -> impl Iterator<Item = &RawValue> {
    let bytes = page.body.get(page.range.clone()).unwrap_or_default();
    serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>().map_while(Result::ok)
}

fn count(page: &Page) -> Result<u64, JsonError> {
    if page.lines {
        return Ok(lines(page).count() as u64);
    }
    let document = document(page);
    let is_array = document.text("")?.is_some_and(|text| text.starts_with('['));
    if is_array { Ok(document.len("")?.unwrap_or(0)) } else { Ok(1) }
}

fn truncate(page: &mut Page, records: u64) -> Result<(), JsonError> {
    let mut body = BytesMut::new();
    if page.lines {
        for line in lines(page).take(usize::try_from(records).unwrap_or(usize::MAX)) {
            body.put_slice(line.get().as_bytes());
            body.put_u8(b'\n');
        }
    } else {
        let document = document(page);
        let end = match records.checked_sub(1) {
            Some(last) => document.get(&format!("/{last}"))?.map(|span| span.end),
            None => None,
        };
        body.put_slice(end.and_then(|end| document.body().get(..end)).unwrap_or(b"["));
        body.put_u8(b']');
    }
    page.range = 0..body.len();
    page.body = body.freeze();
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn cut(body: &'static str, limit: u64) -> (String, bool) {
        let countdown = Countdown::new(limit);
        let mut page = Page::from_json(Bytes::from_static(body.as_bytes()));
        let more = countdown.cut(&mut page, 0).unwrap();
        (String::from_utf8(page.body.slice(page.range).to_vec()).unwrap(), more)
    }

    #[test]
    fn a_page_is_cut_where_the_count_ends() {
        assert_eq!(cut(r#"[{"a":1}, {"a":2}]"#, 1), (r#"[{"a":1}]"#.to_owned(), false));
        assert_eq!(cut(r#"[{"a":1}, {"a":2}]"#, 2), (r#"[{"a":1}, {"a":2}]"#.to_owned(), false));
        assert_eq!(cut(r#"[{"a":1}]"#, 2), (r#"[{"a":1}]"#.to_owned(), true));
        assert_eq!(cut(r#"[{"a":1}]"#, 0), ("[]".to_owned(), false));
        let mut page = Page::from_json(Bytes::from_static(br#"[{"a":1},{"a":2},{"a":3}]"#));
        assert!(!Countdown::new(1).cut(&mut page, 1).unwrap());
        assert_eq!(page.bytes(), br#"[{"a":1},{"a":2}]"#, "the first came before");
        assert_eq!(cut("{\"a\":1}\n{\"a\":2}\n", 1), ("{\"a\":1}\n".to_owned(), false));
    }
}
