//! The map from a domain to its entry, for look-ups without locks.

use crate::entry::Entry;
use crate::stored::StoredName;
use foldhash::fast::RandomState;
use scc::{Equivalent, HashIndex};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A look-up waits for nobody and writes nothing that others read. While a part grows or shrinks it moves
/// up to 64 buckets of 32 domains along, if nobody else does, or frees the array of buckets that is
/// left behind: some 0.2 ms. That is why there are parts: to free the array of four million domains
/// took 12 ms.
///
/// A changed entry is stored in place, so the domain is never absent meanwhile. It is stored with
/// its bucket locked: a look-up that moves buckets along must not copy the old value meanwhile.
pub(crate) struct Map {
    parts: Box<[Part]>,
}

type Part = HashIndex<Key, AtomicU64, BuildHasherDefault<Unchanged>>;

const PARTS: usize = 64;

/// Keyed at random, so that nobody can choose names that fall together.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A domain in the map.
#[derive(PartialEq, Eq)]
struct Key(StoredName);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(HASHER.hash_one(self.0.as_bytes()));
    }
}

/// A domain that is looked up, by bytes, UTF-8 or not; hashed once, for the part and inside it.
struct Hashed<'a> {
    domain: &'a [u8],
    hash: u64,
}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for Hashed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.domain == key.0.as_bytes()
    }
}

/// Passes on the number that is a hash already.
#[derive(Default)]
struct Unchanged(u64);

impl Hasher for Unchanged {
    fn write(&mut self, _bytes: &[u8]) {
        debug_assert!(false, "only numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Map {
    fn default() -> Self {
        Map { parts: std::iter::repeat_with(Part::default).take(PARTS).collect() }
    }
}

impl Map {
    pub fn get(&self, domain: &[u8]) -> Option<Entry> {
        let (part, hashed) = self.find(domain);
        let bits = part.peek_with(&hashed, |_, bits| bits.load(Ordering::Acquire));
        bits.map(Entry::from_bits)
    }

    /// Adds a domain that is not there.
    pub fn insert(&self, domain: StoredName, entry: Entry) {
        let (part, _) = self.find(domain.as_bytes());
        let added = part.insert_sync(Key(domain), AtomicU64::new(entry.bits()));
        debug_assert!(added.is_ok(), "the domain was there");
    }

    /// Gives a domain that is there another entry, made of the one that it has.
    pub fn update(&self, domain: &[u8], change: impl FnOnce(Entry) -> Entry) {
        let (part, hashed) = self.find(domain);
        if let Some(occupied) = part.get_sync(&hashed) {
            let bits = occupied.get();
            let old = Entry::from_bits(bits.load(Ordering::Relaxed));
            bits.store(change(old).bits(), Ordering::Release);
        }
    }

    pub fn remove(&self, domain: &[u8]) {
        let (part, hashed) = self.find(domain);
        part.remove_sync(&hashed);
    }

    /// The part takes bits from the middle of the hash: `HashIndex` uses both ends.
    fn find<'a>(&self, domain: &'a [u8]) -> (&Part, Hashed<'a>) {
        let hash = HASHER.hash_one(domain);
        (&self.parts[(hash >> 16) as usize % PARTS], Hashed { domain, hash })
    }
}
