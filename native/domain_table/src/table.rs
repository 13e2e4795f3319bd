//! The table, to read.

use crate::entry::{Entry, HostTypeId};
use crate::index::{Domains, Index};
use crate::map::Map;
use crate::name::{Name, Pair};
use crate::sources::{SourceId, Sources};
use crate::stored::StoredName;
use crate::writer::Writer;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The concurrent table: static and dynamic domains, allowed host types, sources.
///
/// Look-ups ask the *map* and take no lock. Lists are made of snapshots of the *index*: nothing is
/// locked while names are copied, so neither a list nor a change waits for the other. Changes come
/// one after the other ([`Writer`]).
///
/// Host types and static domains need no lock: they all come with [`Table::new`], because a dynamic
/// domain must have an allowed host type.
///
/// Lock order: the writer, `Index::moving`, then one lock of a `DashMap`, or one bucket of the map.
/// ([`Table::outdated`] alone holds the numbers of a source while it takes snapshots.)
pub struct Table<S> {
    pub(crate) map: Map,
    pub(crate) index: Index,
    pub(crate) sources: Sources<S>,
    pub(crate) writing: Mutex<()>,
    pub(crate) count: AtomicUsize,
    pub(crate) removals: AtomicU64,
    host_types: Vec<HostType>,
    host_type_ids: HashMap<Name, HostTypeId, RandomState>,
}

struct HostType {
    name: Name,
    allowed: bool,
    statics: Vec<Name>,
}

impl<S: Clone + Eq + Hash> Table<S> {
    /// A table of static domains. Of a repeated domain the first pair counts. The host types of
    /// static domains need not be allowed.
    pub fn new(
        statics: impl IntoIterator<Item = Pair>,
        allowed: impl IntoIterator<Item = Name>,
    ) -> Self {
        let mut table = Table {
            map: Map::default(),
            index: Index::default(),
            sources: Sources::new(),
            writing: Mutex::default(),
            count: AtomicUsize::new(0),
            removals: AtomicU64::new(0),
            host_types: Vec::new(),
            host_type_ids: HashMap::default(),
        };
        for host_type in allowed {
            let id = table.intern_host_type(host_type);
            table.host_types[id as usize].allowed = true;
        }
        for (domain, host_type) in statics {
            let host_type = table.intern_host_type(host_type);
            if table.find(domain.as_bytes()).is_none() {
                table.map.insert(StoredName::from(&*domain), Entry::of_static(host_type));
                table.host_types[host_type as usize].statics.push(domain);
                *table.count.get_mut() += 1;
            }
        }
        table
    }

    fn intern_host_type(&mut self, name: Name) -> HostTypeId {
        if let Some(&id) = self.host_type_ids.get(&name) {
            return id;
        }
        let id = self.host_types.len() as HostTypeId;
        self.host_types.push(HostType { name: name.clone(), allowed: false, statics: Vec::new() });
        self.host_type_ids.insert(name, id);
        id
    }

    /// The host type of a domain: the hot path.
    pub fn host_type(&self, domain: &[u8]) -> Option<&Name> {
        self.find(domain).map(|entry| self.name_of(entry))
    }

    /// Is the domain a static one?
    pub fn is_static(&self, domain: &[u8]) -> bool {
        self.find(domain).is_some_and(Entry::is_static)
    }

    /// Has the domain this host type?
    pub fn has_host_type(&self, domain: &[u8], host_type: &[u8]) -> bool {
        self.host_type(domain).is_some_and(|name| name.as_bytes() == host_type)
    }

    /// Is this a dynamic domain that follows the database?
    pub fn follows(&self, domain: &[u8]) -> bool {
        self.find(domain).is_some_and(Entry::follows)
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

    /// How often a domain has lost its host type. As long as that stays the same, a list stays true of
    /// all domains that it has.
    pub fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// The number of domains that follow the database.
    pub fn followed_len(&self) -> usize {
        self.sources.followed()
    }

    /// All static domains, with their host types.
    pub fn statics(&self) -> Vec<(Name, &Name)> {
        let pairs = self.host_types.iter().flat_map(|host_type| {
            host_type.statics.iter().map(|domain| (domain.clone(), &host_type.name))
        });
        pairs.collect()
    }

    /// All dynamic domains, with their host types.
    pub fn dynamics(&self) -> Vec<(Name, &Name)> {
        self.pairs(&self.index.snapshots(), |_| true)
    }

    /// The dynamic domains of other sources than this one, and those from before [`Writer::renew`].
    pub fn outdated(&self, source: &S) -> Vec<(Name, &Name)> {
        let (current, snapshots) =
            self.sources.with_ids(source, |current| (current, self.index.snapshots()));
        self.pairs(&snapshots, |source| !current.contains(&Some(source)))
    }

    /// The dynamic domains that follow the database: those that [`Writer::put`] brought or refreshed
    /// last.
    pub fn followed(&self) -> Vec<(Name, &Name)> {
        self.pairs(&self.index.snapshots(), SourceId::follows)
    }

    /// The domains of one host type, static and dynamic.
    pub fn domains_of(&self, host_type: &[u8]) -> Vec<Name> {
        let Some(id) = self.host_type_id(host_type) else { return Vec::new() };
        let statics = &self.host_types[id as usize].statics;
        let dynamics = self.index.snapshot(id).names;
        let mut domains = Vec::with_capacity(statics.len() + dynamics.len());
        domains.extend(statics.iter().cloned());
        domains.extend(dynamics.iter().map(StoredName::to_name));
        domains
    }

    /// Calls a function for each domain and its host type. Nothing is locked meanwhile.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &Name)) {
        for host_type in &self.host_types {
            host_type.statics.iter().for_each(|domain| visit(domain, &host_type.name));
        }
        for (id, domains) in self.index.snapshots() {
            let host_type = &self.host_types[id as usize].name;
            domains.names.iter().for_each(|domain| visit(domain.as_str(), host_type));
        }
    }

    /// Every host type that has been seen: its name, whether dynamic domains may have it, and the number
    /// of its domains, static and dynamic.
    pub fn host_types(&self) -> Vec<(&Name, bool, usize)> {
        let counted = self.host_types.iter().zip(0..).map(|(host_type, id)| {
            let domains = host_type.statics.len() + self.index.len(id);
            (&host_type.name, host_type.allowed, domains)
        });
        counted.collect()
    }

    /// The number of a host type: a small name, for who keeps many.
    pub fn host_type_number(&self, host_type: &[u8]) -> Option<NonZeroU32> {
        NonZeroU32::new(self.host_type_id(host_type)? + 1)
    }

    /// The host type with this number.
    pub fn host_type_name(&self, number: NonZeroU32) -> Option<&Name> {
        self.host_types.get(number.get() as usize - 1).map(|host_type| &host_type.name)
    }

    /// To change the table. Waits for other writers.
    pub fn writer(&self) -> Writer<'_, S> {
        Writer::new(self, self.writing.lock())
    }

    /// To change the table, unless that would have to wait for another writer.
    pub fn try_writer(&self) -> Option<Writer<'_, S>> {
        Some(Writer::new(self, self.writing.try_lock()?))
    }

    pub(crate) fn find(&self, domain: &[u8]) -> Option<Entry> {
        self.map.get(domain)
    }

    pub(crate) fn name_of(&self, entry: Entry) -> &Name {
        &self.host_types[entry.host_type() as usize].name
    }

    pub(crate) fn allowed_id(&self, host_type: &[u8]) -> Option<HostTypeId> {
        let id = self.host_type_id(host_type)?;
        self.host_types[id as usize].allowed.then_some(id)
    }

    fn host_type_id(&self, host_type: &[u8]) -> Option<HostTypeId> {
        // Names are UTF-8, so what is not is none.
        self.host_type_ids.get(std::str::from_utf8(host_type).ok()?).copied()
    }

    /// The domains whose sources are selected, with their host types.
    fn pairs(
        &self,
        snapshots: &[(HostTypeId, Domains)],
        is_selected: impl Fn(SourceId) -> bool,
    ) -> Vec<(Name, &Name)> {
        let mut pairs = Vec::new();
        for (host_type, domains) in snapshots {
            let host_type = &self.host_types[*host_type as usize].name;
            let selected = domains.iter().filter(|(_, source)| is_selected(*source));
            pairs.extend(selected.map(|(domain, _)| (domain.to_name(), host_type)));
        }
        pairs
    }
}
