//! A routing table with the position in the event log that it stands at, and batches of changes.

use crate::position::Position;
use crate::statistics::Statistics;
use domain_table::{DeleteError, InsertError, Inserted, Name, Put, Table, check_text};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::OwnedSemaphorePermit;

/// A table and where it stands in the log. The position lives exactly as long as the table.
pub struct Routing<S> {
    table: Table<S>,
    position: Mutex<Slot>,
    /// The transitions of which others have not been told yet. They are kept here, and not with who
    /// tells, because who tells may crash.
    untold: Mutex<VecDeque<Transition>>,
    /// Domains that an audit found to differ, for the next check to look at again.
    suspects: Mutex<Vec<String>>,
    statistics: Mutex<Statistics>,
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
        Routing {
            table,
            position: Mutex::default(),
            untold: Mutex::default(),
            suspects: Mutex::default(),
            statistics: Mutex::default(),
        }
    }

    /// The table, to read. It is changed by [`Self::writer`] and batches, so that every transition is
    /// noted.
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
        self.suspects.lock().clear();
    }

    /// The log was seen to agree with the position.
    pub(crate) fn confirm(&self, now: SystemTime) {
        if let Some(position) = &mut self.position.lock().position {
            position.confirmed = now;
        }
        self.count(|counts| {
            counts.checks += 1;
            counts.checked = Some(Instant::now());
            counts.failing = false;
        });
    }

    fn advance(&self, position: Position, forgotten: u64) {
        let mut slot = self.position.lock();
        if slot.forgotten == forgotten {
            slot.position = Some(position);
        }
    }

    /// How often the position was forgotten; a batch must know.
    pub fn times_forgotten(&self) -> u64 {
        self.position.lock().forgotten
    }

    /// To change the table by hand.
    pub fn writer(&self) -> Writer<'_, S> {
        Writer { table: self.table.writer(), untold: &self.untold }
    }

    /// To change the table by hand, unless that would have to wait for a list.
    pub fn try_writer(&self) -> Option<Writer<'_, S>> {
        Some(Writer { table: self.table.try_writer()?, untold: &self.untold })
    }

    /// The first transitions of which others have not been told yet, in order. Each is to be told,
    /// and then counted by [`Self::told`].
    pub fn untold(&self, limit: usize) -> Vec<Transition> {
        self.untold.lock().iter().take(limit).cloned().collect()
    }

    /// Others have been told of the first `count` of the untold transitions.
    pub fn told(&self, count: usize) {
        let mut untold = self.untold.lock();
        let count = count.min(untold.len());
        untold.drain(..count);
    }

    pub(crate) fn suspect(&self, domains: Vec<String>) {
        *self.suspects.lock() = domains;
    }

    pub(crate) fn take_suspects(&self) -> Vec<String> {
        std::mem::take(&mut *self.suspects.lock())
    }

    /// What was done and seen since the table was made.
    pub fn statistics(&self) -> Statistics {
        self.statistics.lock().clone()
    }

    /// Counts something.
    pub fn count(&self, count: impl FnOnce(&mut Statistics)) {
        count(&mut self.statistics.lock());
    }
}

/// The right to change the table, which one at a time has. Every transition is noted.
pub struct Writer<'a, S> {
    table: domain_table::Writer<'a, S>,
    untold: &'a Mutex<VecDeque<Transition>>,
}

impl<S: Clone + Eq + Hash> Writer<'_, S> {
    /// See [`domain_table::Writer::insert`].
    pub fn insert(
        &mut self,
        domain: &str,
        host_type: &[u8],
        source: &S,
    ) -> Result<Inserted, InsertError> {
        let inserted = self.table.insert(domain, host_type, source)?;
        if inserted == Inserted::New {
            // It is allowed, so it is a name.
            self.note(domain, None, Name::from_utf8(host_type).ok());
        }
        Ok(inserted)
    }

    /// See [`domain_table::Writer::delete`].
    pub fn delete(&mut self, domain: &[u8]) -> Result<Option<Name>, DeleteError> {
        let removed = self.table.delete(domain)?;
        if let (Some(host_type), Ok(domain)) = (&removed, Name::from_utf8(domain)) {
            self.note(&domain, Some(host_type.clone()), None);
        }
        Ok(removed)
    }

    fn put(&mut self, domain: &str, host_type: &Name, source: &S) -> Put {
        let put = self.table.put(domain, host_type.as_bytes(), source);
        match &put {
            Put::Added => self.note(domain, None, Some(host_type.clone())),
            Put::Replaced(other) => {
                self.note(domain, Some(other.clone()), Some(host_type.clone()));
            }
            Put::UnknownHostType { removed } => self.note(domain, removed.clone(), None),
            Put::Refreshed | Put::Static(_) => {}
        }
        put
    }

    fn delete_outdated(&mut self, domain: &str, source: &S) {
        let removed = self.table.delete_outdated(domain.as_bytes(), source);
        self.note(domain, removed, None);
    }

    fn note(&self, domain: &str, removed: Option<Name>, added: Option<Name>) {
        if removed.is_some() || added.is_some() {
            self.untold.lock().push_back(Transition { domain: domain.into(), removed, added });
        }
    }
}

/// One change that the database asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The domain routes, by this host type.
    Put {
        /// The domain.
        domain: Name,
        /// Its host type.
        host_type: Name,
    },
    /// The domain does not route.
    Remove {
        /// The domain.
        domain: Name,
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
    /// Before the changes, make everything outdated.
    renew: bool,
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

impl<S: Clone + Eq + Hash> Batch<S> {
    /// An empty batch, made when the position had been forgotten this often.
    pub fn new(
        routing: Arc<Routing<S>>,
        source: S,
        ignored: Arc<Ignored>,
        forgotten: u64,
        credit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let (changes, sweep, position) = (Vec::new().into_iter(), Sweep::No, None);
        let work = Mutex::new(Work { renew: false, changes, sweep, position, credit });
        Batch { routing, source, ignored, forgotten, work }
    }

    /// A load begins: what an earlier one of the same source brought, one that failed, does not count
    /// as brought by this one.
    pub fn with_renewal(mut self) -> Self {
        self.work.get_mut().renew = true;
        self
    }

    /// With these changes.
    pub fn with_changes(mut self, changes: Vec<Change>) -> Self {
        self.work.get_mut().changes = changes.into_iter();
        self
    }

    /// With the deletion of all dynamic domains of other sources, after the changes.
    pub fn with_sweep(mut self) -> Self {
        self.work.get_mut().sweep = Sweep::Wanted;
        self
    }

    /// With the position at which the table stands after all that.
    pub fn with_position(mut self, position: Position) -> Self {
        self.work.get_mut().position = Some(position);
        self
    }

    /// Is the batch meant for this table? One that was made for a table that is gone is not.
    pub fn is_for(&self, routing: &Arc<Routing<S>>) -> bool {
        Arc::ptr_eq(&self.routing, routing)
    }

    /// Applies up to `limit` changes to the table, and says whether there are more. With the last of
    /// them the position advances. The transitions are then [`Routing::untold`].
    pub fn apply(&self, limit: usize) -> bool {
        let mut work = self.work.lock();
        if work.must_begin_sweep() {
            let outdated = self.routing.table.outdated(&self.source);
            let domains: Vec<Name> = outdated.into_iter().map(|(domain, _)| domain).collect();
            work.sweep = Sweep::Begun(domains.into_iter());
        }
        self.go_on(&mut work, self.routing.writer(), limit)
    }

    /// As [`Self::apply`], unless that would wait for a list or take long.
    pub fn try_apply(&self, limit: usize) -> Option<bool> {
        let mut work = self.work.try_lock()?;
        if work.must_begin_sweep() {
            return None;
        }
        Some(self.go_on(&mut work, self.routing.try_writer()?, limit))
    }

    fn go_on(&self, work: &mut Work, mut writer: Writer<'_, S>, limit: usize) -> bool {
        if std::mem::take(&mut work.renew) {
            writer.table.renew(&self.source);
        }
        for _ in 0..limit {
            if let Some(change) = work.changes.next() {
                self.change(&mut writer, change);
            } else if work.must_begin_sweep() {
                return true;
            } else if let Sweep::Begun(domains) = &mut work.sweep
                && let Some(domain) = domains.next()
            {
                writer.delete_outdated(&domain, &self.source);
            } else {
                if let Some(position) = work.position.take() {
                    self.routing.advance(position, self.forgotten);
                }
                work.credit = None;
                return false;
            }
        }
        true
    }

    fn change(&self, writer: &mut Writer<'_, S>, change: Change) {
        match change {
            Change::Put { domain, host_type } => {
                if check_text(&domain).is_err() || check_text(&host_type).is_err() {
                    self.ignored.count(Kind::InvalidName, &domain, None, &host_type);
                    return;
                }
                match writer.put(&domain, &host_type, &self.source) {
                    Put::Added | Put::Replaced(_) | Put::Refreshed => {}
                    Put::Static(of_core) => {
                        let is_same = of_core == host_type;
                        let kind = if is_same { Kind::StaticInDb } else { Kind::DifferentHostType };
                        self.ignored.count(kind, &domain, Some(&of_core), &host_type);
                    }
                    Put::UnknownHostType { .. } => {
                        self.ignored.count(Kind::UnknownHostType, &domain, None, &host_type);
                    }
                }
            }
            Change::Remove { domain } => {
                if writer.delete(domain.as_bytes()) == Err(DeleteError::Static) {
                    let host_type = self.routing.table.host_type(domain.as_bytes());
                    self.ignored.count(Kind::StaticWasInDb, &domain, host_type, "");
                }
            }
        }
    }
}

impl Work {
    fn must_begin_sweep(&self) -> bool {
        self.changes.len() == 0 && matches!(self.sweep, Sweep::Wanted)
    }
}

/// Why a row or an event of the database was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An enabled domain is static here, by the same host type.
    StaticInDb,
    /// A domain that is enabled no more is static here.
    StaticWasInDb,
    /// An enabled domain is static here, by another host type.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_wait_is_applied_only_when_nobody_writes_and_up_to_the_sweep() {
        let table = Table::new([], ["type1".into()]);
        table.writer().put("gone.example", b"type1", &1);
        let routing = Arc::new(Routing::new(table));
        let put = |domain: &str| Change::Put { domain: domain.into(), host_type: "type1".into() };
        let batch = Batch::new(routing.clone(), 2, Arc::default(), 0, None)
            .with_changes(vec![put("a.example"), put("b.example")])
            .with_sweep();
        let writer = routing.writer();
        assert_eq!(batch.try_apply(1), None, "somebody else writes");
        drop(writer);
        assert_eq!(batch.try_apply(1), Some(true));
        assert_eq!(batch.try_apply(10), Some(true));
        assert_eq!(batch.try_apply(10), None, "to find what is outdated may take long");
        assert_eq!(routing.table().len(), 3);
        assert!(batch.apply(1));
        assert_eq!(batch.try_apply(1), Some(false));
        assert_eq!(routing.table().len(), 2);
        let told: Vec<Name> = routing.untold(9).into_iter().map(|told| told.domain).collect();
        assert_eq!(told, ["a.example", "b.example", "gone.example"]);
    }
}
