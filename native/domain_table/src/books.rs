//! The books beside the map: domains by host type, and the sources.
//!
//! They are kept under one lock by [`crate::Table`]; nothing here locks.

use crate::table::Name;
use std::collections::HashMap;
use std::hash::Hash;

/// The number of an interned source. The lowest bit says whether its domains follow the database, so
/// that an entry of the map alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourceId(u32);

impl SourceId {
    fn new(number: u32, follows: bool) -> Self {
        SourceId(number << 1 | u32::from(follows))
    }

    pub fn follows(self) -> bool {
        self.0 & 1 == 1
    }
}

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
    /// By whether the domains follow the database: a source may have domains of both sorts.
    ids: [HashMap<S, SourceId>; 2],
    users: HashMap<SourceId, (S, usize)>,
    next: u32,
}

impl<S: Clone + Eq + Hash> Sources<S> {
    pub fn new() -> Self {
        Sources { ids: Default::default(), users: HashMap::new(), next: 0 }
    }

    /// The numbers that a source has: none, one or two.
    pub fn ids(&self, source: &S) -> [Option<SourceId>; 2] {
        [0, 1].map(|sort| self.ids[sort].get(source).copied())
    }

    /// Counts one more domain for the source.
    pub fn acquire(&mut self, source: &S, follows: bool) -> SourceId {
        let sort = usize::from(follows);
        if let Some(&id) = self.ids[sort].get(source) {
            if let Some((_, users)) = self.users.get_mut(&id) {
                *users += 1;
            }
            return id;
        }
        let mut id = SourceId::new(self.next, follows);
        while self.users.contains_key(&id) {
            self.next = self.next.wrapping_add(1);
            id = SourceId::new(self.next, follows);
        }
        self.next = self.next.wrapping_add(1);
        self.ids[sort].insert(source.clone(), id);
        self.users.insert(id, (source.clone(), 1));
        id
    }

    /// From now on the source has other numbers: the domains it has are not counted among its own
    /// any more.
    pub fn renew(&mut self, source: &S) {
        for ids in &mut self.ids {
            ids.remove(source);
        }
    }

    /// Counts one domain less for the source.
    pub fn release(&mut self, id: SourceId) {
        let Some((source, users)) = self.users.get_mut(&id) else { return };
        *users -= 1;
        if *users == 0 {
            let ids = &mut self.ids[usize::from(id.follows())];
            if ids.get(source) == Some(&id) {
                ids.remove(source);
            }
            self.users.remove(&id);
        }
    }

    /// How many domains follow the database.
    pub fn followed(&self) -> usize {
        let followed = self.users.iter().filter(|(id, _)| id.follows());
        followed.map(|(_, (_, users))| users).sum()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.users.len()
    }
}
