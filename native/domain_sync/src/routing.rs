//! A routing table with the position in the event log that it stands at, and what others have not been
//! notified of.

use crate::pending::{Pending, Transition};
use crate::position::Position;
use crate::statistics::Statistics;
use domain_table::{DeleteError, InsertError, Inserted, Name, Put, Table};
use parking_lot::Mutex;
use std::hash::Hash;
use std::time::{Instant, SystemTime};

/// A table and where it stands in the log. The position lives exactly as long as the table.
pub struct Routing<S> {
    table: Table<S>,
    position: Mutex<Slot>,
    /// Kept here, and not with who notifies, because who notifies may crash.
    pending: Mutex<Pending>,
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
            pending: Mutex::default(),
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

    pub(crate) fn advance(&self, position: Position, forgotten: u64) {
        let mut slot = self.position.lock();
        if slot.forgotten == forgotten {
            slot.position = Some(position);
        }
    }

    /// How often the position was forgotten; a batch must know.
    pub fn times_forgotten(&self) -> u64 {
        self.position.lock().forgotten
    }

    /// To change the table.
    pub fn writer(&self) -> Writer<'_, S> {
        Writer { routing: self, table: self.table.writer() }
    }

    /// To change the table, unless that would have to wait.
    pub fn try_writer(&self) -> Option<Writer<'_, S>> {
        Some(Writer { routing: self, table: self.table.try_writer()? })
    }

    /// The first transitions that others have not been notified of, in order.
    pub fn pending(&self, limit: usize) -> Vec<Transition> {
        self.pending.lock().first(&self.table, limit)
    }

    /// The same, where nobody has to be notified of some additions: those (domain, host type) that are
    /// quiet. The first ones of them, at most `limit`, count as done.
    pub fn pending_told(
        &self,
        limit: usize,
        is_quiet: impl Fn(&Name, &Name) -> bool,
    ) -> Vec<Transition> {
        self.pending.lock().first_told(&self.table, limit, is_quiet)
    }

    /// The number of transitions since the table was made.
    pub fn transitions(&self) -> u64 {
        let pending = self.pending.lock();
        pending.acknowledged() + pending.len() as u64
    }

    /// The number of transitions that others have not been notified of.
    pub fn pending_len(&self) -> usize {
        self.pending.lock().len()
    }

    /// Others have been notified of the first `count` transitions.
    pub fn acknowledge(&self, count: usize) {
        self.pending.lock().acknowledge(count);
    }

    /// How many transitions others have been notified of since the table was made.
    pub fn acknowledged(&self) -> u64 {
        self.pending.lock().acknowledged()
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
    routing: &'a Routing<S>,
    table: domain_table::Writer<'a, S>,
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
            self.note(domain, None, Name::from_utf8(host_type).ok().as_ref());
        }
        Ok(inserted)
    }

    /// See [`domain_table::Writer::delete`].
    pub fn delete(&mut self, domain: &[u8]) -> Result<Option<Name>, DeleteError> {
        let removed = self.table.delete(domain)?;
        if let Ok(domain) = std::str::from_utf8(domain) {
            self.note(domain, removed.as_ref(), None);
        }
        Ok(removed)
    }

    pub(crate) fn put(&mut self, domain: &str, host_type: &Name, source: &S) -> Put {
        let put = self.table.put(domain, host_type.as_bytes(), source);
        match &put {
            Put::Added => self.note(domain, None, Some(host_type)),
            Put::Replaced(other) => self.note(domain, Some(other), Some(host_type)),
            Put::UnknownHostType { removed } => self.note(domain, removed.as_ref(), None),
            Put::Refreshed | Put::Static(_) => {}
        }
        put
    }

    pub(crate) fn delete_outdated(&mut self, domain: &str, source: &S) {
        let removed = self.table.delete_outdated(domain.as_bytes(), source);
        self.note(domain, removed.as_ref(), None);
    }

    pub(crate) fn renew(&mut self, source: &S) {
        self.table.renew(source);
    }

    fn note(&self, domain: &str, removed: Option<&Name>, added: Option<&Name>) {
        if removed.is_some() || added.is_some() {
            self.routing.pending.lock().push(&self.routing.table, domain, removed, added);
        }
    }
}
