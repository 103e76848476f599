//! Numbers with units: on the way in from flags, on the way out in tables.

use std::time::Duration;

/// How times and sizes are written, for whoever reads the help.
pub(crate) const HELP: &str = "TIME is a whole number of ms, s, m (minutes), h or d: 90s. BYTES is one of B, KB, MB, GB (1,000 of the one \
    before) or KiB, MiB, GiB (1,024): 64MiB.";

/// Reads a number of bytes: `1000`, `64KiB`, `256 MiB`, `1GiB`, `10MB`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("b", 1),
        ("", 1),
    ];
    let (number, unit) = split(text);
    let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
    let number: Option<u64> = number.parse().ok();
    number
        .zip(size)
        .and_then(|(number, size)| number.checked_mul(size))
        .ok_or_else(|| "write a whole number and a unit, as in 256MiB (units: B, KB, MB, GB, KiB, MiB, GiB)".to_owned())
}

/// Reads a number of something of which there has to be one.
pub(crate) fn parse_some<T: std::str::FromStr + Default + PartialEq>(text: &str) -> Result<T, String> {
    let number = text.trim().parse().ok().filter(|number| *number != T::default());
    number.ok_or_else(|| "write a whole number, from 1 on".to_owned())
}

/// Reads a number of bytes, at least one.
pub(crate) fn parse_some_bytes(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("write at least 1B".to_owned()),
        bytes => Ok(bytes),
    }
}

/// Reads a time: `500ms`, `10s`, `5m`, `24h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let (number, unit) = split(text);
    let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
    let number: Option<u64> = number.parse().ok();
    number
        .zip(size)
        .and_then(|(number, size)| number.checked_mul(size))
        .map(Duration::from_millis)
        .ok_or_else(|| "write a whole number and a unit, as in 10s (units: ms, s, m, h, d)".to_owned())
}

fn split(text: &str) -> (&str, String) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim().to_ascii_lowercase())
}

/// Writes a count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a count with its noun.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Writes a text that may be of any length so that it fits a table.
pub(crate) fn start(text: &str) -> String {
    const CHARS: usize = 60;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Writes a number of bytes in the unit that suits it.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (size, unit) in UNITS {
        if number >= size {
            let tenths = number.saturating_mul(10) / size;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{number} B")
}

/// Writes a time in the unit that suits it.
pub(crate) fn millis(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} ms"),
        1_000..60_000 => format!("{}.{} s", number / 1_000, number % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", number / 60_000, number % 60_000 / 1_000),
        _ => format!("{} h {:02} min", number / 3_600_000, number % 3_600_000 / 60_000),
    }
}

/// Writes a moment as `2026-11-23 14:03:05` (UTC).
pub(crate) fn moment(epoch_ms: u64) -> String {
    host::time::rfc3339(epoch_ms).replace('T', " ").replace('Z', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_written() {
        assert_eq!(parse_bytes("256MiB"), Ok(256 << 20));
        assert_eq!(parse_bytes("1 gb"), Ok(1_000_000_000));
        assert_eq!(parse_bytes("512"), Ok(512));
        assert!(parse_bytes("lots").is_err() && parse_bytes("5 parsecs").is_err());
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_duration("10").is_err());
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(millis(61_000), "1 min 01 s");
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00:00");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(moment(1_795_440_185_000), "2026-11-23 13:23:05");
    }
}
