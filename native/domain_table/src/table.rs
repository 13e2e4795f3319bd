//! The table itself.

use crate::books::{Books, HostTypeDomains, SourceId, Sources};
use dashmap::DashMap;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A domain or a host type: its bytes, shared.
pub type Name = Arc<[u8]>;

/// A domain and its host type.
pub type Pair = (Name, Name);

/// The number of a host type in `Table::host_types`.
type HostTypeId = u32;

/// The concurrent table: static and dynamic domains, allowed host types, sources.
///
/// Two parts. The *map* answers lookups. The *books* (domains by host type, sources) serve lists and
/// changes, under one lock: a change holds it exclusively, so changes come one after the other;
/// a list holds it shared, for as long as it takes to copy pointers, so a list is a snapshot.
///
/// Host types need no lock: they all come with [`Table::new`], because a dynamic domain must have an
/// allowed one.
///
/// Lock order: books, then a shard of the map; no reference into the map outlives its expression.
pub struct Table<S> {
    map: DashMap<Name, Entry>,
    host_types: Vec<HostType>,
    host_type_ids: HashMap<Name, HostTypeId>,
    /// The size of the map, which would lock every shard to say it.
    count: AtomicUsize,
    books: RwLock<Books<S>>,
}

struct HostType {
    name: Name,
    allowed: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    host_type: HostTypeId,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Static,
    Dynamic {
        source: SourceId,
        /// Its place among the domains of its host type.
        slot: u32,
    },
}

/// Where a dynamic domain comes from.
struct Origin<'a, S> {
    source: &'a S,
    /// Does it follow the database, or did another caller insert it?
    follows: bool,
}

/// What [`Table::insert`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The domain was absent and routes now.
    New,
    /// It was there with the same host type; only its source is replaced.
    Refreshed,
}

/// Why [`Table::insert`] changed nothing, in the order of the checks.
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

/// Why [`Table::delete`] changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// The domain is static.
    #[error("domain is static")]
    Static,
}

/// What [`Table::put`] did.
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

impl<S: Clone + Eq + Hash> Table<S> {
    /// A table of static domains. Of a repeated domain the first pair counts. The host types of
    /// static domains need not be allowed.
    pub fn new(
        statics: impl IntoIterator<Item = Pair>,
        allowed: impl IntoIterator<Item = Name>,
    ) -> Self {
        let mut table = Table {
            map: DashMap::new(),
            host_types: Vec::new(),
            host_type_ids: HashMap::new(),
            count: AtomicUsize::new(0),
            books: RwLock::new(Books { by_host_type: Vec::new(), sources: Sources::new() }),
        };
        for host_type in allowed {
            let id = table.add_host_type(host_type);
            table.host_types[id as usize].allowed = true;
        }
        for (domain, host_type) in statics {
            if table.map.contains_key(&domain) {
                continue;
            }
            let id = table.add_host_type(host_type);
            table.books.get_mut().by_host_type[id as usize].push_static(domain.clone());
            table.map.insert(domain, Entry { host_type: id, kind: Kind::Static });
            *table.count.get_mut() += 1;
        }
        table
    }

    fn add_host_type(&mut self, name: Name) -> HostTypeId {
        if let Some(&id) = self.host_type_ids.get(&name) {
            return id;
        }
        let id = self.host_types.len() as HostTypeId;
        self.host_types.push(HostType { name: name.clone(), allowed: false });
        self.books.get_mut().by_host_type.push(HostTypeDomains::default());
        self.host_type_ids.insert(name, id);
        id
    }

    /// The host type of a domain: the hot path.
    pub fn host_type(&self, domain: &[u8]) -> Option<&Name> {
        self.entry(domain).map(|entry| self.host_type_name(entry))
    }

    /// Is the domain a static one?
    pub fn is_static(&self, domain: &[u8]) -> bool {
        matches!(self.entry(domain), Some(Entry { kind: Kind::Static, .. }))
    }

    /// May dynamic domains have this host type?
    pub fn is_host_type_allowed(&self, host_type: &[u8]) -> bool {
        self.allowed_id(host_type).is_some()
    }

    /// The number of domains, static and dynamic.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Is there no domain at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All static domains.
    pub fn statics(&self) -> Vec<Pair> {
        self.pairs(HostTypeDomains::statics)
    }

    /// All dynamic domains.
    pub fn dynamics(&self) -> Vec<Pair> {
        self.pairs(HostTypeDomains::dynamics)
    }

    /// The dynamic domains of other sources than this one, and those from before [`Table::renew`].
    pub fn outdated(&self, source: &S) -> Vec<Pair> {
        let current = self.books.read().sources.ids(source);
        let mut pairs = self.dynamics();
        pairs.retain(|(domain, _)| match self.entry(domain).map(|entry| entry.kind) {
            Some(Kind::Dynamic { source, .. }) => !current.contains(&Some(source)),
            _ => false,
        });
        pairs
    }

    /// The dynamic domains that follow the database: those that [`Table::put`] brought or refreshed
    /// last.
    pub fn followed(&self) -> Vec<Pair> {
        let mut pairs = self.dynamics();
        pairs.retain(|(domain, _)| self.follows(domain));
        pairs
    }

    /// The number of domains that follow the database.
    pub fn followed_len(&self) -> usize {
        self.books.read().sources.followed()
    }

    /// Is this a dynamic domain that follows the database?
    pub fn follows(&self, domain: &[u8]) -> bool {
        let kind = self.entry(domain).map(|entry| entry.kind);
        matches!(kind, Some(Kind::Dynamic { source, .. }) if source.follows())
    }

    /// The domains of one host type, static and dynamic.
    pub fn domains_of(&self, host_type: &[u8]) -> Vec<Name> {
        match self.host_type_ids.get(host_type) {
            Some(&id) => self.books.read().by_host_type[id as usize].all().to_vec(),
            None => Vec::new(),
        }
    }

    /// Inserts a dynamic domain, as a caller of `mongoose_domain_core:insert/3` asks for it: a
    /// domain that has another host type is refused.
    pub fn insert(
        &self,
        domain: &[u8],
        host_type: &[u8],
        source: &S,
    ) -> Result<Inserted, InsertError> {
        let id = self.allowed_id(host_type).ok_or(InsertError::UnknownHostType)?;
        let mut books = self.books.write();
        match self.entry(domain) {
            None => {
                self.add(&mut books, domain, id, Origin { source, follows: false });
                Ok(Inserted::New)
            }
            Some(Entry { kind: Kind::Static, .. }) => Err(InsertError::Static),
            Some(Entry { host_type, .. }) if host_type != id => Err(InsertError::BadInsert),
            Some(_) => {
                self.refresh(&mut books, domain, Origin { source, follows: false });
                Ok(Inserted::Refreshed)
            }
        }
    }

    /// Makes a dynamic domain have this host type, as the database says: one that has another host
    /// type is given the new one in a single step. From now on the domain follows the database.
    pub fn put(&self, domain: &[u8], host_type: &[u8], source: &S) -> Put {
        let id = self.allowed_id(host_type);
        let mut books = self.books.write();
        let entry = self.entry(domain);
        let origin = Origin { source, follows: true };
        if let Some(entry @ Entry { kind: Kind::Static, .. }) = entry {
            return Put::Static(self.host_type_name(entry).clone());
        }
        let Some(id) = id else {
            let removed = entry.map(|entry| self.remove(&mut books, domain, entry));
            return Put::UnknownHostType { removed };
        };
        match entry {
            None => {
                self.add(&mut books, domain, id, origin);
                Put::Added
            }
            Some(entry) if entry.host_type == id => {
                self.refresh(&mut books, domain, origin);
                Put::Refreshed
            }
            Some(entry) => {
                self.strike(&mut books, entry);
                self.enter(&mut books, domain.into(), id, origin);
                Put::Replaced(self.host_type_name(entry).clone())
            }
        }
    }

    /// Deletes a dynamic domain and returns the host type it had, or `None` if it was absent.
    pub fn delete(&self, domain: &[u8]) -> Result<Option<Name>, DeleteError> {
        let mut books = self.books.write();
        match self.entry(domain) {
            None => Ok(None),
            Some(Entry { kind: Kind::Static, .. }) => Err(DeleteError::Static),
            Some(entry) => Ok(Some(self.remove(&mut books, domain, entry))),
        }
    }

    /// What the source has brought so far becomes outdated, until it brings it again.
    pub fn renew(&self, source: &S) {
        self.books.write().sources.renew(source);
    }

    /// Deletes a dynamic domain unless it has this source, and returns the host type it had.
    pub fn delete_outdated(&self, domain: &[u8], source: &S) -> Option<Name> {
        let mut books = self.books.write();
        let current = books.sources.ids(source);
        match self.entry(domain) {
            Some(entry @ Entry { kind: Kind::Dynamic { source, .. }, .. })
                if !current.contains(&Some(source)) =>
            {
                Some(self.remove(&mut books, domain, entry))
            }
            _ => None,
        }
    }

    fn entry(&self, domain: &[u8]) -> Option<Entry> {
        self.map.get(domain).map(|entry| *entry)
    }

    fn host_type_name(&self, entry: Entry) -> &Name {
        &self.host_types[entry.host_type as usize].name
    }

    fn allowed_id(&self, host_type: &[u8]) -> Option<HostTypeId> {
        let id = *self.host_type_ids.get(host_type)?;
        self.host_types[id as usize].allowed.then_some(id)
    }

    fn pairs(&self, select: fn(&HostTypeDomains) -> &[Name]) -> Vec<Pair> {
        let books = self.books.read();
        let of_each = || books.by_host_type.iter().map(select);
        let mut pairs = Vec::with_capacity(of_each().map(<[Name]>::len).sum());
        for (domains, host_type) in of_each().zip(&self.host_types) {
            pairs.extend(domains.iter().map(|domain| (domain.clone(), host_type.name.clone())));
        }
        pairs
    }

    fn add(
        &self,
        books: &mut Books<S>,
        domain: &[u8],
        host_type: HostTypeId,
        origin: Origin<'_, S>,
    ) {
        self.enter(books, domain.into(), host_type, origin);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, books: &mut Books<S>, domain: &[u8], entry: Entry) -> Name {
        self.map.remove(domain);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.strike(books, entry);
        self.host_type_name(entry).clone()
    }

    fn refresh(&self, books: &mut Books<S>, domain: &[u8], origin: Origin<'_, S>) {
        let new = books.sources.acquire(origin.source, origin.follows);
        let old = self.map.get_mut(domain).and_then(|mut entry| match &mut entry.kind {
            Kind::Dynamic { source, .. } => Some(std::mem::replace(source, new)),
            Kind::Static => None,
        });
        // A domain that is no dynamic one of ours leaves the new source without a user.
        books.sources.release(old.unwrap_or(new));
    }

    /// Enters a dynamic domain into the books and the map, over what the map had.
    fn enter(
        &self,
        books: &mut Books<S>,
        domain: Name,
        host_type: HostTypeId,
        origin: Origin<'_, S>,
    ) {
        let slot = books.by_host_type[host_type as usize].push(domain.clone()) as u32;
        let source = books.sources.acquire(origin.source, origin.follows);
        self.map.insert(domain, Entry { host_type, kind: Kind::Dynamic { source, slot } });
    }

    /// Strikes a dynamic domain off the books.
    fn strike(&self, books: &mut Books<S>, entry: Entry) {
        let Kind::Dynamic { source, slot: emptied } = entry.kind else { return };
        books.sources.release(source);
        let domains = &mut books.by_host_type[entry.host_type as usize];
        if let Some(moved) = domains.swap_remove(emptied as usize)
            && let Some(mut entry) = self.map.get_mut(&moved)
            && let Kind::Dynamic { slot, .. } = &mut entry.kind
        {
            *slot = emptied;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.as_bytes().into()
    }

    fn table() -> Table<u32> {
        Table::new(
            [(name("s"), name("a")), (name("s"), name("b")), (name("t"), name("only static"))],
            [name("a"), name("b")],
        )
    }

    #[test]
    fn of_a_repeated_static_domain_the_first_pair_counts() {
        let table = table();
        assert_eq!(table.host_type(b"s"), Some(&name("a")));
        assert_eq!(table.len(), 2);
        assert_eq!(table.statics().len(), 2);
        assert_eq!(table.domains_of(b"b"), Vec::<Name>::new());
    }

    #[test]
    fn the_host_type_of_a_static_domain_need_not_be_allowed() {
        let table = table();
        assert_eq!(table.host_type(b"t"), Some(&name("only static")));
        assert!(!table.is_host_type_allowed(b"only static"));
        assert_eq!(table.insert(b"d", b"only static", &1), Err(InsertError::UnknownHostType));
    }

    #[test]
    fn insert_checks_host_type_then_static_then_the_present_host_type() {
        let table = table();
        assert_eq!(table.insert(b"s", b"none", &1), Err(InsertError::UnknownHostType));
        assert_eq!(table.insert(b"s", b"a", &1), Err(InsertError::Static));
        assert_eq!(table.insert(b"d", b"a", &1), Ok(Inserted::New));
        assert_eq!(table.insert(b"d", b"b", &2), Err(InsertError::BadInsert));
        assert_eq!(table.outdated(&1), []);
        assert_eq!(table.insert(b"d", b"a", &2), Ok(Inserted::Refreshed));
        assert_eq!(table.outdated(&1), [(name("d"), name("a"))]);
        assert_eq!(table.outdated(&2), []);
    }

    #[test]
    fn put_replaces_another_host_type_but_never_a_static_domain() {
        let table = table();
        assert_eq!(table.put(b"s", b"b", &1), Put::Static(name("a")));
        assert_eq!(table.put(b"s", b"none", &1), Put::Static(name("a")));
        assert_eq!(table.put(b"d", b"none", &1), Put::UnknownHostType { removed: None });
        assert_eq!(table.put(b"d", b"a", &1), Put::Added);
        assert_eq!(table.put(b"d", b"b", &2), Put::Replaced(name("a")));
        assert_eq!(table.put(b"d", b"b", &3), Put::Refreshed);
        assert_eq!(table.domains_of(b"a"), [name("s")]);
        assert_eq!(table.domains_of(b"b"), [name("d")]);
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_domain_whose_host_type_is_now_an_unknown_one_routes_no_more() {
        let table = table();
        table.put(b"d", b"a", &1);
        let removed = Some(name("a"));
        assert_eq!(table.put(b"d", b"none", &1), Put::UnknownHostType { removed });
        assert_eq!(table.host_type(b"d"), None);
    }

    #[test]
    fn delete_spares_statics_and_accepts_the_absent() {
        let table = table();
        table.put(b"d", b"a", &1);
        assert_eq!(table.delete(b"s"), Err(DeleteError::Static));
        assert_eq!(table.delete(b"none"), Ok(None));
        assert_eq!(table.delete(b"d"), Ok(Some(name("a"))));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn only_outdated_domains_are_swept() {
        let table = table();
        table.put(b"old", b"a", &1);
        table.put(b"new", b"a", &2);
        assert_eq!(table.delete_outdated(b"new", &2), None);
        assert_eq!(table.delete_outdated(b"s", &2), None);
        assert_eq!(table.delete_outdated(b"old", &2), Some(name("a")));
        assert_eq!(table.dynamics(), [(name("new"), name("a"))]);
    }

    #[test]
    fn a_source_without_domains_is_forgotten() {
        let table = table();
        for source in 0..100 {
            table.put(b"d", b"a", &source);
            table.put(b"e", b"b", &source);
        }
        assert_eq!(table.books.read().sources.len(), 1);
        table.delete(b"d").unwrap();
        table.delete(b"e").unwrap();
        assert_eq!(table.books.read().sources.len(), 0);
    }
}
