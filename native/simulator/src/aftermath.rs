//! What came of an action on a node: checks that are over, callers that are answered, and what must
//! hold now.

use crate::coverage::Corner;
use crate::invariants;
use crate::node::Check;
use crate::violation::Violation;
use crate::world::World;
use domain_sync::check::Reason;
use domain_sync::follower::{Answer, CheckEnd};

impl World {
    /// Something happened to a node.
    pub(crate) fn after(&mut self, number: usize) -> Result<(), Violation> {
        for check in std::mem::take(&mut self.nodes[number].over) {
            self.is_over(number, &check)?;
        }
        let node = &mut self.nodes[number];
        self.cluster.service_is(number, node.service.as_ref().map(|_| node.source));
        for (caller, answer) in std::mem::take(&mut node.watch.answered) {
            let covered = node.covered.as_ref().map(|covered| *covered.end());
            let era = self.database.era;
            let covered = covered.filter(|_| node.era == era && !self.database.disturbed);
            let synced = self.cluster.answered(number, caller, era, covered)?;
            self.coverage.add(Corner::Synced, u64::from(synced));
            match answer {
                Answer::Pong => self.coverage.hit(Corner::Pong),
                Answer::Verified(Ok(())) => self.coverage.hit(Corner::Verified),
                Answer::Verified(Err(failure)) if failure.reason == "busy" => {
                    self.coverage.hit(Corner::AuditGivenUp);
                }
                Answer::Verified(Err(_)) => self.coverage.hit(Corner::VerifyFailed),
                Answer::Differs(_) | Answer::FirstLoadEnded => {}
            }
        }
        if let Some(check) = &mut node.check {
            check.job.poll(self.database.now);
            let has_room = check.job.is_waiting() || check.job.ended.is_some();
            self.coverage.add(Corner::Waiting, u64::from(!has_room));
        }
        invariants::always(node)
    }

    /// A check of a node is over.
    fn is_over(&mut self, number: usize, check: &Check) -> Result<(), Violation> {
        let (database, coverage) = (&self.database, &mut self.coverage);
        let node = &mut self.nodes[number];
        let same_log = check.job.facts.era == database.era;
        match &check.end {
            Some(CheckEnd::Current) => {
                coverage.hit(Corner::Current);
                invariants::current(node, check, database)?;
            }
            Some(CheckEnd::Loaded) => {
                coverage.hit(Corner::Load);
                node.is_loaded = true;
                if same_log {
                    node.stained.clear();
                }
            }
            Some(CheckEnd::Reload(Reason::TooOld)) => {
                let is_empty = check.job.facts.covered.is_none();
                coverage.hit(Corner::TooOld);
                coverage.add(Corner::EmptyTooOld, u64::from(is_empty));
            }
            Some(CheckEnd::Reload(Reason::WentBackwards)) => coverage.hit(Corner::WentBackwards),
            Some(CheckEnd::Differs(differences)) => {
                coverage.hit(Corner::AuditConfirmed);
                if same_log {
                    invariants::differs(node, differences, &self.config)?;
                }
            }
            Some(CheckEnd::Failed(failure)) => {
                coverage.hit(Corner::FailedCheck);
                coverage.add(Corner::Unsettled, u64::from(failure.reason == "unsettled"));
            }
            Some(CheckEnd::TableReplaced | CheckEnd::NoTable) | None => {}
        }
        Ok(())
    }
}
