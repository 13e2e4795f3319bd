//! A world: a database, nodes and writers, and what each action does to them.

use crate::action::{Action, Fault};
use crate::cluster::{Cluster, Message};
use crate::config::Config;
use crate::coverage::{Corner, Coverage};
use crate::database::Database;
use crate::foreign::Foreign;
use crate::invariants;
use crate::node::Node;
use crate::violation::Violation;
use crate::watch::Question;
use domain_sync::follower::Failure;

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
    /// The messages between them.
    pub cluster: Cluster,
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
            cluster: Cluster::new(config.nodes.len()),
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
        let done = self.try_step(action, node);
        // That of an action that breaks something, too.
        if *done.as_ref().unwrap_or(&true) {
            self.trace(action, node);
        }
        done
    }

    fn try_step(&mut self, action: Action, node: Option<usize>) -> Result<bool, Violation> {
        let done = match node {
            Some(node) => self.on_node(action, node)?,
            None => self.on_database(action)?,
        };
        if let Some(node) = node.filter(|_| done) {
            self.after(node)?;
            self.digest_node(node);
        }
        Ok(done)
    }

    fn trace(&mut self, action: Action, node: Option<usize>) {
        let Some(story) = self.story.as_mut() else { return };
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
            Action::Check { .. } => {
                coverage.add(Corner::RequestInPause, u64::from(node.watch.is_pausing()));
                node.request_check(database)?;
                true
            }
            Action::Deliver { from, .. } => return self.deliver(from, number),
            Action::Ping { .. } | Action::Sync { .. } | Action::Verify { .. }
                if node.service.is_none() =>
            {
                false
            }
            Action::Ping { .. } => node.ask(Question::Ping, database).map(|_| true)?,
            Action::Verify { .. } => node.ask(Question::Verify, database).map(|_| true)?,
            Action::Sync { .. } => self.cluster.sync(number),
            Action::Answer { fault, rows, .. } => match &mut node.check {
                Some(check) => check.job.answer(database, coverage, fault, rows)?,
                None => false,
            },
            Action::AnswerAudit { fault, rows, .. } => {
                return self.answer_audit(number, fault, rows);
            }
            Action::Take { .. } => node.take(database)?,
            Action::Reload { has_effect, .. } => {
                let done = node.reload(has_effect, database)?;
                if done && !has_effect {
                    coverage.hit(Corner::ReloadWithoutEffect);
                    // It answers as well as it can, which may not be good enough.
                    self.cluster.service_is(number, None);
                }
                done
            }
            Action::Work { limit, .. } => return self.work(number, limit),
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
            _ => return self.mishap(action, number),
        })
    }

    pub(crate) fn work(&mut self, number: usize, limit: usize) -> Result<bool, Violation> {
        let node = &mut self.nodes[number];
        let before = node.covered.clone();
        let done = node.work(&self.database, limit, &mut self.coverage)?;
        if node.covered != before {
            invariants::advanced(node, before, &self.database)?;
            self.stain_unnoticeable();
        }
        Ok(done)
    }

    fn deliver(&mut self, from: usize, to: usize) -> Result<bool, Violation> {
        let (node, database) = (&mut self.nodes[to], &self.database);
        let Some(message) = self.cluster.deliver(from, to) else { return Ok(false) };
        match message {
            // To nobody.
            _ if node.service.is_none() => {}
            Message::CheckForUpdates => {
                self.coverage.add(Corner::RequestInPause, u64::from(node.watch.is_pausing()));
                node.request_check(database)?;
            }
            Message::Ping(number) if self.cluster.expects(to, number) => {
                let caller = node.ask(Question::Ping, database)?;
                self.cluster.pinged(to, caller);
            }
            Message::Ping(_) => {}
        }
        Ok(true)
    }

    /// Something happens to the processes of a node.
    fn mishap(&mut self, action: Action, number: usize) -> Result<bool, Violation> {
        let (database, coverage) = (&self.database, &mut self.coverage);
        let node = &mut self.nodes[number];
        match action {
            _ if node.service.is_none() => return Ok(false),
            Action::KillService { .. } => {
                coverage.add(Corner::ServiceKilled, u64::from(node.check.is_some()));
                node.kill_service();
                node.start_service(database)?;
            }
            Action::StopService { .. } => {
                // It takes the order when the core has answered.
                if node.applying.as_ref().is_some_and(|applying| !applying.is_orphan) {
                    return Ok(false);
                }
                coverage.hit(Corner::CleanStop);
                node.stop_service();
            }
            Action::Restart { .. } => {
                coverage.hit(Corner::Restart);
                node.restart();
            }
            Action::KillCore { .. } => {
                let pending = node.routing.pending_len() > 0;
                coverage.add(Corner::CoreKilled, u64::from(node.applying.is_some()));
                coverage.add(Corner::CoreKilledPending, u64::from(pending));
                node.kill_core(database)?;
            }
            Action::FreshTable { .. } => {
                coverage.hit(Corner::FreshTable);
                node.fresh_table(database)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn answer_audit(&mut self, node: usize, fault: Fault, rows: usize) -> Result<bool, Violation> {
        let (database, coverage) = (&mut self.database, &mut self.coverage);
        let node = &mut self.nodes[node];
        let Some(audit) = &mut node.audit else { return Ok(false) };
        let answered = audit.answer(database, coverage, fault, rows)?;
        let Some(ended) = audit.ended else { return Ok(answered) };
        match ended {
            Ok(true) => coverage.hit(Corner::AuditSuspicious),
            Ok(false) => coverage.hit(Corner::AuditSame),
            Err(_) => {}
        }
        node.audit_ended(ended.map_err(Failure::from), database)?;
        Ok(true)
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
            Action::Wait { seconds } => return self.pass(seconds).map(|()| true),
            Action::Outage { seconds } => return self.outage(seconds).map(|()| true),
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
        if let Some(newest) = ids.iter().max().filter(|_| heard) {
            self.cluster.broadcast(writer % self.nodes.len(), self.database.era, *newest);
        }
        self.stain_twins(&ids);
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
}

fn node_of(action: Action) -> Option<usize> {
    match action {
        Action::Check { node }
        | Action::Deliver { to: node, .. }
        | Action::Ping { node }
        | Action::Sync { node }
        | Action::Verify { node }
        | Action::Reload { node, .. }
        | Action::Answer { node, .. }
        | Action::Take { node }
        | Action::Work { node, .. }
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
