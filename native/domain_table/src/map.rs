//! The map from a domain to its entry, for look-ups without locks.

use crate::entry::Entry;
use crate::name::Name;
use foldhash::fast::RandomState;
use scc::HashIndex;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// A look-up waits for nobody and writes nothing that others read. (While the map grows or shrinks it
/// moves up to 64 buckets of 32 domains along, if nobody else does: some 0.1 ms.)
///
/// A changed entry is stored in place, so the domain is never absent meanwhile. It is stored with
/// its bucket locked: a look-up that moves buckets along must not copy the old value meanwhile.
#[derive(Default)]
pub(crate) struct Map {
    /// Keyed at random, so that nobody can choose names that fall together.
    entries: HashIndex<Key, AtomicU64, RandomState>,
}

/// A domain that can be looked up by bytes, UTF-8 or not.
#[derive(PartialEq, Eq)]
struct Key(Name);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Map {
    pub fn get(&self, domain: &[u8]) -> Option<Entry> {
        let bits = self.entries.peek_with(domain, |_, bits| bits.load(Ordering::Acquire));
        bits.map(Entry::from_bits)
    }

    /// Adds a domain that is not there.
    pub fn insert(&self, domain: Name, entry: Entry) {
        let added = self.entries.insert_sync(Key(domain), AtomicU64::new(entry.bits()));
        debug_assert!(added.is_ok(), "the domain was there");
    }

    /// Gives a domain that is there another entry, made of the one that it has.
    pub fn update(&self, domain: &[u8], change: impl FnOnce(Entry) -> Entry) {
        if let Some(occupied) = self.entries.get_sync(domain) {
            let bits = occupied.get();
            let old = Entry::from_bits(bits.load(Ordering::Relaxed));
            bits.store(change(old).bits(), Ordering::Release);
        }
    }

    pub fn remove(&self, domain: &[u8]) {
        self.entries.remove_sync(domain);
    }
}
