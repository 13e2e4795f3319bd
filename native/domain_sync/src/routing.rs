//! A routing table with the position in the event log that it stands at, and batches of changes.

use crate::position::Position;
use domain_table::{Name, Put, Table, check_name};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::OwnedSemaphorePermit;

/// A table and where it stands in the log. The position lives exactly as long as the table.
pub struct Routing<S> {
    table: Table<S>,
    position: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    position: Option<Position>,
    /// Counts how often the position was forgotten: a batch that was on its way then must not bring
    /// one back.
    forgotten: u64,
}

impl<S: Clone + Eq + Hash> Routing<S> {
    /// A table that stands nowhere: everything is to be loaded.
    pub fn new(table: Table<S>) -> Self {
        Routing { table, position: Mutex::default() }
    }

    /// The table.
    pub fn table(&self) -> &Table<S> {
        &self.table
    }

    /// Where the table stands; `None` before everything was loaded.
    pub fn position(&self) -> Option<Position> {
        self.position.lock().position.clone()
    }

    /// Forgets the position: everything is to be loaded again.
    pub fn forget_position(&self) {
        let mut slot = self.position.lock();
        slot.position = None;
        slot.forgotten += 1;
    }

    /// The log was seen to agree with the position.
    pub(crate) fn confirm(&self, now: SystemTime) {
        if let Some(position) = &mut self.position.lock().position {
            position.confirmed = now;
        }
    }

    fn advance(&self, position: Position, forgotten: u64) {
        let mut slot = self.position.lock();
        if slot.forgotten == forgotten {
            slot.position = Some(position);
        }
    }

    pub(crate) fn times_forgotten(&self) -> u64 {
        self.position.lock().forgotten
    }
}

/// One change that the database asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The domain routes, by this host type.
    Put {
        /// The domain.
        domain: String,
        /// Its host type.
        host_type: String,
    },
    /// The domain does not route.
    Remove {
        /// The domain.
        domain: String,
    },
}

/// A batch of changes on its way to the one process that writes the table.
///
/// It holds a credit of the driver that made it, and gives it back when it is applied or dropped.
pub struct Batch<S> {
    routing: Arc<Routing<S>>,
    source: S,
    ignored: Arc<Ignored>,
    forgotten: u64,
    work: Mutex<Work>,
}

struct Work {
    changes: std::vec::IntoIter<Change>,
    /// After the changes, remove every dynamic domain that has another source. Found when it comes
    /// to that, and then kept here.
    sweep: Sweep,
    /// Where the table stands after all that.
    position: Option<Position>,
    credit: Option<OwnedSemaphorePermit>,
}

enum Sweep {
    No,
    Wanted,
    Begun(std::vec::IntoIter<Name>),
}

/// What became visible in the table: a domain lost a host type, got one, or both. Others are to be
/// told the loss first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The domain.
    pub domain: Name,
    /// The host type it had.
    pub removed: Option<Name>,
    /// The host type it has now.
    pub added: Option<Name>,
}

/// What [`Batch::apply`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Applied {
    /// The transitions, in order.
    pub transitions: Vec<Transition>,
    /// Is there more to apply?
    pub more: bool,
}

impl<S: Clone + Eq + Hash> Batch<S> {
    pub(crate) fn new(
        routing: Arc<Routing<S>>,
        source: S,
        ignored: Arc<Ignored>,
        forgotten: u64,
        credit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let (changes, sweep, position) = (Vec::new().into_iter(), Sweep::No, None);
        let work = Mutex::new(Work { changes, sweep, position, credit });
        Batch { routing, source, ignored, forgotten, work }
    }

    pub(crate) fn with_changes(mut self, changes: Vec<Change>) -> Self {
        self.work.get_mut().changes = changes.into_iter();
        self
    }

    pub(crate) fn with_sweep(mut self) -> Self {
        self.work.get_mut().sweep = Sweep::Wanted;
        self
    }

    pub(crate) fn with_position(mut self, position: Position) -> Self {
        self.work.get_mut().position = Some(position);
        self
    }

    /// Is the batch meant for this table? One that was made for a table that is gone is not.
    pub fn is_for(&self, routing: &Arc<Routing<S>>) -> bool {
        Arc::ptr_eq(&self.routing, routing)
    }

    /// Applies up to `limit` changes to the table. With the last of them the position advances.
    pub fn apply(&self, limit: usize) -> Applied {
        let mut work = self.work.lock();
        let mut transitions = Vec::new();
        for _ in 0..limit {
            if let Some(change) = work.changes.next() {
                transitions.extend(self.change(change));
            } else if let Some(domain) = self.next_outdated(&mut work.sweep) {
                if let Some(removed) = self.routing.table.delete_outdated(&domain, &self.source) {
                    transitions.push(Transition { domain, removed: Some(removed), added: None });
                }
            } else {
                if let Some(position) = work.position.take() {
                    self.routing.advance(position, self.forgotten);
                }
                work.credit = None;
                return Applied { transitions, more: false };
            }
        }
        Applied { transitions, more: true }
    }

    fn next_outdated(&self, sweep: &mut Sweep) -> Option<Name> {
        if matches!(sweep, Sweep::Wanted) {
            let outdated = self.routing.table.outdated(&self.source);
            let domains: Vec<Name> = outdated.into_iter().map(|(domain, _)| domain).collect();
            *sweep = Sweep::Begun(domains.into_iter());
        }
        match sweep {
            Sweep::Begun(domains) => domains.next(),
            _ => None,
        }
    }

    fn change(&self, change: Change) -> Option<Transition> {
        let table = &self.routing.table;
        let transition = |domain: &str, removed: Option<Name>, added: Option<&str>| {
            let added = added.map(|host_type| Name::from(host_type.as_bytes()));
            Some(Transition { domain: domain.as_bytes().into(), removed, added })
        };
        match change {
            Change::Put { domain, host_type } => {
                if check_name(domain.as_bytes()).is_err()
                    || check_name(host_type.as_bytes()).is_err()
                {
                    self.ignored.count(Kind::InvalidName, &domain, None, &host_type);
                    return None;
                }
                match table.put(domain.as_bytes(), host_type.as_bytes(), &self.source) {
                    Put::Added => transition(&domain, None, Some(&host_type)),
                    Put::Replaced(other) => transition(&domain, Some(other), Some(&host_type)),
                    Put::Refreshed => None,
                    Put::Static(of_core) => {
                        self.ignored.count(Kind::StaticInDb, &domain, Some(&of_core), &host_type);
                        if *of_core != *host_type.as_bytes() {
                            let kind = Kind::DifferentHostType;
                            self.ignored.count(kind, &domain, Some(&of_core), &host_type);
                        }
                        None
                    }
                    Put::UnknownHostType { removed } => {
                        self.ignored.count(Kind::UnknownHostType, &domain, None, &host_type);
                        removed.and_then(|host_type| transition(&domain, Some(host_type), None))
                    }
                }
            }
            Change::Remove { domain } => match table.delete(domain.as_bytes()) {
                Ok(Some(host_type)) => transition(&domain, Some(host_type), None),
                Ok(None) => None,
                Err(_) => {
                    let host_type = table.host_type(domain.as_bytes());
                    self.ignored.count(Kind::StaticWasInDb, &domain, host_type, "");
                    None
                }
            },
        }
    }
}

/// Why a row or an event of the database was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An enabled domain is static here.
    StaticInDb,
    /// A domain that is enabled no more is static here.
    StaticWasInDb,
    /// A domain is static here, by another host type.
    DifferentHostType,
    /// The host type is not allowed here.
    UnknownHostType,
    /// No domain can be called so, or no host type.
    InvalidName,
}

/// One ignored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredRow {
    /// The domain.
    pub domain: String,
    /// The host type that it has in the table.
    pub core_host_type: Option<Name>,
    /// The host type that it has in the database; empty if it has none.
    pub db_host_type: String,
}

/// What was ignored in one check or load, by kind: a count and the first ten.
#[derive(Default)]
pub struct Ignored(Mutex<BTreeMap<Kind, (u64, Vec<IgnoredRow>)>>);

impl Ignored {
    const KEPT: usize = 10;

    fn count(&self, kind: Kind, domain: &str, core_host_type: Option<&Name>, db_host_type: &str) {
        let mut kinds = self.0.lock();
        let (count, first) = kinds.entry(kind).or_default();
        *count += 1;
        if first.len() < Self::KEPT {
            first.push(IgnoredRow {
                domain: domain.to_owned(),
                core_host_type: core_host_type.cloned(),
                db_host_type: db_host_type.to_owned(),
            });
        }
    }

    /// Takes out what was counted so far.
    pub fn take(&self) -> BTreeMap<Kind, (u64, Vec<IgnoredRow>)> {
        std::mem::take(&mut self.0.lock())
    }
}
