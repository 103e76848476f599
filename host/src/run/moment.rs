//! Moments in texts that belong to others: comparing them, looking for those in the future, and going back from them in the
//! form that they have.

use std::cmp::Ordering;
use std::time::Duration;

use crate::record::instant;
use crate::time::{date, days};

/// What a text says, as far as it can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Point {
    /// A date, or a date and time.
    Time {
        /// Nanoseconds since the Unix epoch; without a zone, as if it were UTC.
        nanos: i128,
        /// Whether the text has a time of day.
        has_time: bool,
        /// Whether the text has a zone.
        has_zone: bool,
    },
    /// A whole number.
    Int(i128),
    /// Another number.
    Float(f64),
}

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// A date and time in its text, by position.
struct Written<'a> {
    /// Nanoseconds since the Unix epoch of what is written, whatever the zone.
    local: i128,
    /// Between date and time.
    separator: Option<char>,
    seconds: bool,
    /// The fraction's digits with their point or comma.
    fraction: &'a str,
    zone: &'a str,
    offset: Option<i128>,
}

fn written(text: &str) -> Option<Written<'_>> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    if text.get(4..5) != Some("-")
        || text.get(7..8) != Some("-")
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    let midnight = i128::from(days(year, month, day)) * DAY;
    let rest = text.get(10..)?;
    let Some(separator) = rest.chars().next() else {
        return Some(Written {
            local: midnight,
            separator: None,
            seconds: false,
            fraction: "",
            zone: "",
            offset: None,
        });
    };
    if !matches!(separator, 'T' | 't' | ' ') || text.get(13..14) != Some(":") {
        return None;
    }
    let mut local = midnight + i128::from(number(11..13)? * 3_600 + number(14..16)? * 60) * SECOND;
    let seconds = text.get(16..17) == Some(":");
    let mut at = 16;
    let mut fraction = "";
    if seconds {
        local += i128::from(number(17..19)?) * SECOND;
        let behind = text.get(19..)?;
        if behind.starts_with(['.', ',']) {
            let digits = behind.get(1..)?.bytes().take_while(u8::is_ascii_digit).count();
            fraction = behind.get(..=digits).filter(|_| digits > 0)?;
            let nine = fraction.get(1..)?.bytes().chain(std::iter::repeat(b'0')).take(9);
            local += nine.fold(0, |value, digit| value * 10 + i128::from(digit - b'0'));
        }
        at = 19 + fraction.len();
    }
    let zone = text.get(at..)?;
    let offset = match zone {
        "" => None,
        "Z" | "z" => Some(0),
        _ => {
            let sign = match zone.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let digits: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
            let (hours, minutes) = digits.split_at_checked(2)?;
            let minutes = if minutes.is_empty() { 0 } else { minutes.parse::<i128>().ok()? };
            Some(sign * (hours.parse::<i128>().ok()? * 3_600 + minutes * 60) * SECOND)
        }
    };
    Some(Written { local, separator: Some(separator), seconds, fraction, zone, offset })
}

/// Reads a text as a point; none where it is neither a number nor a date.
pub(crate) fn point(text: &str) -> Option<Point> {
    if let Some(micros) = instant::read(text.as_bytes()) {
        // As most are written.
        return Some(Point::Time { nanos: i128::from(micros) * 1_000, has_time: true, has_zone: true });
    }
    if let Ok(whole) = text.parse() {
        return Some(Point::Int(whole));
    }
    if let Some(Written { local, separator, offset, .. }) = written(text) {
        let nanos = local - offset.unwrap_or(0);
        return Some(Point::Time { nanos, has_time: separator.is_some(), has_zone: offset.is_some() });
    }
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(Point::Float)
}

/// A value of a field that is compared more than once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) text: &'a str,
    point: Option<Point>,
}

impl<'a> Value<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, point: point(text) }
    }

    /// Makes a value again of its text and what that was found to be.
    pub(crate) fn again(text: &'a str, point: Option<Point>) -> Self {
        Self { text, point }
    }

    /// What its text was found to be.
    pub(crate) fn point(&self) -> Option<Point> {
        self.point
    }

    /// Compares two values as [`compare`] does.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self.point, other.point) {
            (Some(Point::Int(one)), Some(Point::Int(other))) => one.cmp(&other),
            (Some(Point::Time { nanos: one, .. }), Some(Point::Time { nanos: other, .. })) => one.cmp(&other),
            (Some(Point::Int(_) | Point::Float(_)), Some(Point::Int(_) | Point::Float(_))) => {
                let float = |text: &str| text.parse::<f64>().unwrap_or(0.0);
                float(self.text).total_cmp(&float(other.text))
            }
            _ => self.text.cmp(other.text),
        }
    }

    /// Whether it is a moment later than another by more than `slack`. A number may be anything.
    pub(crate) fn is_later(&self, than_ms: u64, slack: Duration) -> bool {
        let limit = i128::from(than_ms) * 1_000_000 + i128::try_from(slack.as_nanos()).unwrap_or(i128::MAX / 2);
        matches!(self.point, Some(Point::Time { nanos, .. }) if nanos > limit)
    }
}

/// Compares two values of one field: as numbers or moments where both are such, else as texts.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    Value::of(one).compare(&Value::of(other))
}

/// Whether two values are of a kind that has an order by itself: both numbers, or both moments.
pub(crate) fn comparable(one: &str, other: &str) -> bool {
    match (point(one), point(other)) {
        (Some(Point::Time { .. }), Some(Point::Time { .. })) => true,
        (Some(one), Some(other)) => !matches!(one, Point::Time { .. }) && !matches!(other, Point::Time { .. }),
        _ => false,
    }
}

/// Whether a text is a moment later than another by more than `slack`.
pub(crate) fn is_later(text: &str, than_ms: u64, slack: Duration) -> bool {
    Value::of(text).is_later(than_ms, slack)
}

/// Whether a text is a date and time without a zone.
pub(crate) fn has_no_zone(text: &str) -> bool {
    matches!(point(text), Some(Point::Time { has_time: true, has_zone: false, .. }))
}

/// Goes back from a moment, in the form that it is written in: RFC 3339 with or without a zone, a date (which goes back by
/// whole days), or a number of seconds, milliseconds, microseconds or nanoseconds since the Unix epoch, told by its size.
/// None for anything else.
pub(crate) fn back(text: &str, by: Duration) -> Option<String> {
    let by = i128::try_from(by.as_nanos()).ok()?;
    if let Ok(number) = text.parse::<i128>() {
        // From 2001 to 2286, each unit has its own number of digits.
        let unit = match number.checked_ilog10()? {
            9 => SECOND,
            12 => 1_000_000,
            15 => 1_000,
            18 => 1,
            _ => return None,
        };
        return Some((number - by.div_euclid(unit) - i128::from(by.rem_euclid(unit) > 0)).to_string());
    }
    let Written { local, separator, seconds, fraction, zone, .. } = written(text)?;
    let unit = match (separator, seconds) {
        (None, _) => DAY,
        (Some(_), false) => 60 * SECOND,
        (Some(_), true) => 10_i128.pow(9_u32.saturating_sub(u32::try_from(fraction.len().saturating_sub(1)).ok()?)),
    };
    // What the text cannot say is gone back further.
    let earlier = (local - by).div_euclid(unit) * unit;
    let (day, of_day) = (earlier.div_euclid(DAY), earlier.rem_euclid(DAY));
    let (year, month, day) = date(i64::try_from(day).ok()?);
    let mut out = format!("{year:04}-{month:02}-{day:02}");
    let Some(separator) = separator else { return Some(out) };
    let second = of_day / SECOND;
    out.push(separator);
    out.push_str(&format!("{:02}:{:02}", second / 3_600, second / 60 % 60));
    if seconds {
        out.push_str(&format!(":{:02}", second % 60));
    }
    if let Some(point) = fraction.get(..1) {
        let nine = format!("{:09}", of_day % SECOND);
        out.push_str(point);
        let digits = fraction.len() - 1;
        out.push_str(nine.get(..digits.min(9)).unwrap_or_default());
        out.extend(std::iter::repeat_n('0', digits.saturating_sub(9)));
    }
    out.push_str(zone);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_what_they_are() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, order) in [
            ("10", "9", Greater),
            ("2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z", Less),
            ("2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00Z", Greater),
            ("2024-01-01 00:00", "2024-01-01T00:00:00Z", Equal),
            ("2024-01-01T05:30:00+0530", "2024-01-01T00:00:00Z", Equal),
            ("1.5", "1", Greater),
            ("b", "a", Greater),
        ] {
            assert_eq!(compare(one, other), order, "{one} {other}");
        }
        assert!(comparable("1", "2.5") && comparable("2024-01-01", "2024-01-01T00:00:00Z"));
        assert!(!comparable("\"7\"", "8") && !comparable("2024", "2024-01-01"));
    }

    #[test]
    fn going_back_keeps_the_form() {
        for (text, seconds, expected) in [
            ("2024-03-01T00:00:00Z", 1, Some("2024-02-29T23:59:59Z")),
            ("2024-03-01 00:00:00.250+02:00", 60, Some("2024-02-29 23:59:00.250+02:00")),
            ("2024-03-01T00:00:00,123456789012", 1, Some("2024-02-29T23:59:59,123456789000")),
            ("2024-03-01T12:30", 90, Some("2024-03-01T12:28")),
            ("2024-03-01", 1, Some("2024-02-29")),
            ("1700000000", 90, Some("1699999910")),
            ("1700000000500", 1, Some("1699999999500")),
            ("1700000000000000000", 1, Some("1699999999000000000")),
            ("42", 1, None),
            ("\"1700000000\"", 1, None),
            ("abc", 1, None),
            ("2024-13-01", 1, None),
            ("2024-01-01T00:00:00.Z", 1, None),
        ] {
            assert_eq!(back(text, Duration::from_secs(seconds)).as_deref(), expected, "{text}");
        }
        assert_eq!(back("1700000000", Duration::from_millis(1)).as_deref(), Some("1699999999"), "never too late");
    }

    #[test]
    fn the_future_and_missing_zones_are_seen() {
        let now = 1_704_067_200_000;
        assert!(is_later("2024-01-02T00:00:01Z", now, Duration::from_secs(86_400)));
        assert!(!is_later("2024-01-02T00:00:00Z", now, Duration::from_secs(86_400)));
        assert!(!is_later("99999999999", now, Duration::ZERO));
        assert!(has_no_zone("2024-01-01T00:00:00") && has_no_zone("2024-01-01 10:00"));
        assert!(!has_no_zone("2024-01-01") && !has_no_zone("2024-01-01T00:00:00Z") && !has_no_zone("17"));
    }

    #[test]
    fn nothing_that_is_written_makes_it_fail() {
        for text in [
            "",
            "é",
            "2024-01-01T",
            "2024-01-01T00:00:00+",
            "2024-01-01T00:00:00+é",
            "-0",
            "1e400",
            "9".repeat(60).as_str(),
        ] {
            let _ = (point(text), back(text, Duration::MAX), compare(text, "1"));
        }
    }
}
