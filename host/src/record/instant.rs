//! Instants of RFC 3339.

use crate::time::{date, days};

const MICROS: i64 = 1_000_000;

/// Reads an RFC 3339 date and time with a zone as microseconds since the Unix epoch; none where the text is something
/// else, has a part finer than a microsecond, or is a leap second: such values are not rounded but kept as text.
pub(crate) fn read(text: &[u8]) -> Option<i64> {
    let year = digits(text, 0, 4)?;
    let month = digits(text, 5, 2)?;
    let day = digits(text, 8, 2)?;
    let hour = digits(text, 11, 2)?;
    let minute = digits(text, 14, 2)?;
    let second = digits(text, 17, 2)?;
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| text.get(*at) != Some(byte)) || !matches!(text.get(10)?, b'T' | b't' | b' ') {
        return None;
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, zone) = fraction(text)?;
    let offset_minutes = offset(text.get(zone..)?)?;
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * MICROS + micros)
}

fn digits(text: &[u8], at: usize, count: usize) -> Option<i64> {
    text.get(at..at + count)?
        .iter()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// Microseconds, and where the zone starts.
fn fraction(text: &[u8]) -> Option<(i64, usize)> {
    if text.get(19) != Some(&b'.') {
        return Some((0, 19));
    }
    let written = text.get(20..)?;
    let length = written.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fine, finer) = written.split_at_checked(length.min(6))?;
    if length == 0 || finer.iter().take(length.saturating_sub(6)).any(|byte| *byte != b'0') {
        return None;
    }
    let value = digits(fine, 0, fine.len())?;
    Some((value * 10_i64.pow(6 - u32::try_from(fine.len()).ok()?), 20 + length))
}

fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone.first()? {
        b'Z' | b'z' => return (zone.len() == 1).then_some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (digits(zone, 1, 2)?, digits(zone, 4, 2)?);
    (zone.len() == 6 && zone.get(3) == Some(&b':') && hours <= 23 && minutes <= 59)
        .then_some(sign * (hours * 60 + minutes))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Appends an instant as RFC 3339, UTC, with no more fraction than it has.
pub(crate) fn write(micros: i64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let mut text =
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text.push('Z');
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_instants_are_read() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000001Z", 1),
            ("1969-12-31T23:59:59.5Z", -500_000),
            ("2024-02-29T12:34:56+02:00", 1_709_202_896_000_000),
            ("2000-01-01 00:00:00.120000000Z", 946_684_800_120_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000),
        ] {
            assert_eq!(read(text.as_bytes()), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_would_be_rounded_or_guessed_is_refused() {
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.1234567Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+0200",
            "2024-01-01T00:00:00Zx",
            "2024-01-00T00:00:00Z",
            "24-01-01T00:00:00Z",
            "2024/01/01T00:00:00Z",
            "2024-01-01T00:00:00+24:00",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn instants_are_written_as_they_are_read() {
        for days in (-800_000..2_900_000).step_by(97) {
            let micros = days * 86_400 * MICROS + 12_345_000_100;
            let mut out = Vec::new();
            write(micros, &mut out);
            if (0..=9999).contains(&date(days).0) {
                assert_eq!(read(&out), Some(micros), "{}", String::from_utf8_lossy(&out));
            }
        }
    }
}
