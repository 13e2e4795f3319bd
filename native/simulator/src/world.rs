//! A world: a database, nodes and writers, and what each action does to them.

use crate::action::{Action, Fault};
use crate::config::Config;
use crate::coverage::{Corner, Coverage};
use crate::database::Database;
use crate::foreign::Foreign;
use crate::invariants::{self, Violation};
use crate::node::{Check, Node};
use domain_sync::check::{Outcome, Reason};
use domain_sync::driver::Ended;

/// The size of a hole worth counting: a sequence's usual jump after a crash, as operators see it.
pub const HOLE: i64 = 50_000;

/// A world.
pub struct World {
    /// What the seed decided.
    pub config: Config,
    /// The database.
    pub database: Database,
    /// The nodes of production.
    pub nodes: Vec<Node>,
    /// The node with other code.
    pub foreign: Option<Foreign>,
    /// What has been reached.
    pub coverage: Coverage,
    /// A number that says whether two runs were the same.
    pub digest: u64,
    /// How many actions were possible.
    pub done: usize,
    /// What happened, for people, if they want to know.
    pub story: Option<Vec<String>>,
}

impl World {
    /// At its beginning.
    pub fn new(config: &Config) -> Self {
        let nodes = config.nodes.iter().enumerate().map(|(number, node)| Node::new(number, node));
        World {
            database: Database::new(config),
            nodes: nodes.collect(),
            foreign: config.foreign.as_ref().map(Foreign::new),
            coverage: Coverage::default(),
            digest: 0,
            done: 0,
            story: None,
            config: config.clone(),
        }
    }

    /// Does an action, and checks what must hold. `false` if it is not possible now.
    pub fn step(&mut self, action: Action) -> Result<bool, Violation> {
        self.database.step += 1;
        let node = node_of(action);
        if node.is_some_and(|node| self.nodes[node].asleep_until > self.database.now) {
            return Ok(false);
        }
        let done = match node {
            Some(node) => self.on_node(action, node)?,
            None => self.on_database(action)?,
        };
        if let Some(node) = node.filter(|_| done) {
            let now = self.database.now;
            if let Some(check) = &mut self.nodes[node].check {
                check.job.poll(now);
                let has_room = check.job.is_waiting() || check.job.ended.is_some();
                self.coverage.add(Corner::Waiting, u64::from(!has_room));
            }
            self.digest_node(node);
        }
        self.tell(action, done, node);
        node.filter(|_| done).map_or(Ok(()), |node| invariants::always(&self.nodes[node]))?;
        Ok(done)
    }

    fn tell(&mut self, action: Action, done: bool, node: Option<usize>) {
        let Some(story) = self.story.as_mut().filter(|_| done) else { return };
        let state = match node {
            Some(node) => self.nodes[node].describe(),
            None => format!("log {:?}", self.database.bounds()),
        };
        story.push(format!("{action:?}  -- {state}"));
    }

    fn digest_node(&mut self, node: usize) {
        let node = &self.nodes[node];
        let newest = node.covered.as_ref().map_or(-1, |covered| *covered.end());
        let parts = [node.number as u64, newest as u64, node.routing.table().len() as u64];
        for part in parts {
            self.digest = (self.digest.rotate_left(5) ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn on_node(&mut self, action: Action, number: usize) -> Result<bool, Violation> {
        let (database, coverage) = (&mut self.database, &mut self.coverage);
        let node = &mut self.nodes[number];
        Ok(match action {
            Action::Check { .. } => node.ask_for_check(database),
            Action::Answer { fault, rows, .. } => match &mut node.check {
                Some(check) => check.job.answer(database, coverage, fault, rows)?,
                None => false,
            },
            Action::AnswerAudit { fault, rows, .. } => {
                return self.answer_audit(number, fault, rows);
            }
            Action::Take { .. } => return self.take(number),
            Action::Work { limit, .. } => {
                let before = node.covered.clone();
                let done = node.work(database, limit, coverage)?;
                if node.covered != before {
                    self.stain_unnoticeable();
                }
                done
            }
            Action::Audit { .. } => node.start_audit(database),
            Action::OtherCaller { insert, .. } => {
                coverage.hit(Corner::OtherCaller);
                node.other_caller(insert)
            }
            Action::TamperTable { domain, .. } => {
                coverage.hit(Corner::TamperedTable);
                matches!(node.routing.writer().delete(domain.as_bytes()), Ok(Some(_)))
            }
            Action::Sleep { seconds, .. } if node.is_idle() => {
                node.asleep_until = database.now + seconds;
                coverage.add(Corner::Sleep, u64::from(seconds > database.max_age));
                true
            }
            _ => self.mishap(action, number),
        })
    }

    /// Something happens to the processes of a node.
    fn mishap(&mut self, action: Action, number: usize) -> bool {
        let (database, coverage) = (&self.database, &mut self.coverage);
        let node = &mut self.nodes[number];
        match action {
            Action::KillService { .. } => {
                coverage.add(Corner::ServiceKilled, u64::from(node.check.is_some()));
                node.kill_service();
                node.ask_for_check(database);
            }
            Action::StopService { .. } => {
                // It takes the order when the core has answered.
                if node.applying.as_ref().is_some_and(|applying| !applying.is_orphan) {
                    return false;
                }
                coverage.hit(Corner::CleanStop);
                node.stop_service();
            }
            Action::Restart { .. } => {
                coverage.hit(Corner::Restart);
                node.restart();
            }
            Action::KillCore { .. } => {
                let untold = node.routing.pending_len() > 0;
                coverage.add(Corner::CoreKilled, u64::from(node.applying.is_some()));
                coverage.add(Corner::CoreKilledUntold, u64::from(untold));
                node.kill_core(database);
            }
            Action::FreshTable { .. } => {
                coverage.hit(Corner::FreshTable);
                node.fresh_table(database);
            }
            _ => return false,
        }
        true
    }

    fn answer_audit(&mut self, node: usize, fault: Fault, rows: usize) -> Result<bool, Violation> {
        let (database, coverage) = (&mut self.database, &mut self.coverage);
        let node = &mut self.nodes[node];
        let Some(audit) = &mut node.audit else { return Ok(false) };
        let answered = audit.answer(database, coverage, fault, rows)?;
        if let Some(ended) = audit.ended {
            node.audit = None;
            match ended {
                Ok(true) => {
                    coverage.hit(Corner::AuditSuspicious);
                    node.ask_for_check(database);
                }
                Ok(false) => coverage.hit(Corner::AuditSame),
                Err(_) => {}
            }
            return Ok(true);
        }
        Ok(answered)
    }

    /// The service of a node takes its next message: perhaps the end of the check.
    fn take(&mut self, number: usize) -> Result<bool, Violation> {
        match self.nodes[number].take(&self.database) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(check)) => self.ended(number, &check).map(|()| true),
        }
    }

    fn ended(&mut self, number: usize, check: &Check) -> Result<(), Violation> {
        let is_ours = std::sync::Arc::ptr_eq(&check.routing, &self.nodes[number].routing);
        let (database, coverage) = (&self.database, &mut self.coverage);
        let node = &mut self.nodes[number];
        match &check.job.ended {
            Some(Ok(Ended::With(Outcome::Current))) => {
                coverage.hit(Corner::Current);
                if is_ours {
                    invariants::current(node, check, database)?;
                }
                node.check_again(database, false);
            }
            Some(Ok(Ended::With(Outcome::Loaded))) => {
                coverage.hit(Corner::Load);
                node.is_loaded |= is_ours;
                if is_ours && check.job.facts.era == database.era {
                    node.stained.clear();
                }
                node.check_again(database, true);
            }
            Some(Ok(Ended::With(Outcome::Reload(reason)))) => {
                let is_empty = check.job.facts.covered.is_none();
                match reason {
                    Reason::TooOld => {
                        coverage.hit(Corner::TooOld);
                        coverage.add(Corner::EmptyTooOld, u64::from(is_empty));
                    }
                    Reason::WentBackwards => coverage.hit(Corner::WentBackwards),
                }
                node.restart();
            }
            Some(Ok(Ended::Differs(differences))) => {
                coverage.hit(Corner::AuditConfirmed);
                if is_ours && check.job.facts.era == database.era {
                    invariants::differs(node, differences, &self.config)?;
                }
                node.restart();
            }
            Some(Ok(Ended::With(Outcome::Unsettled))) => {
                coverage.hit(Corner::Unsettled);
                node.fail_check();
            }
            _ => node.fail_check(),
        }
        Ok(())
    }

    fn on_database(&mut self, action: Action) -> Result<bool, Violation> {
        let (database, coverage) = (&mut self.database, &mut self.coverage);
        Ok(match action {
            Action::Begin { writer, domain, change, late } => {
                database.begin(writer, domain, change, late)
            }
            Action::Commit { writer, heard } => return self.commit(writer, heard),
            Action::Rollback { writer } => {
                let done = database.abort(writer);
                coverage.add(Corner::Rollback, u64::from(done));
                done
            }
            Action::Foreign => match &mut self.foreign {
                Some(foreign) => foreign.step(database, coverage).is_some(),
                None => false,
            },
            Action::Wait { seconds } => self.wait(seconds),
            Action::Outage { seconds } => self.outage(seconds),
            Action::Note => database.note(),
            Action::Clean { limit } => {
                let done = database.clean(limit)?;
                coverage.add(Corner::Cleaned, u64::from(done));
                self.stain_unnoticeable();
                done
            }
            Action::Truncate { keep } => self.truncate(keep),
            Action::Jump { ids } => {
                database.jump(ids);
                coverage.add(Corner::Jump, u64::from(ids >= HOLE));
                true
            }
            Action::Failover { commits, skipped } => self.fail_over(commits, skipped),
            Action::Tamper { domain } => {
                coverage.hit(Corner::Tampered);
                database.tamper(domain);
                true
            }
            _ => false,
        })
    }

    fn commit(&mut self, writer: usize, heard: bool) -> Result<bool, Violation> {
        let in_flight = self.database.is_in_flight(writer);
        let Some(ids) = self.database.commit(writer) else {
            self.coverage.add(Corner::DummyFirst, u64::from(in_flight));
            return Ok(in_flight);
        };
        self.coverage.add(Corner::CommitUnheard, u64::from(!heard));
        let (nodes, database) = (self.nodes.iter_mut(), &self.database);
        for node in nodes.filter(|node| node.covers(&ids) && node.era == database.era) {
            if !database.disturbed {
                return Err(invariants::committed(node, &ids));
            }
            // What it covers there was lost, and the log does not tell.
            node.stained.extend(database.domain(&ids));
        }
        Ok(true)
    }

    fn wait(&mut self, seconds: i64) -> bool {
        self.database.now += seconds;
        self.coverage.add(Corner::TransactionTooLong, self.database.abort_old());
        let now = self.database.now;
        for node in &mut self.nodes {
            if let Some(check) = &mut node.check {
                check.job.time_out(now, &mut self.coverage);
            }
            if let Some(audit) = &mut node.audit {
                audit.time_out(now, &mut self.coverage);
            }
        }
        true
    }

    /// All that is in progress fails.
    fn outage(&mut self, seconds: i64) -> bool {
        for node in &mut self.nodes {
            node.check.iter_mut().for_each(|check| check.job.fail());
            node.audit = None;
        }
        if let Some(foreign) = &mut self.foreign {
            foreign.give_up();
        }
        self.wait(seconds)
    }
}

fn node_of(action: Action) -> Option<usize> {
    match action {
        Action::Check { node }
        | Action::Answer { node, .. }
        | Action::Take { node }
        | Action::Work { node, .. }
        | Action::Audit { node }
        | Action::AnswerAudit { node, .. }
        | Action::KillService { node }
        | Action::StopService { node }
        | Action::Restart { node }
        | Action::KillCore { node }
        | Action::FreshTable { node }
        | Action::Sleep { node, .. }
        | Action::OtherCaller { node, .. }
        | Action::TamperTable { node, .. } => Some(node),
        _ => None,
    }
}
