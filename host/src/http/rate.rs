//! Rates that a user sets, and how they are written.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// A rate that the user sets: so many requests in so much time, so many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub permits: NonZeroU32,
    /// In this time.
    pub per: Duration,
    /// Requests that may go out at once after a rest. 1 makes a fixed delay.
    pub burst: NonZeroU32,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a rate; write 10/s, 600/min, 5000/h or 1/200ms, and :burst=N after it if more than one may go out at once: {0:?}"
)]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let parse = || {
            let (rate, burst) = match text.split_once(":burst=") {
                Some((rate, burst)) => (rate, burst.trim().parse().ok()?),
                None => (text, NonZeroU32::MIN),
            };
            let (permits, unit) = rate.split_once('/')?;
            let unit = unit.trim();
            // A time may have a number before its unit: 1/200ms is a fixed delay of 200 ms.
            let (number, unit) = unit.split_at(unit.find(|c: char| !c.is_ascii_digit()).unwrap_or(unit.len()));
            let number: u64 = if number.is_empty() { 1 } else { number.parse().ok().filter(|number| *number > 0)? };
            let per = Duration::from_millis(number.checked_mul(match unit {
                "ms" => 1,
                "s" | "sec" | "second" => 1_000,
                "m" | "min" | "minute" => 60_000,
                "h" | "hour" => 3_600_000,
                "d" | "day" => 86_400_000,
                _ => return None,
            })?);
            Some(Self { permits: permits.trim().parse().ok()?, per, burst })
        };
        parse().ok_or_else(|| RateError(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.per.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
        let (size, unit) = units.into_iter().find(|(size, _)| ms.is_multiple_of(*size)).unwrap_or((1, "ms"));
        write!(f, "{}/", self.permits)?;
        if ms / size != 1 {
            write!(f, "{}", ms / size)?;
        }
        f.write_str(unit)?;
        if self.burst.get() > 1 { write!(f, ":burst={}", self.burst) } else { Ok(()) }
    }
}

impl Rate {
    /// Time from one permit to the next.
    pub fn interval(&self) -> Duration {
        self.per / self.permits.get()
    }

    /// Tells whether this rate is at least as tight as another.
    pub fn within(&self, other: &Self) -> bool {
        self.interval() >= other.interval() && self.burst <= other.burst
    }
}

/// What a client keeps to on its own: the rates that the user sets, and those of the connector's description. All that
/// concern a budget hold at once, so that neither widens the other.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// What the description says of every API that the connector asks.
    pub described: Vec<Rate>,
    /// Most requests under way at once to one API, by the description.
    pub concurrency: Option<u32>,
    /// For the budgets of these names (a host, or a name of the connector's).
    pub named: Vec<(String, Rate)>,
    /// For every other budget.
    pub default: Option<Rate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_text() {
        let rate = |permits, seconds, burst| {
            let count = |n| NonZeroU32::new(n).unwrap();
            Ok(Rate { permits: count(permits), per: Duration::from_secs(seconds), burst: count(burst) })
        };
        assert_eq!("10/s".parse::<Rate>(), rate(10, 1, 1));
        assert_eq!("600/min:burst=20".parse::<Rate>(), rate(600, 60, 20));
        assert_eq!("5000/h".parse::<Rate>(), rate(5_000, 3_600, 1));
        assert_eq!("1/200ms".parse::<Rate>().unwrap().interval(), Duration::from_millis(200));
        for text in ["10/s", "600/min:burst=20", "5000/h", "1/200ms", "7/90s", "1/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "10", "0/s", "10/year", "10/0s", "10/5", "10/s:burst=0", "x/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
