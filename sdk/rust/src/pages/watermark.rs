//! Watermarks: from where the next incremental read starts.

use std::cmp::Ordering;

use serde_json::Value;
use serde_json::value::RawValue;

use super::key::{field_pointer, optional};
use super::place::{parse, plain};
use super::{PageError, Received, Source, excerpt};

/// Where the watermark of a read comes from; its value stays in the API's own format.
///
/// A field is a name, or an RFC 6901 pointer within a record. A time that lies in the future, by the host's clock, is
/// passed over: one record with a wrong date would hide all that comes until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    from: From,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    EveryRecord(String),
    LastRecord(String),
    FirstRecord(String),
    FirstResponse(Source),
}

impl Watermark {
    /// The greatest value of a field among all records, whatever their order. It looks at each
    /// record; where the order is known, the next two are cheaper.
    #[must_use]
    pub fn greatest(field: &str) -> Self {
        Self { from: From::EveryRecord(field_pointer(field)) }
    }

    /// The greatest value among the last records of the pages, for lists in ascending order.
    #[must_use]
    pub fn ascending(field: &str) -> Self {
        Self { from: From::LastRecord(field_pointer(field)) }
    }

    /// The greatest value among the first records of the pages, for lists in descending order.
    #[must_use]
    pub fn descending(field: &str) -> Self {
        Self { from: From::FirstRecord(field_pointer(field)) }
    }

    /// The value of a header of the first page, for an API that gives each list a time or version.
    /// What changes while the other pages are read then comes again with the next read.
    pub fn header(name: impl Into<String>) -> Self {
        Self { from: From::FirstResponse(Source::Header(name.into())) }
    }

    /// The same, given in the body or in a header.
    pub fn response(source: impl Into<Source>) -> Self {
        Self { from: From::FirstResponse(source.into()) }
    }

    /// Takes a page into account.
    pub(super) fn update(
        &self,
        mark: &mut Option<String>,
        page: &Received<'_>,
        is_first: bool,
        now_ms: u64,
    ) -> Result<(), PageError> {
        let (pointer, indices) = match &self.from {
            From::FirstResponse(source) => {
                if is_first && let Some(value) = source.value(page.response)? {
                    *mark = Some(text(&value, || source.to_string())?);
                }
                return Ok(());
            }
            From::EveryRecord(pointer) => match page.response.values(page.records, pointer)? {
                Some(all) => {
                    if let Some(greatest) = greatest_alike(&all) {
                        let found = plain(&parse(greatest)?);
                        if !is_future(&found, now_ms) {
                            raise(mark, found);
                            return Ok(());
                        }
                    }
                    return take(&elements(&all, pointer)?, mark, page, pointer, now_ms);
                }
                // One object in the place of the array.
                None => (pointer, 0..page.count),
            },
            From::LastRecord(pointer) => (pointer, page.count.saturating_sub(1)..page.count),
            From::FirstRecord(pointer) => (pointer, 0..page.count.min(1)),
        };
        let value = |index| Ok((index, optional(page, index, pointer)?.unwrap_or_else(|| "null".to_owned())));
        let values = indices.map(value).collect::<Result<Vec<_>, PageError>>()?;
        let values: Vec<_> = values.iter().map(|(index, value)| (*index, value.as_str())).collect();
        take(&values, mark, page, pointer, now_ms)
    }
}

/// The elements of a JSON array, as they are written, with their places.
fn elements<'a>(all: &'a str, pointer: &str) -> Result<Vec<(u64, &'a str)>, PageError> {
    let unexpected = |e: serde_json::Error| PageError::Unexpected {
        what: format!("values at {pointer:?} ({e})"),
        expected: "an array",
        value: excerpt(all),
    };
    let elements: Vec<&RawValue> = serde_json::from_str(all).map_err(unexpected)?;
    Ok((0..).zip(elements.into_iter().map(RawValue::get)).collect())
}

/// Takes values of a field, by the places of their records, into account.
fn take(
    values: &[(u64, &str)],
    mark: &mut Option<String>,
    page: &Received<'_>,
    pointer: &str,
    now_ms: u64,
) -> Result<(), PageError> {
    // The greatest as it is written, beside its text.
    let mut greatest: Option<(&str, String)> = None;
    for (index, value) in values {
        // Most records of a page are older than the one before or share its value.
        if *value == "null" || greatest.as_ref().is_some_and(|(written, _)| is_below(value, written)) {
            continue;
        }
        let place = || format!("value at {:?}", format!("{}/{index}{pointer}", page.records));
        let text = text(&parse(value)?, place)?;
        let is_greater = greatest.as_ref().is_none_or(|(_, g)| compare(&text, g) == Ordering::Greater);
        if is_greater && !is_future(&text, now_ms) {
            greatest = Some((value, text));
        }
    }
    if let Some((_, found)) = greatest {
        raise(mark, found);
    }
    Ok(())
}

fn raise(mark: &mut Option<String>, found: String) {
    if mark.as_ref().is_none_or(|mark| compare(&found, mark) == Ordering::Greater) {
        *mark = Some(found);
    }
}

/// The greatest element of a JSON array whose elements are all times, or all whole numbers, written alike; none of any other.
fn greatest_alike(all: &str) -> Option<&str> {
    let inside = all.strip_prefix('[')?.strip_suffix(']')?;
    let first = inside.split_once(',').map_or(inside, |(first, _)| first);
    // A text that holds a comma does not end in a quote there.
    let is_whole = first.starts_with('"') == (first.len() > 1 && first.ends_with('"'));
    let width = first.len();
    if width == 0 || !is_whole || !is_below(first, first) || (inside.len() + 1) % (width + 1) != 0 {
        return None;
    }
    let mut greatest = first.as_bytes();
    let rest = inside.as_bytes().get(width..).unwrap_or_default();
    for next in rest.chunks(width + 1) {
        let (b',', next) = next.split_first()? else { return None };
        if !alike(greatest, next) {
            return None;
        }
        greatest = greatest.max(next);
    }
    std::str::from_utf8(greatest).ok()
}

/// Whether two texts of one length differ in digits alone.
fn alike(one: &[u8], other: &[u8]) -> bool {
    let (blocks, rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    let differ = |(a, b): (&u8, &u8)| a == b || (a.is_ascii_digit() && b.is_ascii_digit());
    blocks.len() == others.len()
        && blocks.iter().zip(others).all(|(a, b)| a == b || a.iter().zip(b).all(differ))
        && rest.iter().zip(other_rest).all(differ)
}

/// Whether a JSON value is surely not above another, since both are times or whole numbers of one form, which sort as they
/// are written.
fn is_below(value: &str, other: &str) -> bool {
    let (one, two) = (value.as_bytes(), other.as_bytes());
    if one.len() != two.len() || one > two {
        return false;
    }
    let is_number = one.iter().all(u8::is_ascii_digit);
    let is_date = one.get(5) == Some(&b'-') && one.get(8) == Some(&b'-') && one.first() == Some(&b'"');
    let has_offset = || one.iter().skip(9).any(|byte| matches!(byte, b'+' | b'-'));
    alike(one, two) && (is_number || (is_date && !has_offset()))
}

/// Whether a text is a time later than now. One without a zone may be that of a zone 14 hours ahead.
fn is_future(text: &str, now_ms: u64) -> bool {
    let Some((seconds, _)) = instant(text) else { return false };
    let has_zone = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|time| time.contains(['+', '-']));
    let slack = if has_zone { 0 } else { 14 * 3600 };
    u64::try_from(seconds).is_ok_and(|seconds| seconds > (now_ms / 1000).saturating_add(slack))
}

/// The text of a value that can be a watermark.
fn text(value: &Value, place: impl Fn() -> String) -> Result<String, PageError> {
    match value {
        Value::String(_) | Value::Number(_) => Ok(plain(value)),
        _ => Err(PageError::Unexpected {
            what: place(),
            expected: "a text or number that a watermark could be",
            value: excerpt(&value.to_string()),
        }),
    }
}

/// Compares two values of an API: as numbers or as times (RFC 3339, also without a zone, which then
/// is UTC) where both are such, else as texts.
///
/// ```
/// use connector_sdk::pages::compare;
/// use std::cmp::Ordering::*;
///
/// assert_eq!(compare("10", "9"), Greater);
/// assert_eq!(compare("2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z"), Less);
/// assert_eq!(compare("2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00Z"), Greater);
/// assert_eq!(compare("a", "b"), Less);
/// ```
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    if let (Ok(a), Ok(b)) = (a.parse::<i128>(), b.parse::<i128>()) {
        return a.cmp(&b);
    }
    if let (Some(a), Some(b)) = (instant(a), instant(b)) {
        return a.cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>())
        && let Some(order) = a.partial_cmp(&b)
    {
        return order;
    }
    a.cmp(b)
}

/// Seconds since the epoch and nanoseconds of `YYYY-MM-DD[(T| )HH:MM[:SS[.fraction]][Z|±HH[:]MM]]`.
fn instant(text: &str) -> Option<(i64, u32)> {
    let mut input = Digits(text);
    let year = input.take(4)?;
    input.eat('-')?;
    let month = input.take(2)?;
    input.eat('-')?;
    let day = input.take(2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut seconds = days(year, month, day) * 86_400;
    let mut nanos = 0;
    if input.eat('T').or_else(|| input.eat('t')).or_else(|| input.eat(' ')).is_some() {
        seconds += input.take(2)? * 3600;
        input.eat(':')?;
        seconds += input.take(2)? * 60;
        if input.eat(':').is_some() {
            seconds += input.take(2)?;
            if input.eat('.').or_else(|| input.eat(',')).is_some() {
                nanos = input.fraction()?;
            }
        }
        if input.eat('Z').or_else(|| input.eat('z')).is_none() {
            let sign = match (input.eat('+'), input.eat('-')) {
                (Some(()), _) => 1,
                (_, Some(())) => -1,
                _ => 0,
            };
            if sign != 0 {
                let hours = input.take(2)?;
                let _ = input.eat(':');
                let minutes = if input.0.is_empty() { 0 } else { input.take(2)? };
                seconds -= sign * (hours * 3600 + minutes * 60);
            }
        }
    }
    input.0.is_empty().then_some((seconds, nanos))
}

/// Days from 1970-01-01 in the Gregorian calendar; years start in March, so that the leap day is last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

struct Digits<'a>(&'a str);

impl Digits<'_> {
    fn take(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        digits.parse().ok()
    }

    fn eat(&mut self, c: char) -> Option<()> {
        self.0 = self.0.strip_prefix(c)?;
        Some(())
    }

    fn fraction(&mut self) -> Option<u32> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())?;
        self.0 = rest;
        let mut padded = digits.chars().chain(std::iter::repeat('0')).take(9);
        padded.try_fold(0_u32, |nanos, c| Some(nanos * 10 + c.to_digit(10)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;
    use crate::testing::Reply;

    #[test]
    fn times_are_compared_as_instants() {
        assert_eq!(instant("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(instant("2024-02-29T12:30:15.25+01:30"), Some((1_709_204_415, 250_000_000)));
        assert_eq!(instant("2024-02-29 11:00:15"), instant("2024-02-29T11:00:15z"));
        assert_eq!(instant("1969-12-31T23:59:59-0000"), Some((-1, 0)));
        assert_eq!(instant("2024-01-01"), instant("2024-01-01T00:00Z"));
        for text in ["2024-13-01", "2024-01-01T", "2024-1-1", "20240101", "2024-01-01T00:00:00Zx", "ü024-01-01"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    /// 2030-01-01T00:00:00Z
    const NOW: u64 = 1_893_456_000_000;

    #[test]
    fn a_time_in_the_future_is_passed_over() {
        let page = r#"[{"t":"2029-12-31T23:00:00Z"},{"t":"2030-01-01T00:00:01Z"},{"t":"2099-01-01"},{"t":"2030-01-01T13:00:00"}]"#;
        assert_eq!(after(&Watermark::greatest("t"), page, None).unwrap().unwrap(), "2030-01-01T13:00:00");
        let page = r#"[{"t":"2029-12-31T23:00:00Z"},{"t":"2030-01-01T01:00:00+00:00"}]"#;
        assert_eq!(after(&Watermark::ascending("t"), page, None).unwrap(), None);
        assert_eq!(after(&Watermark::greatest("t"), r#"[{"t":99999999999}]"#, None).unwrap().unwrap(), "99999999999");
    }

    #[test]
    fn values_of_one_form_sort_as_they_are_written_and_others_are_compared() {
        let values = [
            r#""2024-01-01T00:00:00Z""#,
            r#""2024-01-01T00:00:01Z""#,
            r#""2024-01-01T01:00:00+02:00""#,
            r#""2024-01-01T01:00:00-02:00""#,
            r#""2024-01-01 00:00:00""#,
            r#""2023-12-31""#,
            "100",
            "099",
            "-5",
            "-6",
            "1e5",
            "2e3",
            "1.5",
            r#""12""#,
            r#""9a""#,
            r#""a-b-cde-f""#,
        ];
        for one in values {
            for two in values {
                let (Ok(a), Ok(b)) = (parse(one), parse(two)) else { continue };
                let order = compare(&plain(&a), &plain(&b));
                assert!(!is_below(one, two) || order != Ordering::Greater, "{one} {two}");
            }
        }
        assert!(is_below(values[0], values[1]) && !is_below(values[1], values[0]) && is_below("10", "11"));
    }

    #[test]
    fn the_greatest_of_values_that_are_alike_is_found_without_reading_them() {
        for (all, greatest) in [
            ("[]", None),
            ("[7]", Some("7")),
            ("[17,23,19]", Some("23")),
            ("[17,7,19]", None),
            ("[17,null,19]", None),
            ("[null,null]", None),
            ("[1.5,1.7]", None),
            (r#"["2024-01-02","2024-01-03","2023-01-04"]"#, Some(r#""2024-01-03""#)),
            (r#"["2024-01-02T00:00:00Z","2024-01-02 00:00:00Z"]"#, None),
            (r#"["2024-01-02T00:00:00+01:00","2024-01-02T00:00:01+01:00"]"#, None),
            (r#"["2024-01-02T00:00:00,5Z","2024-01-02T00:00:01,5Z"]"#, None),
            (r#"["17","23"]"#, None),
            (r#"["2024-01-02" ,"2024-01-03"]"#, None),
        ] {
            assert_eq!(greatest_alike(all), greatest, "{all}");
        }
    }

    fn after(watermark: &Watermark, body: &str, mark: Option<&str>) -> Result<Option<String>, PageError> {
        let (request, reply) = (Request::get("http://a/"), Reply::json(body).with_header("ETag", "\"7\""));
        let count = crate::ResponseView::len(&reply, "").unwrap().unwrap();
        let page = Received { request: &request, response: &reply, records: "", count, total: None };
        let mut mark = mark.map(str::to_owned);
        watermark.update(&mut mark, &page, true, NOW)?;
        Ok(mark)
    }

    #[test]
    fn the_greatest_value_is_found_wherever_it_stands_and_never_falls_behind() {
        let page = r#"[{"t":"2024-01-01T00:00:00Z"},{"t":"2024-01-01T03:00:00+01:00"},{"t":null},{}]"#;
        let greatest = Watermark::greatest("t");
        assert_eq!(after(&greatest, page, None).unwrap().unwrap(), "2024-01-01T03:00:00+01:00");
        assert_eq!(after(&greatest, page, Some("2025-01-01")).unwrap().unwrap(), "2025-01-01");
        assert_eq!(after(&greatest, "[]", Some("x")).unwrap().unwrap(), "x");
    }

    #[test]
    fn the_order_of_the_list_saves_looking_at_every_record() {
        let page = r#"[{"a":{"t":3}},{"a":{"t":9}},{"a":{"t":5}}]"#;
        assert_eq!(after(&Watermark::ascending("/a/t"), page, None).unwrap().unwrap(), "5");
        assert_eq!(after(&Watermark::descending("/a/t"), page, None).unwrap().unwrap(), "3");
    }

    #[test]
    fn a_list_may_have_a_version_of_its_own() {
        assert_eq!(after(&Watermark::header("etag"), "[]", Some("\"5\"")).unwrap().unwrap(), "\"7\"");
        assert_eq!(after(&Watermark::response("/0/v"), r#"[{"v":7}]"#, Some("5")).unwrap().unwrap(), "7");
        assert_eq!(after(&Watermark::response("/0/v"), "[{}]", Some("5")).unwrap().unwrap(), "5");
        let error = after(&Watermark::response("/0"), "[{}]", None).unwrap_err();
        assert_eq!(error.to_string(), "value at \"/0\" is not a text or number that a watermark could be: {}");
    }

    #[test]
    fn a_value_that_cannot_be_a_watermark_is_an_error() {
        let error = after(&Watermark::greatest("t"), r#"[{"t":[1]}]"#, None).unwrap_err();
        assert_eq!(error.to_string(), "value at \"/0/t\" is not a text or number that a watermark could be: [1]");
    }
}
