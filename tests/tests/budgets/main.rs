//! Rate limits as the host keeps them over whole runs. Here the host's engine runs in this process, beside the mock API, and
//! both look at a clock of the test's: no time is waited for, and how much of it passed is exact. What needs processes is in
//! `processes`.

mod clock;
mod processes;
mod stage;

use std::time::Duration;

use anyhow::ensure;
use host::http::{Pool, Rates};
use serde_json::{Value, json};
use tests::mock::{Budget, Exceeded, RateHeaders, RetryAfter};

use stage::Stage;

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

fn keys(numbers: &[u32]) -> Value {
    json!({ "bearer": numbers.iter().map(|number| format!("key-number-{number}")).collect::<Vec<_>>() })
}

fn per_token(limit: u32, window: Duration) -> Budget {
    Budget { per_token: true, ..Budget::new(limit, window) }
}

#[test]
fn each_way_to_tell_a_limit_is_understood_and_no_request_is_refused() -> anyhow::Result<()> {
    for headers in [
        RateHeaders::Epoch,
        RateHeaders::EpochMillis,
        RateHeaders::Delta,
        RateHeaders::Iso,
        RateHeaders::Ietf,
        RateHeaders::IetfEarly,
    ] {
        // Three streams of 20 requests each, side by side: four windows full.
        let stage = Stage::new(1_950, Budget { headers, ..Budget::new(15, MINUTE) })?;
        stage.complete(&[&stage.side(3, &Value::Null)?], 1_950)?;
        let requests = stage.api.requests().len();
        ensure!(stage.statuses(200) == requests, "{headers:?}: {:?}", stage.answers());
        let windows = requests.div_ceil(15);
        let (least, most) = (60 * (windows as u64 - 1), 60 * windows as u64);
        // None is wasted either: the last window is not waited for to its end.
        ensure!((least..most).contains(&stage.seconds()), "{headers:?}: {requests} in {:?}", stage.clock.passed());
    }
    Ok(())
}

#[test]
fn what_a_server_asks_to_wait_is_waited_exactly_and_by_all_streams() -> anyhow::Result<()> {
    for (status, retry_after) in [
        (429, RetryAfter::Seconds(0)),
        (429, RetryAfter::Date(0)),
        (503, RetryAfter::Seconds(0)),
        (503, RetryAfter::Date(0)),
        (403, RetryAfter::Seconds(0)),
    ] {
        // It says nothing before it is too late.
        let exceeded = Exceeded { status, retry_after };
        let stage = Stage::new(1_950, Budget { headers: RateHeaders::None, exceeded, ..Budget::new(25, MINUTE) })?;
        let outcomes = stage.complete(&[&stage.side(3, &Value::Null)?], 1_950)?;
        let answers = stage.answers();
        let refused: Vec<u64> = answers.iter().filter(|(_, of)| *of == status).map(|(at, _)| at.as_secs()).collect();
        ensure!(!refused.is_empty(), "{exceeded:?}: {answers:?}");
        // A minute after the first request of a window, and not a moment earlier; nobody goes on meanwhile.
        let moments: Vec<Duration> = answers.iter().map(|(at, _)| *at).collect();
        ensure!(moments.iter().all(|at| *at == MINUTE * (at.as_secs() as u32 / 60)), "{exceeded:?}: {answers:?}");
        ensure!(stage.seconds() == 120, "{exceeded:?}: {answers:?}");
        ensure!(outcomes[0].waits().iter().any(|(_, until)| *until == 60), "{:#?}", outcomes[0].events);
    }
    Ok(())
}

#[test]
fn when_all_keys_rest_the_run_waits_for_the_first_and_says_so() -> anyhow::Result<()> {
    let stage = Stage::new(550, per_token(2, HOUR))?;
    let outcomes = stage.complete(&[&stage.side(1, &keys(&[1, 2]))?], 550)?;
    ensure!(stage.statuses(429) == 0 && stage.seconds() == 3_600, "{:?}", stage.answers());
    let host = stage.api.url("").replace("http://", "");
    let waits = outcomes[0].waits();
    let is_of_key = |budget: &str| budget.starts_with(&format!("{} of key ", host.trim_end_matches('/')));
    ensure!(!waits.is_empty() && waits.iter().all(|(budget, until)| is_of_key(budget) && *until == 3_600), "{waits:?}");
    ensure!(outcomes[0].report["traffic"]["waited_ms"].as_u64().is_some_and(|ms| ms >= 3_600_000), "{outcomes:#?}");
    Ok(())
}

#[test]
fn nobody_waits_while_a_key_has_something_left() -> anyhow::Result<()> {
    let stage = Stage::new(2_450, per_token(10, HOUR))?;
    stage.complete(&[&stage.side(1, &keys(&[1, 2, 3]))?], 2_450)?;
    ensure!(stage.clock.passed().is_zero() && stage.statuses(429) == 0, "{:?}", stage.answers());
    for key in ["Bearer key-number-1", "Bearer key-number-2", "Bearer key-number-3"] {
        let requests = stage.api.requests();
        let of_key = requests.iter().filter(|one| one.header("authorization") == Some(key)).count();
        ensure!((8..=9).contains(&of_key), "{key}: {of_key} of {}", requests.len());
    }
    Ok(())
}

#[test]
fn a_key_that_is_refused_is_taken_out_and_reported() -> anyhow::Result<()> {
    let stage = Stage::of(850, |api| api.budget(per_token(20, HOUR)).token("key-number-2"))?;
    let outcomes = stage.complete(&[&stage.side(1, &keys(&[1, 2]))?], 850)?;
    ensure!(stage.statuses(401) == 1, "{:?}", stage.answers());
    let warnings = outcomes[0].warnings();
    ensure!(warnings.iter().any(|text| text.contains("key 1") && text.contains("401")), "{warnings:?}");
    ensure!(!format!("{outcomes:?}").contains("key-number-"), "{outcomes:#?}");
    Ok(())
}

#[test]
fn a_wait_that_is_too_long_ends_the_read_and_the_next_run_goes_on() -> anyhow::Result<()> {
    let stage = Stage::new(350, Budget::new(2, HOUR))?;
    let mut side = stage.side(1, &Value::Null)?;
    let max_wait = std::mem::replace(&mut side.max_wait, MINUTE);
    let outcome = &stage.run(&[&side])?[0];
    ensure!(outcome.report["verdict"] == "incomplete", "{outcome:#?}");
    // The beginning is 22:13:20 of that day.
    let back = "asks to wait longer than --max-wait allows; come back at Tue, 14 Nov 2023 23:13:20 GMT";
    ensure!(outcome.reasons().contains(back), "{}", outcome.reasons());
    ensure!(stage.statuses(200) == 2 && stage.statuses(429) == 0 && stage.clock.passed().is_zero());
    // Somebody comes back then.
    stage.clock.advance(HOUR);
    side.max_wait = max_wait;
    stage.complete(&[&side], 350)?;
    ensure!(stage.statuses(429) == 0);
    // What the first run committed was not asked for again, but for the page on which it ended.
    ensure!(stage.api.targets().len() == 5, "{:#?}", stage.api.targets());
    Ok(())
}

#[test]
fn two_processes_share_a_rate() -> anyhow::Result<()> {
    let stage = Stage::of(1_450, |api| api)?;
    let (mut one, mut two) = (stage.side(1, &Value::Null)?, stage.side(1, &Value::Null)?);
    for side in [&mut one, &mut two] {
        side.rates = Rates { default: Some("20/s".parse()?), ..Rates::default() };
    }
    stage.complete(&[&one, &two], 1_450)?;
    let requests = u32::try_from(stage.api.requests().len())?;
    ensure!(stage.clock.passed() == Duration::from_millis(50) * (requests - 1), "{:?}", stage.answers());
    Ok(())
}

#[test]
fn a_rate_that_a_user_sets_for_one_process_holds_for_others_as_long_as_it_is_seen() -> anyhow::Result<()> {
    let stage = Stage::of(1_450, |api| api)?;
    let (mut one, two, three) =
        (stage.side(1, &Value::Null)?, stage.side(1, &Value::Null)?, stage.side(1, &Value::Null)?);
    one.rates = Rates { default: Some("20/s".parse()?), ..Rates::default() };
    let mut passed = Vec::new();
    for (side, later) in [(&one, Duration::ZERO), (&two, Duration::ZERO), (&three, MINUTE)] {
        stage.clock.advance(later);
        let (begun, before) = (stage.clock.passed(), stage.api.requests().len());
        stage.complete(&[side], 1_450)?;
        let requests = u32::try_from(stage.api.requests().len() - before)?;
        passed.push((stage.clock.passed() - begun, Duration::from_millis(50) * requests));
    }
    let [(first, at_most), (second, as_much), (third, _)] = passed[..] else { anyhow::bail!("{passed:?}") };
    ensure!(first == at_most - Duration::from_millis(50) && second == as_much && third.is_zero(), "{passed:?}");
    Ok(())
}

#[test]
fn two_processes_share_what_a_server_says_is_left() -> anyhow::Result<()> {
    let stage = Stage::new(1_950, Budget::new(15, MINUTE))?;
    stage.complete(&[&stage.side(1, &Value::Null)?, &stage.side(1, &Value::Null)?], 1_950)?;
    let requests = stage.api.requests().len();
    // Of the last request of a window both would have thought that it was theirs.
    ensure!(stage.statuses(200) == requests && requests > 30, "{:?}", stage.answers());
    ensure!((120..180).contains(&stage.seconds()), "{:?}", stage.answers());
    Ok(())
}

#[test]
fn connections_of_one_process_share_by_key() -> anyhow::Result<()> {
    let stage = Stage::new(950, per_token(2, HOUR))?;
    let pool = Pool::default();
    for (key, asked) in [(1, 2), (1, 2), (2, 4)] {
        let mut side = stage.within(pool.clone(), 1, &keys(&[key]))?;
        side.max_wait = MINUTE;
        let outcome = &stage.run(&[&side])?[0];
        ensure!(outcome.reasons().contains("come back at"), "{outcome:#?}");
        ensure!(stage.statuses(200) == asked && stage.statuses(429) == 0, "key {key}: {:?}", stage.answers());
    }
    ensure!(stage.clock.passed().is_zero(), "nobody waited");
    Ok(())
}
