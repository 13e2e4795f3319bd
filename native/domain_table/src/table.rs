//! The table itself.

use crate::books::{Books, Domains, Listed, SourceId, Sources};
use crate::name::{Name, Pair};
use crate::shard::{Entry, HostTypeId, Place, Shard, Slot};
use foldhash::fast::RandomState;
use parking_lot::{RwLock, RwLockWriteGuard};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shards per core. The more, the shorter is the pause when one of them grows: with two cores a shard
/// of a million domains has 4,000, and grows in some 50 µs.
const SHARDS_PER_CORE: usize = 128;

/// A host type that has more than one in so many of all domains is listed by a look at all of them.
const SCAN: usize = 16;

/// The concurrent table: static and dynamic domains, allowed host types, sources.
///
/// Two parts. The *map* answers lookups: shards, each behind a lock of its own. The *books* (domains
/// by host type, sources) serve lists and changes, under one lock: a change holds it exclusively
/// ([`Writer`]), so changes come one after the other; a list holds it shared, while it copies names,
/// so a list is a snapshot.
///
/// Host types need no lock: they all come with [`Table::new`], because a dynamic domain must have an
/// allowed one.
///
/// Lock order: books, then one shard, never two.
pub struct Table<S> {
    shards: Box<[Padded]>,
    /// Keyed at random, so that nobody can choose names that fall together.
    hasher: RandomState,
    host_types: Vec<HostType>,
    host_type_ids: HashMap<Name, HostTypeId, RandomState>,
    count: AtomicUsize,
    books: RwLock<Books<S>>,
}

/// On a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Padded(RwLock<Shard>);

struct HostType {
    name: Name,
    allowed: bool,
}

/// A domain that is in the table.
#[derive(Clone, Copy)]
struct Found {
    hash: u64,
    entry: Entry,
}

/// Where a dynamic domain comes from.
struct Origin<'a, S> {
    source: &'a S,
    /// Does it follow the database, or did another caller insert it?
    follows: bool,
}

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

impl<S: Clone + Eq + Hash> Table<S> {
    /// A table of static domains. Of a repeated domain the first pair counts. The host types of
    /// static domains need not be allowed.
    pub fn new(
        statics: impl IntoIterator<Item = Pair>,
        allowed: impl IntoIterator<Item = Name>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut table = Table {
            shards: (0..SHARDS_PER_CORE * cores).map(|_| Padded::default()).collect(),
            hasher: RandomState::default(),
            host_types: Vec::new(),
            host_type_ids: HashMap::default(),
            count: AtomicUsize::new(0),
            books: RwLock::new(Books { by_host_type: Vec::new(), sources: Sources::new() }),
        };
        for host_type in allowed {
            let id = table.add_host_type(host_type);
            table.host_types[id as usize].allowed = true;
        }
        for (domain, host_type) in statics {
            let host_type = table.add_host_type(host_type);
            let hash = table.hash(domain.as_bytes());
            if table.find_hashed(hash, domain.as_bytes()).is_none() {
                let domains = &mut table.books.get_mut().by_host_type[host_type as usize];
                domains.statics.push(domain.clone());
                let entry = Entry { host_type, place: Place::STATIC };
                table.add(hash, Slot { domain, entry });
            }
        }
        table
    }

    fn add_host_type(&mut self, name: Name) -> HostTypeId {
        if let Some(&id) = self.host_type_ids.get(&name) {
            return id;
        }
        let id = self.host_types.len() as HostTypeId;
        self.host_types.push(HostType { name: name.clone(), allowed: false });
        self.books.get_mut().by_host_type.push(Domains::default());
        self.host_type_ids.insert(name, id);
        id
    }

    /// The host type of a domain: the hot path.
    pub fn host_type(&self, domain: &[u8]) -> Option<&Name> {
        self.find(domain).map(|found| self.name_of(found.entry))
    }

    /// Is the domain a static one?
    pub fn is_static(&self, domain: &[u8]) -> bool {
        self.find(domain).is_some_and(|found| found.entry.place.is_static())
    }

    /// Has the domain this host type?
    pub fn has_host_type(&self, domain: &[u8], host_type: &[u8]) -> bool {
        self.host_type(domain).is_some_and(|name| name.as_bytes() == host_type)
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

    /// All static domains, with their host types.
    pub fn statics(&self) -> Vec<(Name, &Name)> {
        let books = self.books.read();
        let of_each = books.by_host_type.iter().zip(&self.host_types);
        let pairs = of_each.flat_map(|(domains, host_type)| {
            domains.statics.iter().map(|domain| (domain.clone(), &host_type.name))
        });
        pairs.collect()
    }

    /// All dynamic domains, with their host types.
    pub fn dynamics(&self) -> Vec<(Name, &Name)> {
        // Nothing changes meanwhile.
        let _books = self.books.read();
        let mut list = Vec::with_capacity(self.len());
        self.for_each_dynamic(|slot| list.push((slot.domain.clone(), self.name_of(slot.entry))));
        list
    }

    /// The dynamic domains of other sources than this one, and those from before [`Writer::renew`].
    pub fn outdated(&self, source: &S) -> Vec<(Name, &Name)> {
        let books = self.books.read();
        let current = books.sources.ids(source);
        self.listed(&books, |source| !current.contains(&Some(source)))
    }

    /// The dynamic domains that follow the database: those that [`Writer::put`] brought or refreshed
    /// last.
    pub fn followed(&self) -> Vec<(Name, &Name)> {
        self.listed(&self.books.read(), SourceId::follows)
    }

    /// The number of domains that follow the database.
    pub fn followed_len(&self) -> usize {
        self.books.read().sources.followed()
    }

    /// Is this a dynamic domain that follows the database?
    pub fn follows(&self, domain: &[u8]) -> bool {
        let books = self.books.read();
        let source = self.find(domain).and_then(|found| books.source(found.entry));
        source.is_some_and(SourceId::follows)
    }

    /// Every host type that has been seen: its name, whether dynamic domains may have it, and the number
    /// of its domains, static and dynamic.
    pub fn host_types(&self) -> Vec<(&Name, bool, usize)> {
        let books = self.books.read();
        let of_each = self.host_types.iter().zip(&books.by_host_type);
        let counted = of_each.map(|(host_type, domains)| {
            (&host_type.name, host_type.allowed, domains.statics.len() + domains.dynamics.len())
        });
        counted.collect()
    }

    /// The domains of one host type, static and dynamic.
    pub fn domains_of(&self, host_type: &[u8]) -> Vec<Name> {
        let Some(id) = self.host_type_id(host_type) else { return Vec::new() };
        let books = self.books.read();
        let Domains { statics, dynamics } = &books.by_host_type[id as usize];
        let mut domains = statics.clone();
        domains.reserve_exact(dynamics.len());
        if dynamics.len() * SCAN > self.len() {
            self.for_each_dynamic(|slot| {
                if slot.entry.host_type == id {
                    domains.push(slot.domain.clone());
                }
            });
        } else {
            let name = |(index, listed)| self.listed_name(id, index, listed);
            domains.extend(dynamics.iter().enumerate().filter_map(name));
        }
        domains
    }

    /// To change the table. Waits for lists and for other writers.
    pub fn writer(&self) -> Writer<'_, S> {
        Writer { table: self, books: self.books.write() }
    }

    /// To change the table, unless that would have to wait for a list or another writer.
    pub fn try_writer(&self) -> Option<Writer<'_, S>> {
        Some(Writer { table: self, books: self.books.try_write()? })
    }

    fn hash(&self, domain: &[u8]) -> u64 {
        self.hasher.hash_one(domain)
    }

    fn find(&self, domain: &[u8]) -> Option<Found> {
        self.find_hashed(self.hash(domain), domain)
    }

    fn find_hashed(&self, hash: u64, domain: &[u8]) -> Option<Found> {
        let entry = self.shard(hash).read().get(hash, domain)?;
        Some(Found { hash, entry })
    }

    /// The shard of a hash, by its upper half; within a shard the lower one counts.
    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        let number = ((hash >> 32) * self.shards.len() as u64) >> 32;
        &self.shards[number as usize].0
    }

    fn name_of(&self, entry: Entry) -> &Name {
        &self.host_types[entry.host_type as usize].name
    }

    fn host_type_id(&self, host_type: &[u8]) -> Option<HostTypeId> {
        // Names are UTF-8, so what is not is none.
        self.host_type_ids.get(std::str::from_utf8(host_type).ok()?).copied()
    }

    fn allowed_id(&self, host_type: &[u8]) -> Option<HostTypeId> {
        let id = self.host_type_id(host_type)?;
        self.host_types[id as usize].allowed.then_some(id)
    }

    /// The dynamic domains whose sources are selected.
    fn listed(
        &self,
        books: &Books<S>,
        is_selected: impl Fn(SourceId) -> bool,
    ) -> Vec<(Name, &Name)> {
        let mut list = Vec::new();
        for (domains, id) in books.by_host_type.iter().zip(0..) {
            let host_type = &self.host_types[id as usize].name;
            let selected = domains.dynamics.iter().enumerate();
            let selected = selected.filter(|(_, listed)| is_selected(listed.source));
            let name = |(index, listed)| Some((self.listed_name(id, index, listed)?, host_type));
            list.extend(selected.filter_map(name));
        }
        list
    }

    fn listed_name(&self, host_type: HostTypeId, index: usize, listed: &Listed) -> Option<Name> {
        let (hash, entry) = (listed.hash, Entry { host_type, place: Place::new(index) });
        self.shard(hash).read().domain(hash, entry).cloned()
    }

    fn for_each_dynamic(&self, mut visit: impl FnMut(&Slot)) {
        for shard in &self.shards {
            let shard = shard.0.read();
            shard.iter().filter(|slot| !slot.entry.place.is_static()).for_each(&mut visit);
        }
    }

    /// Adds a domain that is not there.
    fn add(&self, hash: u64, slot: Slot) {
        self.shard(hash).write().add(&self.hasher, hash, slot);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The right to change a table, which one at a time has. What it changes is seen at once, one change
/// after the other; lists wait until it is dropped.
pub struct Writer<'a, S> {
    table: &'a Table<S>,
    books: RwLockWriteGuard<'a, Books<S>>,
}

impl<S: Clone + Eq + Hash> Writer<'_, S> {
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
        let hash = self.table.hash(domain.as_bytes());
        match self.table.find_hashed(hash, domain.as_bytes()) {
            None => {
                self.add(hash, domain, id, origin);
                Ok(Inserted::New)
            }
            Some(found) if found.entry.place.is_static() => Err(InsertError::Static),
            Some(found) if found.entry.host_type != id => Err(InsertError::BadInsert),
            Some(found) => {
                self.refresh(found, origin);
                Ok(Inserted::Refreshed)
            }
        }
    }

    /// Makes a dynamic domain have this host type, as the database says: one that has another host
    /// type is given the new one in a single step. From now on the domain follows the database.
    pub fn put(&mut self, domain: &str, host_type: &[u8], source: &S) -> Put {
        let id = self.table.allowed_id(host_type);
        let hash = self.table.hash(domain.as_bytes());
        let found = self.table.find_hashed(hash, domain.as_bytes());
        let origin = Origin { source, follows: true };
        match (found, id) {
            (Some(found), _) if found.entry.place.is_static() => {
                Put::Static(self.table.name_of(found.entry).clone())
            }
            (found, None) => {
                Put::UnknownHostType { removed: found.map(|found| self.remove(found)) }
            }
            (None, Some(id)) => {
                self.add(hash, domain, id, origin);
                Put::Added
            }
            (Some(found), Some(id)) if found.entry.host_type == id => {
                self.refresh(found, origin);
                Put::Refreshed
            }
            (Some(found), Some(id)) => Put::Replaced(self.replace(found, id, origin)),
        }
    }

    /// Deletes a dynamic domain and returns the host type it had, or `None` if it was absent.
    pub fn delete(&mut self, domain: &[u8]) -> Result<Option<Name>, DeleteError> {
        match self.table.find(domain) {
            None => Ok(None),
            Some(found) if found.entry.place.is_static() => Err(DeleteError::Static),
            Some(found) => Ok(Some(self.remove(found))),
        }
    }

    /// Deletes a dynamic domain unless it has this source, and returns the host type it had.
    pub fn delete_outdated(&mut self, domain: &[u8], source: &S) -> Option<Name> {
        let found = self.table.find(domain)?;
        let its_source = self.books.source(found.entry)?;
        let is_current = self.books.sources.ids(source).contains(&Some(its_source));
        (!is_current).then(|| self.remove(found))
    }

    /// What the source has brought so far becomes outdated, until it brings it again.
    pub fn renew(&mut self, source: &S) {
        self.books.sources.renew(source);
    }

    fn add(&mut self, hash: u64, domain: &str, host_type: HostTypeId, origin: Origin<'_, S>) {
        let entry = self.enter(hash, host_type, origin);
        self.table.add(hash, Slot { domain: domain.into(), entry });
    }

    fn remove(&mut self, found: Found) -> Name {
        self.table.shard(found.hash).write().remove(&self.table.hasher, found.hash, found.entry);
        self.table.count.fetch_sub(1, Ordering::Relaxed);
        self.strike(found.entry);
        self.table.name_of(found.entry).clone()
    }

    /// Gives a dynamic domain another host type, and returns the one it had.
    fn replace(&mut self, found: Found, host_type: HostTypeId, origin: Origin<'_, S>) -> Name {
        let new = self.enter(found.hash, host_type, origin);
        self.table.shard(found.hash).write().replace(found.hash, found.entry, new);
        self.strike(found.entry);
        self.table.name_of(found.entry).clone()
    }

    /// Gives a dynamic domain another source.
    fn refresh(&mut self, found: Found, origin: Origin<'_, S>) {
        let Entry { host_type, place } = found.entry;
        let source = self.books.sources.acquire(origin.source, origin.follows);
        let dynamics = &mut self.books.by_host_type[host_type as usize].dynamics;
        if let Some(listed) = dynamics.get_mut(place.index()) {
            let Listed { source: old, hash } = *listed;
            *listed = Listed { source, hash };
            self.books.sources.release(old);
        }
    }

    /// Enters a dynamic domain into the books.
    fn enter(&mut self, hash: u64, host_type: HostTypeId, origin: Origin<'_, S>) -> Entry {
        let source = self.books.sources.acquire(origin.source, origin.follows);
        let dynamics = &mut self.books.by_host_type[host_type as usize].dynamics;
        dynamics.push(Listed { hash, source });
        Entry { host_type, place: Place::new(dynamics.len() - 1) }
    }

    /// Strikes a dynamic domain off the books. The last one of its host type takes its place.
    fn strike(&mut self, entry: Entry) {
        let dynamics = &mut self.books.by_host_type[entry.host_type as usize].dynamics;
        let Some(Listed { source, .. }) = dynamics.swap_remove(entry.place.index()) else { return };
        if let Some(&Listed { hash, .. }) = dynamics.get(entry.place.index()) {
            let last = Entry { place: Place::new(dynamics.len()), ..entry };
            self.table.shard(hash).write().replace(hash, last, entry);
        }
        self.books.sources.release(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.into()
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
        assert_eq!(
            table.writer().insert("d", b"only static", &1),
            Err(InsertError::UnknownHostType)
        );
    }

    #[test]
    fn insert_checks_host_type_then_static_then_the_present_host_type() {
        let table = table();
        assert_eq!(table.writer().insert("s", b"none", &1), Err(InsertError::UnknownHostType));
        assert_eq!(table.writer().insert("s", b"a", &1), Err(InsertError::Static));
        assert_eq!(table.writer().insert("d", b"a", &1), Ok(Inserted::New));
        assert_eq!(table.writer().insert("d", b"b", &2), Err(InsertError::BadInsert));
        assert_eq!(table.outdated(&1), []);
        assert_eq!(table.writer().insert("d", b"a", &2), Ok(Inserted::Refreshed));
        assert_eq!(table.outdated(&1), [(name("d"), &name("a"))]);
        assert_eq!(table.outdated(&2), []);
    }

    #[test]
    fn put_replaces_another_host_type_but_never_a_static_domain() {
        let table = table();
        assert_eq!(table.writer().put("s", b"b", &1), Put::Static(name("a")));
        assert_eq!(table.writer().put("s", b"none", &1), Put::Static(name("a")));
        assert_eq!(table.writer().put("d", b"none", &1), Put::UnknownHostType { removed: None });
        assert_eq!(table.writer().put("d", b"a", &1), Put::Added);
        assert_eq!(table.writer().put("d", b"b", &2), Put::Replaced(name("a")));
        assert_eq!(table.writer().put("d", b"b", &3), Put::Refreshed);
        assert_eq!(table.domains_of(b"a"), [name("s")]);
        assert_eq!(table.domains_of(b"b"), [name("d")]);
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_domain_whose_host_type_is_now_an_unknown_one_routes_no_more() {
        let table = table();
        table.writer().put("d", b"a", &1);
        let removed = Some(name("a"));
        assert_eq!(table.writer().put("d", b"none", &1), Put::UnknownHostType { removed });
        assert_eq!(table.host_type(b"d"), None);
    }

    #[test]
    fn delete_spares_statics_and_accepts_the_absent() {
        let table = table();
        table.writer().put("d", b"a", &1);
        assert_eq!(table.writer().delete(b"s"), Err(DeleteError::Static));
        assert_eq!(table.writer().delete(b"none"), Ok(None));
        assert_eq!(table.writer().delete(b"d"), Ok(Some(name("a"))));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn who_cannot_wait_is_told_that_somebody_else_writes() {
        let table = table();
        let writer = table.writer();
        assert!(table.try_writer().is_none());
        drop(writer);
        assert_eq!(table.try_writer().unwrap().delete(b"none"), Ok(None));
    }

    #[test]
    fn a_host_type_is_listed_by_the_books_and_by_the_map() {
        let table = table();
        let names: Vec<Name> = (0..100).map(|n| name(&format!("d{n:02}"))).collect();
        for (domain, host_type) in names.iter().zip(["a", "b", "b", "b"].iter().cycle()) {
            table.writer().put(domain, host_type.as_bytes(), &1);
        }
        for (n, domain) in names.iter().enumerate().filter(|(n, _)| n % 4 == 0 && *n > 7) {
            // Down to two of many: too few for a look at all of them.
            assert_eq!(table.writer().delete(domain.as_bytes()), Ok(Some(name("a"))), "{n}");
        }
        let sorted = |mut domains: Vec<Name>| {
            domains.sort();
            domains
        };
        assert_eq!(sorted(table.domains_of(b"a")), [name("d00"), name("d04"), name("s")]);
        let of_b = names.iter().enumerate().filter(|(n, _)| n % 4 != 0);
        assert_eq!(
            sorted(table.domains_of(b"b")),
            of_b.map(|(_, d)| d.clone()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn only_outdated_domains_are_swept() {
        let table = table();
        table.writer().put("old", b"a", &1);
        table.writer().put("new", b"a", &2);
        assert_eq!(table.writer().delete_outdated(b"new", &2), None);
        assert_eq!(table.writer().delete_outdated(b"s", &2), None);
        assert_eq!(table.writer().delete_outdated(b"old", &2), Some(name("a")));
        assert_eq!(table.dynamics(), [(name("new"), &name("a"))]);
    }

    #[test]
    fn a_source_without_domains_is_forgotten() {
        let table = table();
        for source in 0..100 {
            table.writer().put("d", b"a", &source);
            table.writer().put("e", b"b", &source);
        }
        assert_eq!(table.books.read().sources.len(), 1);
        table.writer().delete(b"d").unwrap();
        table.writer().delete(b"e").unwrap();
        assert_eq!(table.books.read().sources.len(), 0);
    }
}
