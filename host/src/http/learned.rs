//! What a server says of its own limit, read from the headers of an answer. Pure functions of headers and time.

use std::time::Duration;

use super::{header as value, structured};
use crate::time::days;

/// A reset further away than this many seconds is no number of seconds from now but a time since the epoch: 2001.
const EPOCH_SECONDS: f64 = 1e9;
/// From here on, a time since the epoch is in milliseconds: as seconds it would be the year 5138.
const EPOCH_MILLISECONDS: f64 = 1e11;

/// The limit as an answer tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Learned {
    /// Requests of a whole window.
    pub limit: Option<u32>,
    /// Requests left in this window.
    pub remaining: Option<u32>,
    /// When the window ends, in milliseconds since the Unix epoch.
    pub reset_at_ms: Option<u64>,
}

/// Names of the headers in which an API tells its limits, where it has its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderNames {
    /// Requests of a whole window.
    pub limit: Option<String>,
    /// Requests left.
    pub remaining: Option<String>,
    /// When the window ends.
    pub reset: Option<String>,
    /// The server's own name for the budget, as GitHub's `x-ratelimit-resource`.
    pub bucket: Option<String>,
}

/// Prefixes of the names in use. No standard has them; they are GitHub's and its many followers', Twitter's, and those of
/// draft-ietf-httpapi-ratelimit-headers before its version 7.
const FAMILIES: [&str; 3] = ["x-ratelimit-", "x-rate-limit-", "ratelimit-"];

/// How the names of all that tells of limits start: the families and `RateLimit` itself.
const STARTS: [&str; 3] = ["x-ratelimit-", "x-rate-limit-", "ratelimit"];

/// What follows the start of a name.
fn after_start<'a>(name: &'a str, start: &str) -> Option<&'a str> {
    let (first, rest) = name.split_at_checked(start.len())?;
    first.eq_ignore_ascii_case(start).then_some(rest)
}

/// Reads every window that an answer tells of, by the name of its policy: the names given, `X-RateLimit-*`,
/// `X-Rate-Limit-*` and `RateLimit-*` (one window without a name), or the structured `RateLimit` and `RateLimit-Policy` of
/// draft-ietf-httpapi-ratelimit-headers.
pub fn windows(headers: &[(String, String)], names: &HeaderNames, now_ms: u64) -> Vec<(String, Learned)> {
    let own = [&names.limit, &names.remaining, &names.reset];
    let tells = |name: &str| {
        let is_own = own.iter().any(|own| own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name)));
        is_own || STARTS.iter().any(|start| after_start(name, start).is_some())
    };
    // Most answers tell nothing.
    if !headers.iter().any(|(name, _)| tells(name)) {
        return Vec::new();
    }
    let family = |own: &Option<String>, part: &str| match own {
        Some(own) => value(headers, own),
        None => FAMILIES.iter().find_map(|prefix| {
            let of_family = |name: &str| after_start(name, prefix).is_some_and(|rest| rest.eq_ignore_ascii_case(part));
            headers.iter().find(|(name, _)| of_family(name)).map(|(_, value)| value.as_str())
        }),
    };
    let classic = Learned {
        limit: family(&names.limit, "limit").and_then(first_count),
        remaining: family(&names.remaining, "remaining").and_then(first_count),
        reset_at_ms: family(&names.reset, "reset").and_then(|text| reset_at_ms(text, now_ms)),
    };
    if classic.remaining.is_some() {
        return vec![(String::new(), classic)];
    }
    let structured = structured::windows(headers, now_ms);
    if structured.is_empty() && classic != Learned::default() { vec![(String::new(), classic)] } else { structured }
}

/// Reads the tightest window that an answer tells of, by the usual names.
pub fn learned(headers: &[(String, String)], now_ms: u64) -> Learned {
    let windows = windows(headers, &HeaderNames::default(), now_ms).into_iter().map(|(_, learned)| learned);
    let told = |learned: &Learned| learned.remaining.unwrap_or(u32::MAX);
    windows.min_by_key(|learned| (told(learned), std::cmp::Reverse(learned.reset_at_ms))).unwrap_or_default()
}

/// Reads the server's own name for the budget that a request counted against.
pub fn bucket(headers: &[(String, String)], names: &HeaderNames) -> Option<String> {
    /// Longer ones are no names.
    const MAX_BYTES: usize = 100;
    let own = names.bucket.as_deref();
    let text = own.map_or_else(|| value(headers, "x-ratelimit-resource"), |own| value(headers, own))?.trim();
    (!text.is_empty() && text.len() <= MAX_BYTES).then(|| text.to_owned())
}

/// Reads Retry-After: when to come back, in milliseconds since the Unix epoch (RFC 9110, section 10.2.3).
pub fn retry_after_ms(headers: &[(String, String)], now_ms: u64) -> Option<u64> {
    let text = value(headers, "retry-after")?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return after(now_ms, seconds);
    }
    date_ms(text)
}

/// Reads a reset in any of its variants: seconds from now, seconds or milliseconds since the epoch, an ISO or HTTP date.
pub fn reset_at_ms(text: &str, now_ms: u64) -> Option<u64> {
    let text = text.trim().trim_matches('"');
    match text.parse::<f64>() {
        Ok(number) if !number.is_finite() => None,
        Ok(number) if number >= EPOCH_MILLISECONDS => Some(number as u64),
        Ok(number) if number >= EPOCH_SECONDS => Some((number * 1000.0) as u64),
        Ok(number) => after(now_ms, number),
        Err(_) => date_ms(text),
    }
}

pub(super) fn after(now_ms: u64, seconds: f64) -> Option<u64> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}

fn date_ms(text: &str) -> Option<u64> {
    let http = || {
        let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    };
    iso_ms(text).or_else(http)
}

/// Parses a date and time of RFC 3339, with or without fractional seconds.
fn iso_ms(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let bytes = text.as_bytes();
    let separators = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    let shaped = separators.iter().all(|(at, separator)| bytes.get(*at) == separator.first())
        && matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    if !shaped || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
    };
    let milliseconds: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let offset_minutes = match zone {
        "Z" | "z" | "" => 0,
        _ => {
            let (sign, rest) = zone.strip_prefix('-').map_or((1, zone.strip_prefix('+')), |rest| (-1, Some(rest)));
            let (hours, minutes) = rest?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        }
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_minutes * 60;
    u64::try_from(seconds * 1_000 + milliseconds).ok()
}

/// The first number of `100, 100;w=60`, as gateways write it.
fn first_count(text: &str) -> Option<u32> {
    count(text.split([',', ';']).next()?.trim())
}

/// A whole number of requests; some servers write `12.0`, some `-1` for "none left".
pub(super) fn count(text: &str) -> Option<u32> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(number.clamp(0.0, f64::from(u32::MAX)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_reset_is_read_in_all_its_variants() {
        for (text, at) in [
            ("30", Some(NOW + 30_000)),
            ("0.5", Some(NOW + 500)),
            ("0", Some(NOW)),
            ("1700000060", Some(NOW + 60_000)),
            ("1700000060.25", Some(NOW + 60_250)),
            ("1700000060000", Some(NOW + 60_000)),
            ("2023-11-14T22:14:20Z", Some(NOW + 60_000)),
            ("2023-11-14T23:14:20.500+01:00", Some(NOW + 60_500)),
            ("2023-11-14T17:14:20-05:00", Some(NOW + 60_000)),
            ("2024-02-29 00:00:00", Some(1_709_164_800_000)),
            ("Tue, 14 Nov 2023 22:14:20 GMT", Some(NOW + 60_000)),
            ("-5", None),
            ("soon", None),
            ("NaN", None),
            ("inf", None),
            ("2023-13-14T22:14:20Z", None),
            ("", None),
        ] {
            assert_eq!(reset_at_ms(text, NOW), at, "{text}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        for (text, at) in [
            ("120", Some(NOW + 120_000)),
            (" 1 ", Some(NOW + 1_000)),
            ("Tue, 14 Nov 2023 22:14:20 GMT", Some(NOW + 60_000)),
            ("Tue, 14 Nov 2023 22:00:00 GMT", Some(NOW - 800_000)),
            ("never", None),
        ] {
            assert_eq!(retry_after_ms(&headers(&[("Retry-After", text)]), NOW), at, "{text}");
        }
        assert_eq!(retry_after_ms(&[], NOW), None);
    }

    #[test]
    fn limits_are_learned_from_every_family_of_headers() {
        let whole = Learned { limit: Some(60), remaining: Some(7), reset_at_ms: Some(NOW + 30_000) };
        for pairs in [
            &[("X-RateLimit-Limit", "60"), ("X-RateLimit-Remaining", "7"), ("X-RateLimit-Reset", "1700000030")][..],
            &[("x-rate-limit-limit", "60"), ("x-rate-limit-remaining", "7"), ("x-rate-limit-reset", "30")],
            &[("RateLimit-Limit", "60, 60;w=60"), ("RateLimit-Remaining", "7"), ("RateLimit-Reset", "30")],
            &[("RateLimit", "limit=60, remaining=7, reset=30")],
            &[("RateLimit", "\"default\";r=7;t=30"), ("RateLimit-Policy", "\"default\";q=60;w=60")],
            &[
                ("RateLimit", "\"day\";r=900;t=80000, \"minute\";r=7;t=30"),
                ("RateLimit-Policy", "\"day\";q=1000;w=86400, \"minute\";q=60;w=60"),
            ],
            &[
                ("RateLimit", "\"day\";r=900;t=80000"),
                ("RateLimit", "\"m\";r=7;t=30"),
                ("RateLimit-Policy", "\"m\";q=60"),
            ],
        ] {
            assert_eq!(learned(&headers(pairs), NOW), whole, "{pairs:?}");
        }
        assert_eq!(
            learned(&headers(&[("RateLimit", "nonsense"), ("X-RateLimit-Reset", "x")]), NOW),
            Learned::default()
        );
        assert_eq!(learned(&headers(&[("x-ratelimit-remaining", "-1")]), NOW).remaining, Some(0));
    }

    #[test]
    fn an_api_may_have_names_of_its_own() {
        let names = HeaderNames {
            limit: Some("X-Quota".to_owned()),
            remaining: Some("X-Quota-Left".to_owned()),
            reset: Some("X-Quota-Until".to_owned()),
            bucket: Some("X-Quota-Name".to_owned()),
        };
        let own = headers(&[
            ("x-quota", "60"),
            ("x-quota-left", "7"),
            ("x-quota-until", "2023-11-14T22:13:50Z"),
            ("x-quota-name", "reports"),
            ("x-ratelimit-remaining", "0"),
        ]);
        let whole = Learned { limit: Some(60), remaining: Some(7), reset_at_ms: Some(NOW + 30_000) };
        assert_eq!(windows(&own, &names, NOW), [(String::new(), whole)]);
        assert_eq!(bucket(&own, &names).as_deref(), Some("reports"));
        assert_eq!(bucket(&headers(&[("X-RateLimit-Resource", "search")]), &HeaderNames::default()).unwrap(), "search");
        assert_eq!(bucket(&own, &HeaderNames::default()), None);
    }
}
