//! The dynamic domains by host type, for lists.

use crate::entry::HostTypeId;
use crate::snapshot::SnapshotVec;
use crate::sources::SourceId;
use crate::stored::StoredName;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::{RwLock, RwLockWriteGuard};

/// The dynamic domains of one host type, in no order; the entry of each knows its slot here.
///
/// A clone is a snapshot, made and kept without copying (see [`SnapshotVec`]).
#[derive(Clone, Default)]
pub(crate) struct Domains {
    pub names: SnapshotVec<StoredName>,
    pub sources: SnapshotVec<SourceId>,
}

impl Domains {
    pub fn iter(&self) -> impl Iterator<Item = (&StoredName, SourceId)> {
        self.names.iter().zip(self.sources.iter().copied())
    }
}

/// All host types that have, or had, dynamic domains. Nobody holds a lock of the map for longer than
/// one change, or one snapshot, takes.
#[derive(Default)]
pub(crate) struct Index {
    by_host_type: DashMap<HostTypeId, Domains, RandomState>,
    /// Held exclusively while a domain is in two host types at once, shared by who takes snapshots
    /// of several host types.
    moving: RwLock<()>,
}

impl Index {
    /// Adds a domain, and returns its slot.
    pub fn push(&self, host_type: HostTypeId, domain: StoredName, source: SourceId) -> u32 {
        let mut domains = self.by_host_type.entry(host_type).or_default();
        domains.names.push(domain);
        domains.sources.push(source);
        (domains.sources.len() - 1) as u32
    }

    /// Removes the domain in this slot. Returns its source, and the domain, if there is another,
    /// that is in the slot now.
    pub fn swap_remove(
        &self,
        host_type: HostTypeId,
        slot: u32,
    ) -> Option<(SourceId, Option<StoredName>)> {
        let mut domains = self.by_host_type.get_mut(&host_type)?;
        domains.names.swap_remove(slot as usize)?;
        let source = domains.sources.swap_remove(slot as usize)?;
        Some((source, domains.names.get(slot as usize).cloned()))
    }

    /// Gives the domain in this slot another source, and returns the one it had.
    pub fn replace_source(
        &self,
        host_type: HostTypeId,
        slot: u32,
        source: SourceId,
    ) -> Option<SourceId> {
        let mut domains = self.by_host_type.get_mut(&host_type)?;
        Some(std::mem::replace(domains.sources.get_mut(slot as usize)?, source))
    }

    /// The source of the domain in this slot.
    pub fn source(&self, host_type: HostTypeId, slot: u32) -> Option<SourceId> {
        self.by_host_type.get(&host_type)?.sources.get(slot as usize).copied()
    }

    /// While this is held, nobody sees a domain in two host types, or in none.
    pub fn moving(&self) -> RwLockWriteGuard<'_, ()> {
        self.moving.write()
    }

    /// The number of dynamic domains of a host type.
    pub fn len(&self, host_type: HostTypeId) -> usize {
        self.by_host_type.get(&host_type).map_or(0, |domains| domains.names.len())
    }

    /// The dynamic domains of a host type.
    pub fn snapshot(&self, host_type: HostTypeId) -> Domains {
        self.by_host_type.get(&host_type).map_or_else(Domains::default, |domains| domains.clone())
    }

    /// The dynamic domains of all host types. A domain that goes from one to another meanwhile is in
    /// exactly one of them.
    pub fn snapshots(&self) -> Vec<(HostTypeId, Domains)> {
        let _nothing_moves = self.moving.read();
        self.by_host_type.iter().map(|it| (*it.key(), it.value().clone())).collect()
    }
}
