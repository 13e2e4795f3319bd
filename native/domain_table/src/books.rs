//! The books beside the map: domains by host type, and the sources.
//!
//! They are kept under one lock by [`crate::Table`]; nothing here locks.

use crate::table::Name;
use std::collections::HashMap;
use std::hash::Hash;

/// The number of an interned source.
pub(crate) type SourceId = u32;

/// Everything that is not needed to answer a lookup.
pub(crate) struct Books<S> {
    /// The domains of each host type. Static ones come first and never move.
    pub by_host_type: Vec<HostTypeDomains>,
    /// Who inserted the dynamic domains.
    pub sources: Sources<S>,
}

/// The domains of one host type: static ones, then dynamic ones in no order.
#[derive(Default)]
pub(crate) struct HostTypeDomains {
    domains: Vec<Name>,
    statics: usize,
}

impl HostTypeDomains {
    pub fn push_static(&mut self, domain: Name) {
        debug_assert_eq!(self.statics, self.domains.len(), "statics come first");
        self.domains.push(domain);
        self.statics += 1;
    }

    /// Adds a dynamic domain and returns its slot.
    pub fn push(&mut self, domain: Name) -> usize {
        self.domains.push(domain);
        self.domains.len() - 1
    }

    /// Empties a slot. The domain that now fills it, if any, is returned.
    pub fn swap_remove(&mut self, slot: usize) -> Option<Name> {
        self.domains.swap_remove(slot);
        self.domains.get(slot).cloned()
    }

    pub fn all(&self) -> &[Name] {
        &self.domains
    }

    pub fn statics(&self) -> &[Name] {
        &self.domains[..self.statics]
    }

    pub fn dynamics(&self) -> &[Name] {
        &self.domains[self.statics..]
    }
}

/// Interned sources. A source that no domain refers to any more is forgotten.
pub(crate) struct Sources<S> {
    ids: HashMap<S, SourceId>,
    users: HashMap<SourceId, (S, usize)>,
    next: SourceId,
}

impl<S: Clone + Eq + Hash> Sources<S> {
    pub fn new() -> Self {
        Sources { ids: HashMap::new(), users: HashMap::new(), next: 0 }
    }

    pub fn id(&self, source: &S) -> Option<SourceId> {
        self.ids.get(source).copied()
    }

    /// Counts one more domain for the source.
    pub fn acquire(&mut self, source: &S) -> SourceId {
        if let Some(&id) = self.ids.get(source) {
            if let Some((_, users)) = self.users.get_mut(&id) {
                *users += 1;
            }
            return id;
        }
        while self.users.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.ids.insert(source.clone(), id);
        self.users.insert(id, (source.clone(), 1));
        id
    }

    /// Counts one domain less for the source.
    pub fn release(&mut self, id: SourceId) {
        let Some((source, users)) = self.users.get_mut(&id) else { return };
        *users -= 1;
        if *users == 0 {
            self.ids.remove(source);
            self.users.remove(&id);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.users.len()
    }
}
