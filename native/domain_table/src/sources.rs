//! Interned sources: who inserted the dynamic domains.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The number of an interned source. The lowest bit says whether its domains follow the database: a
/// source may have domains of both sorts.
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

/// The numbers under which a source brings domains now, by whether these follow the database.
pub(crate) type SourceIds = [Option<SourceId>; 2];

/// A source that no domain refers to any more is forgotten. Only one thread at a time changes them.
pub(crate) struct Sources<S> {
    ids: DashMap<S, SourceIds, RandomState>,
    users: DashMap<SourceId, Users<S>, RandomState>,
    next: AtomicU32,
    /// The last one that was asked for: mostly it is asked for again.
    recent: AtomicU32,
    followed: AtomicUsize,
}

struct Users<S> {
    source: S,
    domains: usize,
}

/// No source has this number: they are below 2^31.
const NONE: u32 = u32::MAX;

impl<S: Clone + Eq + Hash> Sources<S> {
    pub fn new() -> Self {
        Sources {
            ids: DashMap::default(),
            users: DashMap::default(),
            next: AtomicU32::new(0),
            recent: AtomicU32::new(NONE),
            followed: AtomicUsize::new(0),
        }
    }

    /// The number of domains that follow the database.
    pub fn followed(&self) -> usize {
        self.followed.load(Ordering::Relaxed)
    }

    /// Does the source bring domains under this number?
    pub fn is_current(&self, source: &S, id: SourceId) -> bool {
        self.ids.get(source).is_some_and(|ids| ids.contains(&Some(id)))
    }

    /// Runs `read` with the numbers of the source, none of which comes or goes meanwhile.
    pub fn with_ids<T>(&self, source: &S, read: impl FnOnce(SourceIds) -> T) -> T {
        match self.ids.entry(source.clone()) {
            Entry::Occupied(ids) => read(*ids.get()),
            // It keeps its place in the map locked, too.
            vacant @ Entry::Vacant(_) => {
                let answer = read(SourceIds::default());
                drop(vacant);
                answer
            }
        }
    }

    /// Counts one more domain for the source.
    pub fn acquire(&self, source: &S, follows: bool) -> SourceId {
        if follows {
            self.followed.fetch_add(1, Ordering::Relaxed);
        }
        let recent = SourceId(self.recent.load(Ordering::Relaxed));
        if recent.follows() == follows
            && let Some(mut users) = self.users.get_mut(&recent)
            && users.source == *source
        {
            users.domains += 1;
            return recent;
        }
        let mut ids = self.ids.entry(source.clone()).or_default();
        let id = *ids[usize::from(follows)].get_or_insert_with(|| self.unused(follows));
        let users = || Users { source: source.clone(), domains: 0 };
        self.users.entry(id).or_insert_with(users).domains += 1;
        self.recent.store(id.0, Ordering::Relaxed);
        id
    }

    /// Counts one domain less for the source.
    pub fn release(&self, id: SourceId) {
        if id.follows() {
            self.followed.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(mut users) = self.users.get_mut(&id) else { return };
        users.domains -= 1;
        if users.domains > 0 {
            return;
        }
        drop(users);
        if let Some((_, Users { source, .. })) = self.users.remove(&id) {
            self.retire(&source, |current| current == id);
        }
    }

    /// From now on the source has other numbers: the domains it has are not counted among its own
    /// any more.
    pub fn renew(&self, source: &S) {
        self.retire(source, |_| true);
        self.recent.store(NONE, Ordering::Relaxed);
    }

    fn retire(&self, source: &S, is_retired: impl Fn(SourceId) -> bool) {
        self.ids.remove_if_mut(source, |_, ids| {
            for id in ids.iter_mut() {
                id.take_if(|id| is_retired(*id));
            }
            *ids == SourceIds::default()
        });
    }

    /// A number that no domain has. (After a thousand million they begin again.)
    fn unused(&self, follows: bool) -> SourceId {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let id = SourceId::new(number & (NONE >> 2), follows);
            if !self.users.contains_key(&id) {
                return id;
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        assert!(self.ids.len() <= self.users.len());
        self.users.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_domains_is_forgotten() {
        let sources = Sources::new();
        for source in 0..100 {
            let (first, second) = (sources.acquire(&source, true), sources.acquire(&source, true));
            assert_eq!(first, second);
            sources.release(first);
            assert_eq!(sources.len(), 1);
            sources.release(second);
            assert_eq!((sources.len(), sources.followed()), (0, 0));
        }
    }

    #[test]
    fn a_renewed_source_has_other_numbers() {
        let sources = Sources::new();
        let old = sources.acquire(&7, true);
        let by_hand = sources.acquire(&7, false);
        assert_ne!(old, by_hand);
        sources.renew(&7);
        assert_eq!(sources.with_ids(&7, |ids| ids), SourceIds::default());
        let new = sources.acquire(&7, true);
        assert!(!sources.is_current(&7, old) && sources.is_current(&7, new));
        sources.release(old);
        assert!(sources.is_current(&7, new));
    }
}
