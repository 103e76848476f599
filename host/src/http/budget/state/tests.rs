//! What follows from what is known of a budget, without a clock.

use super::*;

const NOW: u64 = 1_700_000_000_000;
const ONE: Claim = Claim { tokens: 1, permits: 1, request: true };
const ME: Asker<'static> = Asker { process: "me", connector: "mine", rates: &[], by_user: &[], concurrency: None };

fn window(limit: u32, remaining: u32, in_ms: u64) -> Vec<(String, Learned)> {
    let learned = Learned { limit: Some(limit), remaining: Some(remaining), reset_at_ms: Some(NOW + in_ms) };
    vec![(String::new(), learned)]
}

#[test]
fn the_last_tenth_of_a_budget_is_spread_over_the_time_that_is_left() {
    let mut state = State::default();
    state.take(&ME, ONE, NOW);
    state.returned("me", NOW);
    state.answered(&window(100, 11, 10_000), NOW, NOW);
    assert_eq!(state.step(&ME, ONE, NOW), Step::Go);
    state.answered(&window(100, 9, 10_000), NOW, NOW);
    let mut now_ms = NOW;
    let mut sent = Vec::new();
    for left in (0..9).rev() {
        let Step::Spread(at_ms) = state.step(&ME, ONE, now_ms) else { panic!("{sent:?}") };
        now_ms = at_ms;
        assert_eq!(state.step(&ME, ONE, now_ms), Step::Go);
        state.take(&ME, ONE, now_ms);
        state.returned("me", now_ms);
        state.answered(&window(100, left, 10_000), now_ms, now_ms);
        sent.push(now_ms - NOW);
    }
    assert_eq!(sent, [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000]);
    assert_eq!(state.step(&ME, ONE, now_ms), Step::Until(NOW + 10_000));
}

#[test]
fn after_a_reset_one_request_finds_out_how_much_there_is() {
    let mut state = State::default();
    state.learn(&window(100, 50, 10_000), NOW, NOW);
    let later = NOW + 10_000;
    assert_eq!(state.step(&ME, ONE, later), Step::Go);
    state.take(&ME, ONE, later);
    assert_eq!(state.step(&ME, ONE, later), Step::Returned);
    state.returned("me", later);
    state.answered(&window(100, 99, 20_000), later, later);
    state.take(&ME, ONE, later);
    assert_eq!(state.step(&ME, ONE, later), Step::Go);
}

#[test]
fn an_answer_to_a_later_request_may_say_that_there_is_more() {
    let mut state = State::default();
    state.learn(&window(100, 0, 60_000), NOW, NOW + 5);
    // Sent before that was known: it may be the older news.
    state.learn(&window(100, 7, 60_000), NOW + 4, NOW + 6);
    assert_eq!(state.status("mine", NOW + 6).remaining, Some(0));
    state.learn(&window(200, 90, 60_000), NOW + 7, NOW + 8);
    assert_eq!(state.status("mine", NOW + 8).remaining, Some(90));
}

#[test]
fn several_windows_hold_together() {
    let mut state = State::default();
    let mut both = window(1_000, 500, 3_600_000);
    both.push(("minute".to_owned(), window(10, 0, 30_000).remove(0).1));
    state.learn(&both, NOW, NOW);
    assert_eq!(state.step(&ME, ONE, NOW), Step::Until(NOW + 30_000));
    assert_eq!(state.step(&ME, ONE, NOW + 30_000), Step::Go);
}

#[test]
fn processes_that_share_a_state_count_each_others_requests_and_rates() {
    let mut state = State::default();
    let slow = ["1/s".parse().unwrap()];
    let other = Asker { process: "other", connector: "theirs", rates: &slow, by_user: &slow, concurrency: None };
    state.learn(&window(100, 1, 600_000), NOW, NOW);
    state.take(&other, ONE, NOW);
    assert_eq!(state.step(&ME, ONE, NOW), Step::Returned);
    assert!(state.others_in_flight("me"));
    state.returned("other", NOW);
    // The other one's rate is shared as well, as long as it is seen.
    assert_eq!(state.step(&ME, ONE, NOW), Step::Until(NOW + 1_000));
    let sloth = ["1/h".parse().unwrap()];
    state.take(&Asker { rates: &sloth, by_user: &[], ..other }, ONE, NOW);
    state.returned("other", NOW);
    assert_eq!(
        state.step(&ME, ONE, NOW),
        Step::Until(NOW + 2_000),
        "what a description says binds its connector alone"
    );
    let mut hours = State::default();
    hours.take(&Asker { rates: &sloth, by_user: &sloth, ..other }, ONE, NOW);
    hours.returned("other", NOW);
    assert_eq!(hours.step(&ME, ONE, NOW), Step::Until(NOW + RATE_SEEN_MS));
    // A process that died in the middle does not hold the others up for ever.
    state.take(&other, ONE, NOW);
    assert_eq!(state.step(&ME, ONE, NOW + FLIGHT_MS), Step::Go);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}

#[test]
fn what_is_waited_for_moves_along_with_a_clock_that_goes_back() {
    const DAY: u64 = 86_400_000;
    let mut state = State::default();
    let slow = ["1/s".parse().unwrap()];
    let me = Asker { rates: &slow, ..ME };
    assert_eq!(state.step(&me, ONE, NOW), Step::Go);
    state.take(&me, ONE, NOW);
    state.returned("me", NOW);
    assert_eq!(state.step(&me, ONE, NOW - 1_000), Step::Until(NOW + 1_000), "a second is no jump");
    assert_eq!(state.step(&me, ONE, NOW - DAY), Step::Until(NOW - DAY + 1_000));
    state.pause(NOW - DAY + 5_000);
    assert_eq!(state.step(&me, ONE, NOW - 2 * DAY), Step::Until(NOW - 2 * DAY + 5_000));
    let mut state = State::default();
    state.step(&ME, ONE, NOW);
    state.learn(&window(100, 0, 60_000), NOW, NOW);
    state.take(&Asker { process: "died", ..ME }, ONE, NOW);
    assert_eq!(state.step(&ME, ONE, NOW - DAY), Step::Returned);
    assert_eq!(state.step(&ME, ONE, NOW - DAY + FLIGHT_MS), Step::Go, "nor does a dead process hold others up");
}

#[test]
fn concurrency_is_kept_to_by_all_together() {
    let mut state = State::default();
    let two = Asker { concurrency: Some(2), ..ME };
    state.take(&two, ONE, NOW);
    state.take(&Asker { process: "other", ..two }, ONE, NOW);
    assert_eq!(state.step(&two, ONE, NOW), Step::Returned);
    state.returned("other", NOW);
    assert_eq!(state.step(&two, ONE, NOW), Step::Go);
}
