//! The map from a domain to its entry, for look-ups without locks.

use crate::entry::Entry;
use crate::stored::StoredName;
use foldhash::fast::RandomState;
use scc::{Equivalent, HashIndex};
use std::hash::{BuildHasher, Hash, Hasher};
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
    keyed: Keyed,
}

type Part = HashIndex<Key, AtomicU64, Keyed>;

const PARTS: usize = 64;

/// A domain in the map.
#[derive(PartialEq, Eq)]
struct Key(StoredName);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
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

/// Hashes the bytes of a domain by a random key, so that nobody can choose names that fall together; and
/// passes on a number, which is a hash already.
#[derive(Clone, Default)]
struct Keyed {
    key: RandomState,
    hash: u64,
}

impl Keyed {
    fn hash(&self, domain: &[u8]) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write(domain);
        hasher.finish()
    }
}

impl BuildHasher for Keyed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        self.clone()
    }
}

impl Hasher for Keyed {
    fn write(&mut self, domain: &[u8]) {
        self.hash = Keyed::hash(self, domain);
    }

    fn write_u64(&mut self, hash: u64) {
        self.hash = hash;
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

impl Default for Map {
    fn default() -> Self {
        let keyed = Keyed::default();
        let part = || Part::with_hasher(keyed.clone());
        Map { parts: std::iter::repeat_with(part).take(PARTS).collect(), keyed }
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
        let hash = self.keyed.hash(domain);
        (&self.parts[(hash >> 16) as usize % PARTS], Hashed { domain, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Look-ups move buckets along while the map grows. What is stored meanwhile must not be lost.
    #[test]
    fn an_entry_that_is_stored_while_the_map_grows_stays() {
        let names: Vec<_> = (0..40_000).map(|n| format!("d{n}.example")).collect();
        let hot = &names[..500];
        for _ in 0..30 {
            let map = Map::default();
            let ends = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !ends.load(Ordering::Relaxed) {
                            assert!(
                                hot.iter().filter_map(|name| map.get(name.as_bytes())).count()
                                    <= hot.len()
                            );
                        }
                    });
                }
                let _ends = scopeguard::guard((), |()| ends.store(true, Ordering::Relaxed));
                let mut slot = 0;
                for (n, name) in names.iter().enumerate() {
                    map.insert(name.as_str().into(), Entry::of_dynamic(0, 0, false));
                    if n >= hot.len() && n % 100 == 0 {
                        for name in hot {
                            map.update(name.as_bytes(), |entry| {
                                assert_eq!(entry.slot(), slot);
                                entry.at(slot + 1)
                            });
                        }
                        slot += 1;
                    }
                }
            });
        }
    }
}
