//! Numbers, never rounded in silence.

use crate::json::scan::{self, Stop, byte};

/// What a JSON number is to a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// A whole number of 64 bits. `-0` is 0.
    Int(i64),
    /// A number with a fraction or an exponent, and the `f64` that stands for it.
    Float(f64),
    /// Digits that neither holds.
    Raw,
}

/// Largest magnitude up to which every whole number is an `f64`.
pub(crate) const EXACT: u64 = 1 << 53;

/// Digits that tell any two `f64` apart. With no more of them, a decimal names the `f64` it is read as.
const FAITHFUL_DIGITS: u32 = 17;

/// Powers of ten that `f64` holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Whether a whole number stays itself as an `f64`.
#[inline(always)]
pub(crate) fn is_exact(value: i64) -> bool {
    value.unsigned_abs() <= EXACT
}

/// Reads a whole number of at most fifteen digits without a sign, as nearly all are; returns the position after it, and none
/// for everything else. Eight digits are taken at a time.
#[inline(always)]
pub(crate) fn short(bytes: &[u8], start: usize) -> Option<(usize, i64)> {
    let eight = |at: usize| bytes.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let (mut length, mut value) = digits(eight(start)?);
    if length == 8 {
        let (more, low) = digits(eight(start + 8)?);
        if more == 8 {
            return None;
        }
        value = value * SMALL_TENS.get(more)? + low;
        length += more;
    }
    let end = start + length;
    let leads = length > 1 && byte(bytes, start) == b'0';
    if length == 0 || leads || matches!(byte(bytes, end), b'.' | b'e' | b'E') {
        return None;
    }
    Some((end, i64::try_from(value).ok()?))
}

const SMALL_TENS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// How many of eight bytes, the first in the lowest, are digits until another comes, and their value.
#[inline(always)]
fn digits(bytes: u64) -> (usize, u64) {
    const ONES: u64 = u64::MAX / 0xff;
    let values = bytes ^ (ONES * 0x30);
    // The high bit of a byte says that it is none: 0x76 lifts what is above nine there.
    let others = (values & (ONES * 0x7f)).wrapping_add(ONES * 0x76) | values;
    let length = ((others & (ONES * 0x80)).trailing_zeros() / 8) as usize;
    if length == 0 {
        return (0, 0);
    }
    // The digits move to the high bytes, zeros before them; then pairs, fours and all eight are joined.
    let values = values << (64 - 8 * length);
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    (length, fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}

/// Reads a number; returns the position after it.
#[inline]
pub(crate) fn read(bytes: &[u8], start: usize) -> Result<(usize, Number), Stop> {
    if let Some((end, value)) = short(bytes, start) {
        return Ok((end, Number::Int(value)));
    }
    let negative = byte(bytes, start) == b'-';
    let first = start + usize::from(negative);
    let mut at = first;
    let mut value = 0u64;
    loop {
        let digit = byte(bytes, at).wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    let length = at - first;
    if length == 0 || length > 18 || (length > 1 && byte(bytes, first) == b'0') {
        return read_slow(bytes, start);
    }
    match byte(bytes, at) {
        b'.' => {}
        b'e' | b'E' => return read_slow(bytes, start),
        _ => {
            // Eighteen digits are always below 2^63.
            let value = value as i64;
            return Ok((at, Number::Int(if negative { -value } else { value })));
        }
    }
    let point = at;
    at += 1;
    loop {
        let digit = byte(bytes, at).wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    // Fifteen digits are always below 2^53, and 10^15 is an `f64`: one division, rounded once, gives the nearest.
    let fraction = at - point - 1;
    match TENS.get(fraction) {
        Some(power) if fraction > 0 && length + fraction <= 15 && !matches!(byte(bytes, at), b'e' | b'E') => {
            let value = value as f64 / power;
            Ok((at, Number::Float(if negative { -value } else { value })))
        }
        _ => read_slow(bytes, start),
    }
}

fn read_slow(bytes: &[u8], start: usize) -> Result<(usize, Number), Stop> {
    let end = scan::number(bytes, start)?;
    let raw = bytes.get(start..end).unwrap_or_default();
    let text = std::str::from_utf8(raw).unwrap_or_default();
    if !raw.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return Ok((end, text.parse().map_or(Number::Raw, Number::Int)));
    }
    let decimal = Decimal::read(raw);
    if decimal.digits > FAITHFUL_DIGITS {
        return Ok((end, Number::Raw));
    }
    if let Some(value) = decimal.exact() {
        return Ok((end, Number::Float(value)));
    }
    let value: f64 = text.parse().unwrap_or(f64::INFINITY);
    // A subnormal has fewer digits than were written; infinity and an underflow to zero have none.
    Ok((end, if value.is_normal() { Number::Float(value) } else { Number::Raw }))
}

/// A number taken apart: its significant digits and the power of ten to multiply them by.
struct Decimal {
    negative: bool,
    /// Meaningless where there are more than 19 digits.
    mantissa: u64,
    /// Without leading and trailing zeros.
    digits: u32,
    exponent: i64,
}

impl Decimal {
    /// Takes apart a number whose grammar has been checked.
    fn read(raw: &[u8]) -> Self {
        let mut all = Self { negative: raw.first() == Some(&b'-'), mantissa: 0, digits: 0, exponent: 0 };
        let mut zeros = 0u32;
        let mut fraction = false;
        for (place, byte) in raw.iter().enumerate() {
            match byte {
                b'.' => fraction = true,
                b'e' | b'E' => {
                    let text = raw.get(place + 1..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
                    // An exponent of more than 18 digits is as far out as any other that no f64 reaches.
                    let written =
                        text.parse().unwrap_or(if text.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 });
                    all.exponent = all.exponent.saturating_add(written);
                    break;
                }
                b'0'..=b'9' => {
                    all.exponent -= i64::from(fraction);
                    if *byte == b'0' {
                        // Nothing where it leads; else a zero that may turn out to be a trailing one.
                        zeros += u32::from(all.digits > 0);
                        all.exponent += i64::from(all.digits > 0);
                        continue;
                    }
                    for _ in 0..zeros {
                        all.mantissa = all.mantissa.wrapping_mul(10);
                    }
                    all.exponent -= i64::from(zeros);
                    all.digits = all.digits.saturating_add(zeros + 1);
                    zeros = 0;
                    all.mantissa = all.mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                }
                _ => {}
            }
        }
        all
    }

    /// The value, where one exact multiplication or division gives it (Clinger's fast path), and zero.
    fn exact(&self) -> Option<f64> {
        let sign = if self.negative { -1.0 } else { 1.0 };
        if self.digits == 0 {
            return Some(sign * 0.0);
        }
        if self.mantissa > EXACT {
            return None;
        }
        let power = TENS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let mantissa = self.mantissa as f64;
        Some(sign * if self.exponent < 0 { mantissa / power } else { mantissa * power })
    }
}

/// Appends an `f64` in its shortest form that reads back as the same, as JSON.
pub(crate) fn write_float(value: f64, out: &mut Vec<u8>) {
    let text = format!("{value:?}");
    out.extend_from_slice(text.strip_suffix(".0").unwrap_or(&text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<Number> {
        let (end, number) = read(text.as_bytes(), 0).ok()?;
        (end == text.len()).then_some(number)
    }

    #[test]
    fn whole_numbers_are_64_bits_or_raw() {
        for value in [0, 1, -1, 9, 10, 999_999_999_999_999_999, 1_000_000_000_000_000_000, i64::MAX, i64::MIN] {
            assert_eq!(number(&value.to_string()), Some(Number::Int(value)));
        }
        assert_eq!(number("-0"), Some(Number::Int(0)));
        for raw in
            ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "123456789012345678901234567890"]
        {
            assert_eq!(number(raw), Some(Number::Raw), "{raw}");
        }
    }

    #[test]
    fn numbers_of_any_length_end_where_their_digits_do() {
        let mut value = 0_i64;
        for digit in 1..=18 {
            value = value * 10 + digit % 10;
            for (value, after) in [(value, ','), (value, '}'), (value, ' '), (10_i64.pow(digit as u32 - 1), ']')] {
                let text = format!("{value}{after}\"a\":1234567,\"b\":null");
                assert_eq!(read(text.as_bytes(), 0), Ok((value.to_string().len(), Number::Int(value))), "{text}");
            }
            let text = format!("{value}.5,\"a\":1234567,\"b\":null");
            assert_ne!(read(text.as_bytes(), 0).map(|(_, number)| number), Ok(Number::Int(value)), "{text}");
        }
        for other in
            ["01,       ", "00000000,       ", "x1234567890123", "/1234567890123", ":123456789012345", "\u{b1}1234567"]
        {
            assert_eq!(short(other.as_bytes(), 0), None, "{other}");
        }
        assert_eq!(short(b"0,              ", 0), Some((1, 0)));
    }

    #[test]
    fn fractions_are_faithful_or_raw() {
        for text in [
            "0.1",
            "1.5",
            "-2.25e3",
            "1e5",
            "0.30000000000000004",
            "1e22",
            "1e23",
            "123456.789e-10",
            "1.0",
            "0e0",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "1.000000000000000000000000",
            "0.0000000000000000000001",
            "100000000000000000000.0",
            "0e99999999999999999999",
            "9007199254740993.0",
            "10.50",
        ] {
            assert_eq!(number(text), text.parse().ok().map(Number::Float), "{text}");
        }
        for raw in [
            "0.123456789012345678",
            "1e400",
            "-1e400",
            "1e-400",
            "5e-324",
            "1.0000000000000000001",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ] {
            assert_eq!(number(raw), Some(Number::Raw), "{raw}");
        }
        assert!(matches!(number("-0.0"), Some(Number::Float(zero)) if zero == 0.0 && zero.is_sign_negative()));
    }

    #[test]
    fn malformed_numbers_are_refused() {
        for bad in ["-", "01", "00", "1.", "1.e5", "1e", "1e+", "-01", ".5", "-.5"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn floats_are_written_short() {
        for (value, text) in [(1.0, "1"), (1.5, "1.5"), (1e300, "1e300"), (-0.1, "-0.1"), (1e16, "1e16")] {
            let mut out = Vec::new();
            write_float(value, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
