//! How far the event log has been followed.

use domain_store::Event;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::SystemTime;

/// How many of the newest events a position remembers, to recognise the log again: after a failover
/// to a replica that lost events, new ones get their ids (invariant I11).
pub const TAIL: usize = 32;

/// How far the log has been followed.
///
/// Every change whose event is covered is in the table, and no event will ever appear among the
/// covered ids: each of them has been seen, or settled by a dummy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub(crate) covered: Option<Covered>,
    /// When the log was last seen to agree with it.
    pub(crate) confirmed: SystemTime,
}

impl Position {
    /// The newest covered id; `None` if the log was empty.
    pub fn newest(&self) -> Option<i64> {
        self.covered.as_ref().map(|covered| covered.newest)
    }

    /// The covered ids, as a range; `None` if the log was empty.
    pub fn ids(&self) -> Option<RangeInclusive<i64>> {
        self.covered.as_ref().map(|covered| covered.floor..=covered.newest)
    }
}

/// The covered ids, `floor..=newest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Covered {
    /// The oldest covered id. Older ones may still appear in the log; newer ones may be cleaned.
    pub floor: i64,
    pub newest: i64,
    /// The newest covered events, by id; the last one is `newest`.
    pub tail: VecDeque<Event>,
}

/// How an old position relates to events that were read later.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recognition {
    /// The log is the same; this many of the read events are covered already.
    Same(usize),
    /// All that was remembered has been cleaned away.
    Gone,
    /// The log has other events at the same ids, or misses some: it went backwards.
    Differs,
}

impl Covered {
    pub fn starting_at(event: Event) -> Self {
        Covered { floor: event.id, newest: event.id, tail: VecDeque::from([event]) }
    }

    /// The id from which to read in order to recognise the log.
    pub fn tail_start(&self) -> i64 {
        self.tail.front().map_or(self.newest, |event| event.id)
    }

    /// Compares with the events that the log has now from [`Self::tail_start`] on.
    pub fn recognise(&self, events: &[Event]) -> Recognition {
        let known = events.partition_point(|event| event.id <= self.newest);
        let Some(first) = events[..known].first() else { return Recognition::Gone };
        // The oldest ones may have been cleaned away; from the first that is left on, all count.
        let remembered = self.tail.iter().skip_while(|event| event.id < first.id);
        if remembered.eq(&events[..known]) {
            Recognition::Same(known)
        } else {
            Recognition::Differs
        }
    }

    /// Covers the ids from `floor` on, which is below all that were covered; these are their events.
    pub fn extend_down(&mut self, floor: i64, events: &[Event]) {
        self.floor = floor;
        // A tail with room has all that was covered: those below belong to the newest, too.
        let room = TAIL - self.tail.len().min(TAIL);
        for event in events.iter().rev().take(room) {
            self.tail.push_front(event.clone());
        }
    }

    /// Covers the next id.
    pub fn extend(&mut self, event: Event) {
        self.newest = event.id;
        self.tail.push_back(event);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(ids: std::ops::RangeInclusive<i64>) -> Vec<Event> {
        ids.map(|id| Event { id, domain: format!("d{id}") }).collect()
    }

    fn covered(ids: std::ops::RangeInclusive<i64>) -> Covered {
        let mut events = events(ids).into_iter();
        let mut covered = Covered::starting_at(events.next().unwrap());
        events.for_each(|event| covered.extend(event));
        covered
    }

    #[test]
    fn the_tail_is_bounded_and_ends_with_the_newest() {
        let covered = covered(1..=100);
        assert_eq!((covered.floor, covered.newest), (1, 100));
        assert_eq!(covered.tail.len(), TAIL);
        assert_eq!(covered.tail_start(), 69);
    }

    #[test]
    fn the_tail_is_filled_up_with_what_is_covered_below() {
        let mut covered = covered(100..=110);
        covered.extend_down(1, &events(1..=99));
        assert_eq!((covered.floor, covered.tail.len(), covered.tail_start()), (1, TAIL, 79));
        assert_eq!(covered.recognise(&events(79..=120)), Recognition::Same(32));
        covered.extend_down(-5, &events(-5..=0));
        assert_eq!((covered.floor, covered.tail_start()), (-5, 79));
    }

    #[test]
    fn the_same_log_is_recognised_also_when_partly_cleaned() {
        let covered = covered(1..=100);
        assert_eq!(covered.recognise(&events(69..=105)), Recognition::Same(32));
        assert_eq!(covered.recognise(&events(98..=105)), Recognition::Same(3));
        assert_eq!(covered.recognise(&events(101..=105)), Recognition::Gone);
        assert_eq!(covered.recognise(&[]), Recognition::Gone);
    }

    #[test]
    fn another_log_with_the_same_ids_is_not() {
        let covered = covered(1..=100);
        let mut other = events(69..=105);
        other[31].domain = "other".into();
        assert_eq!(covered.recognise(&other), Recognition::Differs);
        let mut shorter = events(69..=105);
        shorter.remove(31);
        assert_eq!(covered.recognise(&shorter), Recognition::Differs);
    }
}
