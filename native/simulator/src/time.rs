//! Time passes: transactions and statements take too long, timers fire, the database is away.

use crate::connection::Failed;
use crate::coverage::Corner;
use crate::violation::Violation;
use crate::world::World;

impl World {
    /// Time passes.
    pub(crate) fn pass(&mut self, seconds: i64) -> Result<(), Violation> {
        self.database.now += seconds;
        self.coverage.add(Corner::TransactionTooLong, self.database.abort_old());
        let now = self.database.now;
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            if let Some(check) = &mut node.check {
                check.job.time_out(now, &mut self.coverage);
            }
            if let Some(audit) = &mut node.audit {
                audit.time_out(now, &mut self.coverage);
            }
            if node.asleep_until > now {
                continue;
            }
            node.fire_timers(&self.database)?;
            let runs = node.service.is_some() && !node.is_restarting && !node.is_reloading();
            if runs && node.check.is_none() {
                node.watch.rests(now)?;
            }
            self.after(number)?;
        }
        Ok(())
    }

    /// The database is away: whatever is tried fails, and requests come all the same.
    pub(crate) fn outage(&mut self, seconds: i64) -> Result<(), Violation> {
        if let Some(foreign) = &mut self.foreign {
            foreign.give_up();
        }
        let back = self.database.now + seconds;
        while self.database.now < back {
            let mut next = back;
            for number in 0..self.nodes.len() {
                if self.nodes[number].asleep_until > self.database.now {
                    continue;
                }
                self.fail_all_of(number)?;
                let timers = self.nodes[number].service.iter().flat_map(|it| it.timers.values());
                next = timers.map(|at| at / 1_000 + 1).fold(next, i64::min);
            }
            let now = self.database.now;
            self.pass(next.max(now + 1) - now)?;
        }
        Ok(())
    }

    /// What a node has in progress fails. It is asked to check, and has to wait.
    fn fail_all_of(&mut self, number: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[number];
        if node.audit.is_some() {
            node.audit_ended(Err(Failed.into()), &self.database)?;
        }
        while let Some(check) = &mut self.nodes[number].check {
            check.job.fail();
            if !self.work(number, usize::MAX)? && !self.nodes[number].take(&self.database)? {
                break;
            }
            self.after(number)?;
        }
        let node = &mut self.nodes[number];
        if node.watch.is_pausing() {
            self.coverage.hit(Corner::RequestInPause);
            node.request_check(&self.database)?;
        }
        self.after(number)
    }
}
