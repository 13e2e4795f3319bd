//! The books beside the map: domains by host type, and the sources.
//!
//! They are kept under one lock by [`crate::Table`]; nothing here locks.

use crate::name::Name;
use crate::shard::Entry;
use foldhash::fast::RandomState;
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
    pub by_host_type: Vec<Domains>,
    /// Who inserted the dynamic domains.
    pub sources: Sources<S>,
}

impl<S> Books<S> {
    /// The source of a domain; a static one has none.
    pub fn source(&self, entry: Entry) -> Option<SourceId> {
        let domains = &self.by_host_type[entry.host_type as usize];
        domains.dynamics.get(entry.place.index()).map(|listed| listed.source)
    }
}

/// The domains of one host type.
#[derive(Default)]
pub(crate) struct Domains {
    pub statics: Vec<Name>,
    /// In no order; each knows its place here.
    pub dynamics: List,
}

/// A dynamic domain, by its hash: with that the map finds the one that has this place. Millions of
/// names are not kept twice.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed(4))]
pub(crate) struct Listed {
    pub hash: u64,
    pub source: SourceId,
}

/// A vector in pieces: growing never moves what is there, so it never takes long.
#[derive(Default)]
pub(crate) struct List(Vec<Vec<Listed>>);

impl List {
    const PIECE: usize = 4096;

    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * Self::PIECE + last.len())
    }

    pub fn get(&self, index: usize) -> Option<&Listed> {
        self.0.get(index / Self::PIECE)?.get(index % Self::PIECE)
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut Listed> {
        self.0.get_mut(index / Self::PIECE)?.get_mut(index % Self::PIECE)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.0.iter().flatten()
    }

    pub fn push(&mut self, listed: Listed) {
        match self.0.last_mut() {
            Some(last) if last.len() < Self::PIECE => last.push(listed),
            _ => self.0.push(vec![listed]),
        }
    }

    /// Takes one out; the last one takes its place.
    pub fn swap_remove(&mut self, index: usize) -> Option<Listed> {
        let last = self.0.last_mut()?.pop()?;
        if self.0.last().is_some_and(Vec::is_empty) {
            self.0.pop();
        }
        match self.get_mut(index) {
            Some(place) => Some(std::mem::replace(place, last)),
            None => Some(last),
        }
    }
}

/// Interned sources. A source that no domain refers to any more is forgotten.
pub(crate) struct Sources<S> {
    /// By whether the domains follow the database: a source may have domains of both sorts.
    ids: [HashMap<S, SourceId, RandomState>; 2],
    users: HashMap<SourceId, (S, usize), RandomState>,
    next: u32,
    /// The last one that was asked for: mostly it is asked for again.
    recent: Option<SourceId>,
}

impl<S: Clone + Eq + Hash> Sources<S> {
    pub fn new() -> Self {
        Sources { ids: Default::default(), users: HashMap::default(), next: 0, recent: None }
    }

    /// The numbers that a source has: none, one or two.
    pub fn ids(&self, source: &S) -> [Option<SourceId>; 2] {
        [0, 1].map(|sort| self.ids[sort].get(source).copied())
    }

    /// Counts one more domain for the source.
    pub fn acquire(&mut self, source: &S, follows: bool) -> SourceId {
        if let Some(id) = self.recent.filter(|id| id.follows() == follows)
            && let Some((recent, users)) = self.users.get_mut(&id)
            && recent == source
        {
            *users += 1;
            return id;
        }
        let id = self.ids[usize::from(follows)].get(source).copied();
        let id = id.unwrap_or_else(|| self.add(source, follows));
        if let Some((_, users)) = self.users.get_mut(&id) {
            *users += 1;
        }
        self.recent = Some(id);
        id
    }

    fn add(&mut self, source: &S, follows: bool) -> SourceId {
        let mut id = SourceId::new(self.next, follows);
        while self.users.contains_key(&id) {
            self.next = self.next.wrapping_add(1);
            id = SourceId::new(self.next, follows);
        }
        self.next = self.next.wrapping_add(1);
        self.ids[usize::from(follows)].insert(source.clone(), id);
        self.users.insert(id, (source.clone(), 0));
        id
    }

    /// From now on the source has other numbers: the domains it has are not counted among its own
    /// any more.
    pub fn renew(&mut self, source: &S) {
        for ids in &mut self.ids {
            ids.remove(source);
        }
        self.recent = None;
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
