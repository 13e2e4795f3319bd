//! Batches of changes on their way to the one process that writes the table.

use crate::ignored::{Ignored, Kind};
use crate::position::Position;
use crate::routing::{Routing, Writer};
use domain_table::{DeleteError, Name, Put, check_text, is_prepared};
use parking_lot::Mutex;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

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

    /// With these changes. Names that can never route are counted here, and not when they are applied:
    /// to look at long ones takes too long for who does that.
    pub fn with_changes(mut self, changes: Vec<Change>) -> Self {
        for change in &changes {
            if let Change::Put { domain, host_type } = change
                && check_text(domain).is_ok()
                && !is_prepared(domain)
            {
                self.ignored.count(Kind::InvalidName, domain, None, host_type);
            }
        }
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
    /// them the position advances. The transitions are then pending.
    pub fn apply(&self, limit: usize) -> bool {
        let mut work = self.work.lock();
        if work.must_begin_sweep() {
            let outdated = self.routing.table().outdated(&self.source);
            let domains: Vec<Name> = outdated.into_iter().map(|(domain, _)| domain).collect();
            work.sweep = Sweep::Begun(domains.into_iter());
        }
        self.apply_some(&mut work, self.routing.writer(), limit)
    }

    /// As [`Self::apply`], unless that would wait for somebody or take long.
    pub fn try_apply(&self, limit: usize) -> Option<bool> {
        let mut work = self.work.try_lock()?;
        if work.must_begin_sweep() {
            return None;
        }
        Some(self.apply_some(&mut work, self.routing.try_writer()?, limit))
    }

    fn apply_some(&self, work: &mut Work, mut writer: Writer<'_, S>, limit: usize) -> bool {
        if std::mem::take(&mut work.renew) {
            writer.renew(&self.source);
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
                    let host_type = self.routing.table().host_type(domain.as_bytes());
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use domain_table::Table;

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
        let pending: Vec<Name> = routing.pending(9).into_iter().map(|made| made.domain).collect();
        assert_eq!(pending, ["a.example", "b.example", "gone.example"]);
    }
}
