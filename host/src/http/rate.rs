//! Rates that a user sets, and how they are written.

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
#[error("not a rate; write 10/s, 600/min or 5000/h, and :burst=N after it if more than one may go out at once: {0:?}")]
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
            let per = Duration::from_secs(match unit.trim() {
                "s" | "sec" | "second" => 1,
                "m" | "min" | "minute" => 60,
                "h" | "hour" => 3_600,
                "d" | "day" => 86_400,
                _ => return None,
            });
            Some(Self { permits: permits.trim().parse().ok()?, per, burst })
        };
        parse().ok_or_else(|| RateError(text.to_owned()))
    }
}

/// The rates that the user sets.
#[derive(Debug, Clone, Default)]
pub struct Rates {
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
        for text in ["", "10", "0/s", "10/year", "10/s:burst=0", "x/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
