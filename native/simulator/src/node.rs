//! A node of production: what `service_domain_db` and `mongoose_domain_core` do, around the very
//! table, position and driver.
//!
//! The service runs one check after the other and hands each batch to the core, which applies it in
//! slices and tells others what changed.

use crate::config::{CHANGING, Domain, HostType, NodeConfig, OTHER};
use crate::connection::Connection;
use crate::coverage::{Corner, Coverage};
use crate::database::Database;
use crate::invariants::{self, Told, Violation, violation};
use crate::job::{Facts, Job};
use domain_sync::batch::Batch;
use domain_sync::driver::{Ended, audit, run};
use domain_sync::ignored::Ignored;
use domain_sync::pending::Transition;
use domain_sync::position::{Position, TAIL};
use domain_sync::routing::Routing;
use domain_table::{Name, Table};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// In production the pid of the service.
pub type Source = u64;

type Batches = Rc<RefCell<VecDeque<Batch<Source>>>>;

/// A check that runs.
pub struct Check {
    /// The driver.
    pub job: Job<Ended>,
    /// Batches in the service's mailbox.
    pub batches: Batches,
    /// The table it is for.
    pub routing: Arc<Routing<Source>>,
    /// Has the position advanced since by the last slice of a killed service? This check goes on from
    /// the older one, sets it back, and does not compare what came between.
    pub overtaken: bool,
    /// How often the position had been forgotten when it began.
    forgotten: u64,
}

/// A batch that the core applies.
pub struct Applying {
    /// The batch.
    pub batch: Batch<Source>,
    /// The era of the database when its check began.
    pub era: u32,
    forgotten: u64,
    /// Is the service gone that asked for it? Then the slice in the mailbox is the last.
    pub is_orphan: bool,
}

/// A node.
pub struct Node {
    /// Its number.
    pub number: usize,
    /// Its static domains and allowed host types.
    pub config: NodeConfig,
    /// Its table and position.
    pub routing: Arc<Routing<Source>>,
    /// The service that runs now; a new one has a new number.
    service: Source,
    /// The check that runs.
    pub check: Option<Check>,
    /// The audit that runs.
    pub audit: Option<Job<bool>>,
    /// Was another check asked for?
    again: bool,
    /// Has somebody called `restart/0`?
    restarting: bool,
    /// What the core works on.
    pub applying: Option<Applying>,
    /// Transitions that the core is telling.
    telling: VecDeque<Transition>,
    /// What it has told.
    pub told: Told,
    /// Has the table been loaded since it was made?
    pub is_loaded: bool,
    /// Until when it sleeps.
    pub asleep_until: i64,
    /// The covered ids, as last seen, and the era of their check.
    pub covered: Option<RangeInclusive<i64>>,
    /// The era of the database that the position belongs to.
    pub era: u32,
    /// Domains of which the table may show a change that a failover lost, though the
    /// position does not remember its event. Nothing in the log tells; an audit does.
    pub stained: BTreeSet<Domain>,
}

fn name(text: &str) -> Name {
    text.into()
}

fn fresh_routing(config: &NodeConfig) -> Arc<Routing<Source>> {
    let statics = config.statics.iter().map(|(domain, host_type)| (name(domain), name(host_type)));
    let allowed = config.allowed.iter().map(|host_type| name(host_type));
    Arc::new(Routing::new(Table::new(statics, allowed)))
}

impl Node {
    /// A node that has not started its service yet.
    pub fn new(number: usize, config: &NodeConfig) -> Self {
        Node {
            number,
            routing: fresh_routing(config),
            config: config.clone(),
            service: 1,
            check: None,
            audit: None,
            again: false,
            restarting: false,
            applying: None,
            telling: VecDeque::new(),
            told: Told::default(),
            is_loaded: false,
            asleep_until: 0,
            covered: None,
            era: 0,
            stained: BTreeSet::new(),
        }
    }

    /// The host type of a domain here.
    pub fn host_type(&self, domain: Domain) -> Option<HostType> {
        let name = self.routing.table().host_type(domain.as_bytes())?;
        let known = self.config.statics.iter().map(|(_, host_type)| host_type);
        let mut known = known.chain(&self.config.allowed);
        Some(known.find(|host_type| *host_type == name).unwrap_or(&"unknown"))
    }

    /// Where it stands, for people.
    pub fn describe(&self) -> String {
        let position = self.routing.position();
        let position = match position.map(|position| position.ids()) {
            None => "nowhere".into(),
            Some(None) => "at an empty log".into(),
            Some(Some(ids)) => format!("at {ids:?}"),
        };
        let batches = self.check.as_ref().map_or(0, |check| check.batches.borrow().len());
        let job = self.check.as_ref().map_or("idle".into(), |check| check.job.describe());
        let domains: Vec<_> =
            CHANGING.into_iter().filter_map(|d| Some((d, self.host_type(d)?))).collect();
        format!("{position}, {batches} batches, {job}, {domains:?}")
    }

    /// The ids of the events by which the position recognises the log.
    pub fn remembered(&self) -> Option<RangeInclusive<i64>> {
        let covered = self.covered.as_ref()?;
        Some(*covered.start().max(&(covered.end() - TAIL as i64 + 1))..=*covered.end())
    }

    /// Does the position cover one of these ids?
    pub fn covers(&self, ids: &[i64]) -> bool {
        let covered = self.covered.as_ref();
        covered.is_some_and(|covered| ids.iter().any(|id| covered.contains(id)))
    }

    /// Is nothing in progress?
    pub fn is_idle(&self) -> bool {
        let idle = self.check.is_none() && self.audit.is_none() && self.applying.is_none();
        idle && !self.restarting && !self.again && self.routing.pending_len() == 0
    }

    /// `check_for_updates`; `false` if one had been asked for already.
    pub fn ask_for_check(&mut self, database: &Database) -> bool {
        if self.check.is_none() {
            self.start_check(database);
            return true;
        }
        !std::mem::replace(&mut self.again, true)
    }

    fn start_check(&mut self, database: &Database) {
        self.again = false;
        let connection = Connection::new(database.now);
        let position = self.routing.position();
        let facts = Facts::new(database, position.as_ref());
        let batches = Batches::default();
        let (store, to) = (connection.clone(), batches.clone());
        let (routing, source) = (self.routing.clone(), self.service);
        let max_age = Duration::from_secs(database.max_age.unsigned_abs());
        let checked = routing.clone();
        let run = async move {
            let deliver = |batch| {
                to.borrow_mut().push_back(batch);
                true
            };
            run(&store, checked, source, Arc::<Ignored>::default(), max_age, deliver).await
        };
        let job = Job::new(Box::pin(run), connection, facts);
        let forgotten = routing.times_forgotten();
        self.check = Some(Check { job, batches, routing, overtaken: false, forgotten });
    }

    /// Starts an audit; `false` if one runs.
    pub fn start_audit(&mut self, database: &Database) -> bool {
        if self.audit.is_some() {
            return false;
        }
        let connection = Connection::new(database.now);
        let (store, routing) = (connection.clone(), self.routing.clone());
        let run = async move { audit(&store, &routing).await };
        let facts = Facts::new(database, None);
        self.audit = Some(Job::new(Box::pin(run), connection, facts));
        true
    }

    /// The service takes its next message; `None` if there is none, or it waits for the core. The
    /// end of a check is returned: see `world`.
    pub fn take(&mut self, database: &Database) -> Option<Option<Check>> {
        if self.applying.is_some() {
            return None;
        }
        if self.restarting {
            self.stop_service();
            self.start_check(database);
            return Some(None);
        }
        let check = self.check.as_mut()?;
        let next = check.batches.borrow_mut().pop_front();
        if let Some(batch) = next {
            let (era, forgotten) = (check.job.facts.era, check.forgotten);
            self.applying = Some(Applying { batch, era, forgotten, is_orphan: false });
            return Some(None);
        }
        check.job.ended.as_ref()?;
        Some(self.check.take())
    }

    /// After the end of a check: was another one asked for?
    pub fn check_again(&mut self, database: &Database, at_once: bool) {
        if at_once || self.again {
            self.start_check(database);
        }
    }

    /// `restart/0`.
    pub fn restart(&mut self) {
        self.forget_position();
        self.restarting = true;
    }

    /// The service is gone, and its position stays.
    pub fn kill_service(&mut self) {
        (self.check, self.audit, self.again, self.restarting) = (None, None, false, false);
        self.service += 1;
        if let Some(applying) = &mut self.applying {
            applying.is_orphan = true;
        }
    }

    /// The service stops in good order.
    pub fn stop_service(&mut self) {
        self.kill_service();
        self.forget_position();
    }

    fn forget_position(&mut self) {
        self.routing.forget_position();
        self.covered = None;
    }

    /// The check failed.
    pub fn fail_check(&mut self) {
        (self.check, self.again) = (None, false);
    }

    /// The core is gone, and its successor takes the table over.
    pub fn kill_core(&mut self, database: &Database) {
        self.telling.clear();
        if self.applying.take().is_some_and(|applying| !applying.is_orphan) {
            self.fail_check();
        }
        self.ask_for_check(database);
    }

    /// The core is stopped and started.
    pub fn fresh_table(&mut self, database: &Database) {
        self.routing = fresh_routing(&self.config);
        (self.told, self.is_loaded, self.covered) = (Told::default(), false, None);
        self.stained.clear();
        self.kill_core(database);
    }

    /// Another caller of the core.
    pub fn other_caller(&mut self, insert: bool) -> bool {
        if insert {
            let source = Source::MAX;
            let host_type = self.config.allowed[0].as_bytes();
            self.routing.writer().insert(OTHER, host_type, &source).is_ok()
        } else {
            matches!(self.routing.writer().delete(OTHER.as_bytes()), Ok(Some(_)))
        }
    }

    /// The core does a piece of its work; `false` if there is none.
    pub fn work(
        &mut self,
        database: &Database,
        limit: usize,
        coverage: &mut Coverage,
    ) -> Result<bool, Violation> {
        if self.tell(limit, coverage)? {
            return Ok(true);
        }
        let Some(applying) = self.applying.take() else { return Ok(false) };
        if !applying.batch.is_for(&self.routing) {
            coverage.hit(Corner::Stale);
            if !applying.is_orphan {
                self.fail_check();
                self.start_check(database);
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
        let covered = self.routing.position().as_ref().and_then(Position::ids);
        if covered != self.covered {
            let before = std::mem::replace(&mut self.covered, covered);
            self.era = applying.era;
            if let Some(check) = self.check.as_mut().filter(|_| applying.is_orphan) {
                check.overtaken = true;
                coverage.hit(Corner::Overtaken);
            }
            invariants::advanced(self, before, database)?;
        }
        if more && !applying.is_orphan {
            self.applying = Some(applying);
        } else if !more && is_late {
            coverage.hit(Corner::LateBatch);
        }
        Ok(true)
    }

    /// Tells others of some transitions; `false` if there are none.
    fn tell(&mut self, limit: usize, coverage: &mut Coverage) -> Result<bool, Violation> {
        if self.telling.is_empty() {
            self.telling = self.routing.pending(limit.max(2)).into();
        }
        let told = self.telling.len().min(limit);
        for transition in self.telling.drain(..told) {
            let replaced = transition.removed.is_some() && transition.added.is_some();
            coverage.add(Corner::HostTypeReplaced, u64::from(replaced));
            self.told.tell(&transition)?;
            self.routing.acknowledge(1);
        }
        Ok(told > 0)
    }
}
