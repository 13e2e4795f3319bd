//! Truncation and failover: what each node must notice, and what the log does not tell it.

use crate::config::Domain;
use crate::coverage::Corner;
use crate::disaster::Lost;
use crate::node::Node;
use crate::world::World;
use std::ops::RangeInclusive;

impl World {
    /// An operator deletes all but the newest events.
    ///
    /// Assumption: not while a node trusts an empty log, or may come to, nor when an event came below
    /// what a node has covered. Cleaners would wait for `event_max_age`, and the node reload then.
    pub(crate) fn truncate(&mut self, keep: usize) -> bool {
        let oldest = self.database.bounds().map_or(i64::MAX, |(oldest, _)| oldest);
        let may_miss = |node: &Node| {
            let begun = node.check.as_ref().map(|check| &check.job.facts.covered);
            begun.is_some_and(Option::is_none)
                || node.covered.as_ref().is_none_or(|covered| oldest < *covered.start())
        };
        let done = !self.nodes.iter().any(may_miss) && self.database.truncate(keep);
        self.coverage.add(Corner::Truncated, u64::from(done));
        self.stain_unnoticeable();
        done
    }

    /// A replica takes over that has not received the newest commits.
    ///
    /// Assumption: a node notices lost events if its position remembers one of them. Those that it
    /// does not remember, an audit finds.
    pub(crate) fn fail_over(&mut self, commits: usize, skipped: i64) -> bool {
        let Some(lost) = self.database.fail_over(commits, skipped) else { return false };
        self.coverage.hit(Corner::Failover);
        let in_check = self.nodes.iter().any(|node| node.check.is_some());
        self.coverage.add(Corner::FailoverInCheck, u64::from(in_check));
        for node in &mut self.nodes {
            let is_overtaken = node.check.as_ref().is_some_and(|check| check.overtaken);
            let remembered = node.remembered().filter(|_| !is_overtaken && !self.config.twins);
            for Lost { ids, domain } in &lost {
                let remembers = |id: &i64| remembered.as_ref().is_some_and(|ids| ids.contains(id));
                if ids.iter().any(remembers) {
                    self.coverage.hit(Corner::LostRemembered);
                } else {
                    self.coverage.hit(Corner::LostForgotten);
                    node.stained.insert(domain);
                }
            }
        }
        if let Some(foreign) = &mut self.foreign {
            foreign.restart();
        }
        self.stain_unnoticeable();
        true
    }

    /// A failover lost an event and all before it that a position remembers, but not one behind it:
    /// that looks as if it had been cleaned. Or a check that was further than the position remembers
    /// it no more.
    pub(crate) fn stain_unnoticeable(&mut self) {
        let database = &self.database;
        for node in self.nodes.iter_mut().filter(|node| node.era < database.era) {
            let (Some(ids), Some(covered)) = (node.remembered(), &node.covered) else { continue };
            let is_left =
                |mut ids: RangeInclusive<i64>| ids.any(|id| database.log.contains_key(&id));
            let looks_cleaned = |(id, _): &&(i64, Domain)| {
                ids.contains(id) && !is_left(*ids.start()..=id - 1) && is_left(id + 1..=*ids.end())
            };
            let is_forgotten = |(id, _): &&(i64, Domain)| covered.contains(id) && !ids.contains(id);
            let lost = database.lost.iter().filter(|it| looks_cleaned(it) || is_forgotten(it));
            node.stained.extend(lost.map(|(_, domain)| *domain));
        }
    }

    /// Events are committed with ids that a node covered, or a check read, before a failover. Where ids
    /// are used again for the same domain, a twin behind them can look like the log of before.
    pub(crate) fn stain_twins(&mut self, ids: &[i64]) {
        let (database, twins) = (&self.database, self.config.twins);
        for node in self.nodes.iter_mut().filter(|_| twins) {
            let facts = node.check.as_ref().map(|check| &check.job.facts);
            let read = facts.filter(|facts| facts.era < database.era).and_then(|facts| facts.read);
            let has_read = |(low, high)| ids.iter().any(|id| (low..=high).contains(id));
            if node.era < database.era && node.covers(ids) || read.is_some_and(has_read) {
                node.stained.extend(database.domain(ids));
            }
        }
    }
}
