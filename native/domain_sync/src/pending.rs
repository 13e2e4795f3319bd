//! Transitions that others have not been notified of yet.

use domain_table::{Name, Table};
use std::collections::VecDeque;
use std::hash::Hash;
use std::num::NonZeroU32;

/// What became visible in the table: a domain lost a host type, got one, or both. Others are
/// notified of the loss first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The domain.
    pub domain: Name,
    /// The host type it had.
    pub removed: Option<Name>,
    /// The host type it has now.
    pub added: Option<Name>,
}

/// A queue of transitions, 32 bytes each: after a load there are as many as domains.
///
/// It consists of pieces, so that it grows without moving what is there, and shrinks.
#[derive(Default)]
pub(crate) struct Pending {
    pieces: VecDeque<VecDeque<Packed>>,
    len: usize,
    acknowledged: u64,
}

/// A transition with the numbers of host types in the place of their names.
struct Packed {
    domain: Name,
    removed: Option<NonZeroU32>,
    added: Option<NonZeroU32>,
}

impl Pending {
    const PIECE: usize = 1024;

    pub fn push<S: Clone + Eq + Hash>(
        &mut self,
        table: &Table<S>,
        domain: &str,
        removed: Option<&Name>,
        added: Option<&Name>,
    ) {
        let number = |name: Option<&Name>| table.host_type_number(name?.as_bytes());
        let packed =
            Packed { domain: domain.into(), removed: number(removed), added: number(added) };
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < Self::PIECE => piece.push_back(packed),
            _ => self.pieces.push_back(VecDeque::from([packed])),
        }
        self.len += 1;
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The first transitions, in order.
    pub fn first<S: Clone + Eq + Hash>(&self, table: &Table<S>, limit: usize) -> Vec<Transition> {
        let name = |number: Option<NonZeroU32>| table.host_type_name(number?).cloned();
        let unpacked = self.pieces.iter().flatten().take(limit).map(|packed| Transition {
            domain: packed.domain.clone(),
            removed: name(packed.removed),
            added: name(packed.added),
        });
        unpacked.collect()
    }

    /// The same, but for quiet additions: those of which nobody has to be notified. Drops those that
    /// come first, at most `limit`, and returns what comes before the next one.
    pub fn first_told<S: Clone + Eq + Hash>(
        &mut self,
        table: &Table<S>,
        limit: usize,
        is_quiet: impl Fn(&Name, &Name) -> bool,
    ) -> Vec<Transition> {
        let is_told = |packed: &Packed| {
            let added = packed.added.filter(|_| packed.removed.is_none());
            let added = added.and_then(|number| table.host_type_name(number));
            added.is_none_or(|host_type| !is_quiet(&packed.domain, host_type))
        };
        let all = || self.pieces.iter().flatten();
        let quiet = all().take(limit).take_while(|packed| !is_told(packed)).count();
        let told = all().skip(quiet).take(limit).take_while(|packed| is_told(packed)).count();
        self.acknowledge(quiet);
        self.first(table, told)
    }

    /// Drops the first transitions.
    pub fn acknowledge(&mut self, count: usize) {
        let count = count.min(self.len);
        self.len -= count;
        self.acknowledged += count as u64;
        let mut left = count;
        while let Some(piece) = self.pieces.front_mut().filter(|piece| piece.len() <= left) {
            left -= piece.len();
            self.pieces.pop_front();
        }
        if let Some(piece) = self.pieces.front_mut() {
            piece.drain(..left);
        }
    }

    /// How many were dropped since the table was made.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_additions_are_dropped_and_nothing_else() {
        let table = Table::<u32>::new([], ["a".into()]);
        let a = Name::from("a");
        let is_quiet =
            |domain: &Name, host_type: &Name| host_type == "a" && domain.starts_with('q');
        let mut pending = Pending::default();
        let mut push = |domain: &str, removed: bool, added: bool| {
            pending.push(&table, domain, Some(&a).filter(|_| removed), Some(&a).filter(|_| added));
        };
        push("q1", false, true);
        push("q2", false, true);
        push("q1", true, false);
        push("told", false, true);
        push("q3", false, true);
        push("q4", true, true);
        let mut next = |limit, done: usize| {
            pending.acknowledge(done);
            let told = pending.first_told(&table, limit, is_quiet);
            let domains: Vec<_> = told.into_iter().map(|transition| transition.domain).collect();
            (domains, pending.len(), pending.acknowledged())
        };
        assert_eq!(next(1, 0), (vec![], 5, 1));
        assert_eq!(next(9, 0), (vec!["q1".into(), "told".into()], 4, 2));
        assert_eq!(next(9, 0), (vec!["q1".into(), "told".into()], 4, 2));
        assert_eq!(next(9, 2), (vec!["q4".into()], 1, 5));
        assert_eq!(next(9, 1), (vec![], 0, 6));
    }

    #[test]
    fn transitions_leave_in_the_order_in_which_they_came_and_are_counted() {
        let table = Table::<u32>::new([], ["a".into(), "b".into()]);
        let (a, b) = (Name::from("a"), Name::from("b"));
        let mut pending = Pending::default();
        for number in 0..3_000 {
            pending.push(&table, &number.to_string(), Some(&a), Some(&b).filter(|_| number > 0));
        }
        let first = Transition { domain: "0".into(), removed: Some(a.clone()), added: None };
        let second = Transition { domain: "1".into(), removed: Some(a), added: Some(b) };
        assert_eq!(pending.first(&table, 2), [first, second]);
        let mut next = 0;
        for count in [0, 1, 1_023, 1_024, 500, 2, 10_000] {
            let domain = pending.first(&table, 1).pop().map(|first| first.domain);
            assert_eq!(domain, Some(next.to_string().into()));
            pending.acknowledge(count);
            next = (next + count).min(3_000);
            assert_eq!((pending.len(), pending.acknowledged()), (3_000 - next, next as u64));
        }
        assert_eq!(pending.first(&table, 1), []);
        assert!(pending.pieces.is_empty());
    }
}
