//! Corners of the state machine that a database does not show on demand: what changes in the log
//! between two reads of one check.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_store::Event;
use domain_sync::check::{Outcome, PAGE, Reason, Step, start};
use domain_sync::position::Position;
use std::time::{Duration, SystemTime};

const MAX_AGE: Duration = Duration::from_secs(7_200);

fn events(ids: impl IntoIterator<Item = i64>) -> Vec<Event> {
    ids.into_iter().map(|id| Event { id, domain: format!("d{id}") }).collect()
}

fn begin(position: Option<Position>) -> Step {
    start(position, SystemTime::UNIX_EPOCH, MAX_AGE)
}

fn bounds(step: Step, bounds: Option<(i64, i64)>) -> Step {
    let Step::ReadBounds(step) = step else { panic!("{step:?}") };
    step.answer(bounds)
}

fn read(step: Step, ids: impl IntoIterator<Item = i64>) -> Step {
    let Step::ReadEvents(step) = step else { panic!("{step:?}") };
    step.answer(events(ids))
}

fn settle(step: Step, ids: &[i64]) -> Step {
    let Step::SettleGaps(step) = step else { panic!("{step:?}") };
    assert_eq!(step.ids, ids);
    step.answer()
}

fn loaded(step: Step) -> Position {
    let Step::Load(step) = step else { panic!("{step:?}") };
    let position = step.position.clone();
    assert!(matches!(step.answer(), Step::Finished(Outcome::Loaded)));
    position
}

fn finished(step: Step) -> Outcome {
    let Step::Finished(outcome) = step else { panic!("{step:?}") };
    outcome
}

fn position_at(newest: i64) -> Position {
    loaded(read(bounds(begin(None), Some((1, newest))), 1..=newest))
}

#[test]
fn events_cleaned_away_between_two_reads_are_no_gap() {
    // The bounds still had 1, the page begins with 90.
    let step = read(bounds(begin(None), Some((1, 100))), 90..=100);
    assert_eq!(loaded(step).newest(), Some(100));
}

#[test]
fn covered_events_cleaned_away_between_two_reads_need_a_reload() {
    let step = bounds(begin(Some(position_at(10))), Some((1, 20)));
    assert_eq!(finished(read(step, 15..=20)), Outcome::Reload(Reason::TooOld));
}

#[test]
fn events_deleted_between_two_reads_do_not_end_the_check() {
    // The bounds still had 20; the page has no new event.
    let step = bounds(begin(Some(position_at(10))), Some((1, 20)));
    let step = bounds(read(step, 1..=10), Some((5, 10)));
    assert_eq!(finished(read(step, 5..=10)), Outcome::Current);
}

#[test]
fn i4_below_the_covered_ids_nothing_is_settled_in_another_log() {
    let position = || loaded(read(bounds(begin(None), Some((50, 50))), [50]));
    // After a failover 40 came, and at 50 there is something else.
    let step = bounds(begin(Some(position())), Some((40, 50)));
    let Step::ReadEvents(tail) = step else { panic!("{step:?}") };
    assert_eq!((tail.from, tail.upto), (50, 50));
    let other = vec![Event { id: 50, domain: "other.example".into() }];
    assert_eq!(finished(tail.answer(other)), Outcome::Reload(Reason::WentBackwards));
    // In the same log the ids between are gaps.
    let step = read(bounds(begin(Some(position())), Some((40, 50))), [50]);
    let Step::ReadSettings(settings) = read(bounds(step, Some((40, 50))), [40]) else { panic!() };
    let Step::Apply(apply) = settings.answer(vec![]) else { panic!() };
    settle(apply.answer(), &(41..50).collect::<Vec<_>>());
}

#[test]
fn a_load_that_loses_its_place_begins_anew_later() {
    let page = i64::from(PAGE) + 32;
    let step = read(bounds(begin(None), Some((1, 2 * page))), 1..=page);
    assert_eq!(finished(read(step, page + 1..=2 * page)), Outcome::Unsettled);
}

#[test]
fn a_gap_that_never_settles_ends_the_check() {
    let mut step = begin(Some(position_at(3)));
    for _ in 0..=5 {
        step = read(bounds(step, Some((1, 5))), [1, 2, 3, 5]);
        let Step::ReadSettings(settings) = step else { panic!("{step:?}") };
        assert_eq!(settings.domains, ["d5"]);
        let Step::Apply(apply) = settings.answer(vec![]) else { panic!() };
        assert_eq!(apply.position.newest(), Some(3), "I3: the position passed a gap");
        step = settle(apply.answer(), &[4]);
    }
    assert_eq!(finished(step), Outcome::Unsettled);
}

#[test]
fn an_empty_log_is_trusted_only_as_long_as_events_are_kept() {
    let position = loaded(bounds(begin(None), None));
    let later = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let step = start(Some(position.clone()), later(7_199), MAX_AGE);
    assert_eq!(finished(bounds(step, None)), Outcome::Current);
    let step = start(Some(position.clone()), later(7_200), MAX_AGE);
    assert_eq!(finished(step), Outcome::Reload(Reason::TooOld));
    // However short the age: a node checks every 30 s.
    let step = start(Some(position), later(60), Duration::from_secs(1));
    assert_eq!(finished(bounds(step, None)), Outcome::Current);
}

#[test]
fn a_node_away_for_as_long_as_events_are_kept_reloads() {
    // With 50 the only event, 40 may have come and been cleaned away; the log looks the same.
    let position = loaded(read(bounds(begin(None), Some((50, 50))), [50]));
    let later = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let step = start(Some(position.clone()), later(7_199), MAX_AGE);
    assert_eq!(finished(read(bounds(step, Some((50, 50))), [50])), Outcome::Current);
    let step = start(Some(position), later(7_200), MAX_AGE);
    assert_eq!(finished(step), Outcome::Reload(Reason::TooOld));
}

#[test]
fn ids_up_to_the_largest_there_are_do_not_overflow() {
    let step = bounds(begin(None), Some((i64::MIN, i64::MAX)));
    let step = read(step, [i64::MIN, i64::MAX - 1, i64::MAX]);
    let Step::SettleGaps(gaps) = step else { panic!("{step:?}") };
    assert_eq!(gaps.ids.len(), 10_000);
    let position = loaded(read(bounds(begin(None), Some((i64::MAX, i64::MAX))), [i64::MAX]));
    let step = bounds(begin(Some(position)), Some((i64::MAX - 1, i64::MAX)));
    let step = bounds(read(step, [i64::MAX]), Some((i64::MAX - 1, i64::MAX)));
    let Step::ReadEvents(below) = &step else { panic!("{step:?}") };
    assert_eq!((below.from, below.upto), (i64::MAX - 1, i64::MAX - 1));
}
