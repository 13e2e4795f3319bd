//! A node of production: its table, its two Erlang processes, and what the simulator knows of it.
//!
//! What the service does is in `service.rs`, what the core does in `domain_core.rs`.

use crate::config::{CHANGING, Domain, HostType, NodeConfig, OTHER};
use crate::job::Job;
use crate::notified::Notified;
use crate::watch::{Caller, Watch};
use domain_sync::batch::Batch;
use domain_sync::driver::Ended;
use domain_sync::follower::{CheckEnd, Follower, Timer};
use domain_sync::pending::Transition;
use domain_sync::position::{Position, TAIL};
use domain_sync::routing::Routing;
use domain_table::{Name, Table};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

/// In production the pid of the service.
pub type Source = u64;

/// Batches on their way.
pub type Batches = Rc<RefCell<VecDeque<Batch<Source>>>>;

/// The process of the service, and its task.
pub struct Service {
    /// The machine of production.
    pub follower: Follower<Caller>,
    /// When which timer fires, in milliseconds.
    pub timers: BTreeMap<Timer, i64>,
    /// Is it about to call `restart/0`?
    pub is_reloading: bool,
}

/// A check that runs.
pub struct Check {
    /// The driver.
    pub job: Job<Ended>,
    /// Batches that it has made.
    pub made: Batches,
    /// Those that the follower knows of.
    pub ready: VecDeque<Batch<Source>>,
    /// How it ended, when the follower knows.
    pub end: Option<CheckEnd>,
    /// The table it is for.
    pub routing: Arc<Routing<Source>>,
    /// Has the position advanced since by the last slice of a killed service? This check goes on from
    /// the older one, sets it back, and does not compare what came between.
    pub overtaken: bool,
    /// How often the position had been forgotten when it began.
    pub forgotten: u64,
}

/// A batch that the core applies.
pub struct Applying {
    /// The batch.
    pub batch: Batch<Source>,
    /// The era of the database when its check began.
    pub era: u32,
    /// How often the position had been forgotten then.
    pub forgotten: u64,
    /// Is the service gone that asked for it? Then the slice in the mailbox is the last.
    pub is_orphan: bool,
}

/// A node.
pub struct Node {
    /// Its number.
    pub number: usize,
    /// Its static domains, allowed host types and options.
    pub config: NodeConfig,
    /// Its table and position.
    pub routing: Arc<Routing<Source>>,
    /// The service; `None` when it is stopped.
    pub service: Option<Service>,
    /// As which source it inserts; a new service is a new one.
    pub source: Source,
    /// The check that runs.
    pub check: Option<Check>,
    /// The audit that runs.
    pub audit: Option<Job<bool>>,
    /// Has somebody called `restart/0`?
    pub is_restarting: bool,
    /// What the core works on.
    pub applying: Option<Applying>,
    /// Transitions that the core is notifying others of.
    pub notifying: VecDeque<Transition>,
    /// What it has notified others of.
    pub notified: Notified,
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
    /// Requests, attempts and answers.
    pub watch: Watch,
    /// Checks that are over, until somebody takes them out.
    pub over: Vec<Check>,
}

fn name(text: &str) -> Name {
    text.into()
}

/// A table without dynamic domains.
pub fn fresh_routing(config: &NodeConfig) -> Arc<Routing<Source>> {
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
            service: None,
            source: 0,
            check: None,
            audit: None,
            is_restarting: false,
            applying: None,
            notifying: VecDeque::new(),
            notified: Notified::default(),
            is_loaded: false,
            asleep_until: 0,
            covered: None,
            era: 0,
            stained: BTreeSet::new(),
            watch: Watch::new(config.max_retry),
            over: Vec::new(),
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
        let batches = self.check.as_ref().map_or(0, Check::batches);
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
        idle && !self.is_restarting && !self.is_reloading() && self.routing.pending_len() == 0
    }

    /// Is its service about to call `restart/0`?
    pub fn is_reloading(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.is_reloading)
    }

    /// The position is forgotten.
    pub fn forget_position(&mut self) {
        self.routing.forget_position();
        self.covered = None;
    }

    /// The covered ids, as they are now.
    pub fn covers_now(&self) -> Option<RangeInclusive<i64>> {
        self.routing.position().as_ref().and_then(Position::ids)
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
}

impl Check {
    /// How many batches wait.
    pub fn batches(&self) -> usize {
        self.made.borrow().len() + self.ready.len()
    }
}
