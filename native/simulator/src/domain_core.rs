//! What `mongoose_domain_core` does: applies batches in slices, and notifies others of what changed.

use crate::coverage::{Corner, Coverage};
use crate::database::Database;
use crate::node::{Node, fresh_routing};
use crate::notified::{Notified, is_quiet, is_quiet_addition};
use crate::violation::{Violation, violation};
use domain_sync::follower::Applied;
use domain_table::Name;

impl Node {
    /// It does a piece of its work; `false` if there is none.
    pub fn work(
        &mut self,
        database: &Database,
        limit: usize,
        coverage: &mut Coverage,
    ) -> Result<bool, Violation> {
        if self.notify(limit, coverage)? {
            return Ok(true);
        }
        let Some(applying) = self.applying.take() else { return Ok(false) };
        if !applying.batch.is_for(&self.routing) {
            coverage.hit(Corner::Stale);
            if !applying.is_orphan {
                self.batch_applied(Applied::TableReplaced, database)?;
            }
            return Ok(true);
        }
        let is_late = applying.forgotten != self.routing.times_forgotten();
        let stood = self.routing.position();
        let more = applying.batch.apply(limit);
        if is_late && stood != self.routing.position() {
            let text = format!("node {}: a late batch brought back a position", self.number);
            return Err(violation("restart loads everything", text));
        }
        coverage.add(Corner::LateSlice, u64::from(applying.is_orphan));
        let covered = self.covers_now();
        if covered != self.covered {
            (self.covered, self.era) = (covered, applying.era);
            if let Some(check) = self.check.as_mut().filter(|_| applying.is_orphan) {
                check.overtaken = true;
                coverage.hit(Corner::Overtaken);
            }
        }
        coverage.add(Corner::LateBatch, u64::from(!more && is_late));
        if applying.is_orphan {
            return Ok(true);
        }
        if more {
            self.applying = Some(applying);
        } else {
            self.batch_applied(Applied::Done, database)?;
        }
        Ok(true)
    }

    /// Notifies others of some transitions; `false` if there are none.
    fn notify(&mut self, limit: usize, coverage: &mut Coverage) -> Result<bool, Violation> {
        let (mut left_out, computes) = (0, self.computes_subdomains());
        if self.notifying.is_empty() {
            let (limit, before) = (limit.max(2), self.routing.acknowledged());
            let first = self.routing.pending(limit);
            let is_quiet = |domain: &Name, _: &Name| computes && is_quiet(domain);
            self.notifying = self.routing.pending_told(limit, is_quiet).into();
            left_out = (self.routing.acknowledged() - before) as usize;
            for transition in first.iter().take(left_out) {
                self.notified.leave_out(transition)?;
            }
            coverage.add(Corner::QuietAddition, left_out as u64);
        }
        let done = self.notifying.len().min(limit);
        for transition in self.notifying.drain(..done) {
            let replaced = transition.removed.is_some() && transition.added.is_some();
            coverage.add(Corner::HostTypeReplaced, u64::from(replaced));
            if computes && is_quiet_addition(&transition) {
                let text = format!("node {}: notified of a quiet addition", self.number);
                return Err(violation("I7 hooks", text));
            }
            self.notified.notify(&transition)?;
            self.routing.acknowledge(1);
        }
        Ok(done + left_out > 0)
    }

    /// Every other node computes the names below its domains.
    fn computes_subdomains(&self) -> bool {
        self.number % 2 == 1
    }

    /// It is killed, and its successor takes the table over and requests a check.
    pub fn kill_core(&mut self, database: &Database) -> Result<(), Violation> {
        self.notifying.clear();
        if self.applying.take().is_some_and(|applying| !applying.is_orphan) {
            self.batch_applied(Applied::NoTable, database)?;
        }
        self.request_check(database)
    }

    /// It is stopped and started.
    pub fn fresh_table(&mut self, database: &Database) -> Result<(), Violation> {
        self.routing = fresh_routing(&self.config);
        (self.notified, self.is_loaded, self.covered) = (Notified::default(), false, None);
        self.stained.clear();
        self.kill_core(database)
    }
}
