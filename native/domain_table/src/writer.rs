//! Changes of the table, and what they did.

use crate::entry::{Entry, HostTypeId};
use crate::name::Name;
use crate::stored::StoredName;
use crate::table::Table;
use parking_lot::MutexGuard;
use std::hash::Hash;
use std::sync::atomic::Ordering;

/// What [`Writer::insert`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The domain was absent and routes now.
    New,
    /// It was there with the same host type; only its source is replaced.
    Refreshed,
}

/// Why [`Writer::insert`] changed nothing, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The host type is not allowed on this node.
    #[error("unknown host type")]
    UnknownHostType,
    /// The domain is static.
    #[error("domain is static")]
    Static,
    /// The domain is there with another host type.
    #[error("domain has another host type")]
    BadInsert,
}

/// Why [`Writer::delete`] changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// The domain is static.
    #[error("domain is static")]
    Static,
}

/// What [`Writer::put`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The domain was absent and routes now.
    Added,
    /// It was there with the same host type; only its source is replaced.
    Refreshed,
    /// It was there with this other host type, and has the new one now. At no time was it absent.
    Replaced(Name),
    /// It is static, with this host type; nothing changed.
    Static(Name),
    /// The host type is not allowed on this node. If the domain was there with another one, with
    /// this one, it is gone: it must not route by a host type that it no longer has.
    UnknownHostType {
        /// The host type it had until now.
        removed: Option<Name>,
    },
}

/// Where a dynamic domain comes from.
#[derive(Clone, Copy)]
struct Origin<'a, S> {
    source: &'a S,
    /// Does it follow the database, or did another caller insert it?
    follows: bool,
}

/// The right to change a table, which one at a time has. What it changes is seen at once, one change
/// after the other.
pub struct Writer<'a, S> {
    table: &'a Table<S>,
    _only_one: MutexGuard<'a, ()>,
}

impl<'a, S: Clone + Eq + Hash> Writer<'a, S> {
    pub(crate) fn new(table: &'a Table<S>, only_one: MutexGuard<'a, ()>) -> Self {
        Writer { table, _only_one: only_one }
    }

    /// Inserts a dynamic domain, as a caller of `mongoose_domain_core:insert/3` asks for it: a
    /// domain that has another host type is refused.
    pub fn insert(
        &mut self,
        domain: &str,
        host_type: &[u8],
        source: &S,
    ) -> Result<Inserted, InsertError> {
        let id = self.table.allowed_id(host_type).ok_or(InsertError::UnknownHostType)?;
        let origin = Origin { source, follows: false };
        match self.table.find(domain.as_bytes()) {
            None => {
                self.add(domain, id, origin);
                Ok(Inserted::New)
            }
            Some(entry) if entry.is_static() => Err(InsertError::Static),
            Some(entry) if entry.host_type() != id => Err(InsertError::BadInsert),
            Some(entry) => {
                self.refresh(domain, entry, origin);
                Ok(Inserted::Refreshed)
            }
        }
    }

    /// Makes a dynamic domain have this host type, as the database says: one that has another host
    /// type is given the new one in a single step. From now on the domain follows the database.
    pub fn put(&mut self, domain: &str, host_type: &[u8], source: &S) -> Put {
        let id = self.table.allowed_id(host_type);
        let origin = Origin { source, follows: true };
        match (self.table.find(domain.as_bytes()), id) {
            (Some(entry), _) if entry.is_static() => Put::Static(self.table.name_of(entry).clone()),
            (found, None) => {
                let removed = found.map(|entry| self.remove(domain.as_bytes(), entry));
                Put::UnknownHostType { removed }
            }
            (None, Some(id)) => {
                self.add(domain, id, origin);
                Put::Added
            }
            (Some(entry), Some(id)) if entry.host_type() == id => {
                self.refresh(domain, entry, origin);
                Put::Refreshed
            }
            (Some(entry), Some(id)) => Put::Replaced(self.replace(domain, entry, id, origin)),
        }
    }

    /// Deletes a dynamic domain and returns the host type it had, or `None` if it was absent.
    pub fn delete(&mut self, domain: &[u8]) -> Result<Option<Name>, DeleteError> {
        match self.table.find(domain) {
            None => Ok(None),
            Some(entry) if entry.is_static() => Err(DeleteError::Static),
            Some(entry) => Ok(Some(self.remove(domain, entry))),
        }
    }

    /// Deletes a dynamic domain unless it has this source, and returns the host type it had.
    pub fn delete_outdated(&mut self, domain: &[u8], source: &S) -> Option<Name> {
        let entry = self.table.find(domain).filter(|entry| !entry.is_static())?;
        let its_source = self.table.index.source(entry.host_type(), entry.slot())?;
        let is_current = self.table.sources.is_current(source, its_source);
        (!is_current).then(|| self.remove(domain, entry))
    }

    /// What the source has brought so far becomes outdated, until it brings it again.
    pub fn renew(&mut self, source: &S) {
        self.table.sources.renew(source);
    }

    /// Adds a domain that is not there.
    fn add(&mut self, domain: &str, host_type: HostTypeId, origin: Origin<'_, S>) {
        let domain = StoredName::from(domain);
        let entry = self.add_to_index(domain.clone(), host_type, origin);
        self.table.map.insert(domain, entry);
        self.table.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a dynamic domain, and returns the host type it had.
    fn remove(&mut self, domain: &[u8], entry: Entry) -> Name {
        self.table.map.remove(domain);
        self.table.count.fetch_sub(1, Ordering::Relaxed);
        self.remove_from_index(entry);
        self.table.name_of(entry).clone()
    }

    /// Gives a dynamic domain another host type, and returns the one it had.
    fn replace(
        &mut self,
        domain: &str,
        old: Entry,
        host_type: HostTypeId,
        origin: Origin<'_, S>,
    ) -> Name {
        let _moving = self.table.index.moving();
        let new = self.add_to_index(domain.into(), host_type, origin);
        self.table.map.update(domain.as_bytes(), |_| new);
        self.remove_from_index(old);
        self.table.name_of(old).clone()
    }

    /// Gives a dynamic domain another source.
    fn refresh(&mut self, domain: &str, entry: Entry, origin: Origin<'_, S>) {
        let (host_type, slot) = (entry.host_type(), entry.slot());
        let source = self.table.sources.acquire(origin.source, origin.follows);
        if let Some(old) = self.table.index.replace_source(host_type, slot, source) {
            self.table.sources.release(old);
        }
        if entry.follows() != origin.follows {
            let new = Entry::of_dynamic(host_type, slot, origin.follows);
            self.table.map.update(domain.as_bytes(), |_| new);
        }
    }

    fn add_to_index(
        &self,
        domain: StoredName,
        host_type: HostTypeId,
        Origin { source, follows }: Origin<'_, S>,
    ) -> Entry {
        let source = self.table.sources.acquire(source, follows);
        let slot = self.table.index.push(host_type, domain, source);
        Entry::of_dynamic(host_type, slot, follows)
    }

    /// The last domain of the host type comes into the slot that gets free.
    fn remove_from_index(&self, entry: Entry) {
        let slot = entry.slot();
        let Some((source, moved)) = self.table.index.swap_remove(entry.host_type(), slot) else {
            return;
        };
        if let Some(moved) = moved {
            self.table.map.update(moved.as_bytes(), |entry| entry.at(slot));
        }
        self.table.sources.release(source);
        // At the end: a list that still has the domain comes with the number from before.
        self.table.removals.fetch_add(1, Ordering::Release);
    }
}
