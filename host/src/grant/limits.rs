//! The limits of a description as texts, and which of them are looser than which.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::engine::bindings::exports::ingest::connector::source::Budget;
use crate::http::Rate;

const AT_ONCE: &str = " at once";

/// The rates that a description names; one that allows nothing is no rate.
pub(crate) fn rates(budget: &Budget) -> Vec<Rate> {
    let rates = budget.rates.iter().filter_map(|rate| {
        Some(Rate {
            permits: NonZeroU32::new(rate.requests)?,
            per: Some(Duration::from_millis(rate.per_ms.into())).filter(|per| !per.is_zero())?,
            burst: NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN),
        })
    });
    rates.collect()
}

/// Writes the limits down.
pub(super) fn of(budget: &Budget) -> Vec<String> {
    let mut texts: Vec<String> = rates(budget).iter().map(Rate::to_string).collect();
    texts.sort();
    texts.dedup();
    texts.extend(budget.concurrency.map(|requests| format!("{requests}{AT_ONCE}")));
    texts
}

/// Tells whether one of the new limits is at least as tight as an old one.
pub(super) fn kept(old: &str, new: &[String]) -> bool {
    let at_once = |text: &str| text.strip_suffix(AT_ONCE)?.parse::<u32>().ok();
    match (at_once(old), old.parse::<Rate>()) {
        (Some(old), _) => new.iter().filter_map(|text| at_once(text)).any(|new| new <= old),
        (None, Ok(old)) => new.iter().filter_map(|text| text.parse::<Rate>().ok()).any(|new| new.within(&old)),
        (None, Err(_)) => new.iter().any(|new| new == old),
    }
}

/// Reads granted limits back: rates, and the requests at once.
pub(crate) fn parse(texts: &[String]) -> (Vec<Rate>, Option<u32>) {
    let at_once = texts.iter().filter_map(|text| text.strip_suffix(AT_ONCE)?.parse().ok()).min();
    (texts.iter().filter_map(|text| text.parse().ok()).collect(), at_once)
}
