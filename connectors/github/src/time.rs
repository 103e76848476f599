//! The two ways in which GitHub writes times, compared and turned into each other.

use std::fmt::Write;

/// Seconds since the Unix epoch of `2024-01-31`, `2024-01-31T10:00:00Z` or one with an offset;
/// fractions of a second are cut off, which makes a start earlier and never later.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let number = |text: &str, from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let valid = date.get(4..5) == Some("-") && date.get(7..8) == Some("-");
    let (month, day) = (number(date, 5, 7)?, number(date, 8, 10)?);
    if !valid || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let midnight = days(number(date, 0, 4)?, month, day) * 86_400;
    if time.is_empty() {
        return Some(midnight);
    }
    if !time.starts_with(['T', 't', ' ']) || time.get(3..4) != Some(":") || time.get(6..7) != Some(":") {
        return None;
    }
    let seconds = number(time, 1, 3)? * 3600 + number(time, 4, 6)? * 60 + number(time, 7, 9)?;
    let zone = time.get(9..)?;
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|letter: char| letter.is_ascii_digit()),
        None => zone,
    };
    let offset = match zone {
        // A time without a zone is taken for UTC, as all times of the API are.
        "" | "Z" | "z" => 0,
        _ => {
            let minutes = number(zone, 1, 3)? * 60 + number(zone, zone.len().checked_sub(2)?, zone.len())?;
            match zone.get(..1)? {
                "+" => minutes * 60,
                "-" => -minutes * 60,
                _ => return None,
            }
        }
    };
    Some(midnight + seconds - offset)
}

/// Seconds since the Unix epoch of `Tue, 10 Oct 2017 16:00:00 GMT` (RFC 9110, 5.6.7).
pub(crate) fn parse_http(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let time = words.next()?;
    (words.next()? == "GMT").then(|| parse(&format!("{year:0>4}-{month:02}-{day:0>2}T{time}Z")))?
}

/// `2024-01-31T10:00:00Z`, the form in which the API takes and gives times.
pub(crate) fn format(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    // Writing to a String does not fail.
    let _ = write!(text, "T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
    text
}

/// Days since 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_means_the_same_instant() {
        let at = Some(1_507_651_200);
        assert_eq!(parse("2017-10-10T16:00:00Z"), at);
        assert_eq!(parse("2017-10-10T18:30:00+02:30"), at);
        assert_eq!(parse("2017-10-10T12:00:00.999-0400"), at);
        assert_eq!(parse_http("Tue, 10 Oct 2017 16:00:00 GMT"), at);
        assert_eq!(parse("2017-10-10"), Some(1_507_593_600));
        assert_eq!(parse("2000-02-29T23:59:59Z").map(format).as_deref(), Some("2000-02-29T23:59:59Z"));
        assert_eq!(format(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in
            ["", "soon", "2017-13-01", "2017-10-10T16", "2017-10-10X16:00:00Z", "2017-10-10T16:00:00Q", "ü017-10-10"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["", "Tue, 10 Okt 2017 16:00:00 GMT", "10 Oct 2017 16:00:00 GMT", "Tue, 10 Oct 2017 16:00:00 CET"] {
            assert_eq!(parse_http(text), None, "{text}");
        }
    }
}
