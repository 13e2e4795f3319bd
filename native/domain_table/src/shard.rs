//! One shard of the map: the domains whose hashes fall into it.

use crate::name::Name;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;

/// The number of a host type in `Table::host_types`.
pub(crate) type HostTypeId = u32;

/// A domain in the map: 32 bytes, in one cache line.
#[repr(align(32))]
pub(crate) struct Slot {
    pub domain: Name,
    pub entry: Entry,
}

/// What the map knows of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub host_type: HostTypeId,
    pub place: Place,
}

/// Where a domain is in the books: its place among the dynamic domains of its host type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// A static domain has none.
    pub const STATIC: Place = Place(u32::MAX);

    pub fn new(index: usize) -> Self {
        Place(index as u32)
    }

    pub fn index(self) -> usize {
        self.0 as usize
    }

    pub fn is_static(self) -> bool {
        self == Place::STATIC
    }
}

/// A hash table with linear probing, of two arrays: the slots, and a byte for each that says whether
/// it is empty ([`EMPTY`]) or else gives the tag of the hash. With a wrong tag the slot, which is far
/// from the cache, need not be looked at; a right one is likely enough for the processor to fetch the
/// slot while it still waits for the tag. (hashbrown fetches one after the other, and is emptier.)
///
/// At most eight tenths of the slots are taken: then a hit looks at 3 neighbouring tags, a miss at 13
/// (Knuth, The Art of Computer Programming, vol. 3, 6.4, algorithm L).
pub(crate) struct Shard {
    tags: Box<[u8]>,
    slots: Box<[Option<Slot>]>,
    taken: usize,
}

const EMPTY: u8 = 0;

impl Default for Shard {
    fn default() -> Self {
        Shard::with_slots(4)
    }
}

impl Shard {
    fn with_slots(count: usize) -> Self {
        let slots = std::iter::repeat_with(|| None).take(count).collect();
        Shard { tags: vec![EMPTY; count].into(), slots, taken: 0 }
    }

    pub fn get(&self, hash: u64, domain: &[u8]) -> Option<Entry> {
        let (_, slot) = self.find(hash, |slot| slot.domain.as_bytes() == domain)?;
        Some(slot.entry)
    }

    /// The domain with this hash that has this entry; there is only one.
    pub fn domain(&self, hash: u64, entry: Entry) -> Option<&Name> {
        self.find(hash, |slot| slot.entry == entry).map(|(_, slot)| &slot.domain)
    }

    /// All domains, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// Adds a domain that is not there.
    pub fn add(&mut self, hasher: &RandomState, hash: u64, slot: Slot) {
        if (self.taken + 1) * 10 > self.slots.len() * 8 {
            self.grow(hasher);
        }
        self.put(hash, slot);
    }

    /// Gives the domain with this hash that has the entry `old` another one.
    pub fn replace(&mut self, hash: u64, old: Entry, new: Entry) {
        if let Some((index, _)) = self.find(hash, |slot| slot.entry == old)
            && let Some(slot) = &mut self.slots[index]
        {
            slot.entry = new;
        }
    }

    /// Removes the domain with this hash that has this entry.
    pub fn remove(&mut self, hasher: &RandomState, hash: u64, entry: Entry) {
        let Some((mut hole, _)) = self.find(hash, |slot| slot.entry == entry) else { return };
        self.taken -= 1;
        self.slots[hole] = None;
        self.tags[hole] = EMPTY;
        // Whoever was put behind the hole because there was no place before it moves up.
        let mut index = self.next(hole);
        while let Some(slot) = &self.slots[index] {
            let home = self.home(hasher.hash_one(slot.domain.as_bytes()));
            if self.distance(home, index) >= self.distance(hole, index) {
                self.slots.swap(hole, index);
                self.tags.swap(hole, index);
                hole = index;
            }
            index = self.next(index);
        }
    }

    fn find(&self, hash: u64, is: impl Fn(&Slot) -> bool) -> Option<(usize, &Slot)> {
        let tag = tag(hash);
        let mut index = self.home(hash);
        while self.tags[index] != EMPTY {
            if self.tags[index] == tag
                && let Some(slot) = &self.slots[index]
                && is(slot)
            {
                return Some((index, slot));
            }
            index = self.next(index);
        }
        None
    }

    fn put(&mut self, hash: u64, slot: Slot) {
        let mut index = self.home(hash);
        while self.tags[index] != EMPTY {
            index = self.next(index);
        }
        self.tags[index] = tag(hash);
        self.slots[index] = Some(slot);
        self.taken += 1;
    }

    /// By a half: of a table that has just doubled more than half would be empty.
    fn grow(&mut self, hasher: &RandomState) {
        let larger = Shard::with_slots(self.slots.len() * 3 / 2);
        let Shard { slots, .. } = std::mem::replace(self, larger);
        for slot in slots.into_iter().flatten() {
            self.put(hasher.hash_one(slot.domain.as_bytes()), slot);
        }
    }

    /// Where a search begins. (The lower half of the hash; the upper one chooses the shard.)
    fn home(&self, hash: u64) -> usize {
        (((hash & u64::from(u32::MAX)) * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, index: usize) -> usize {
        if index + 1 == self.slots.len() { 0 } else { index + 1 }
    }

    /// How far it is from one slot on to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }
}

/// The lowest bits: they have the least to say in where a search begins.
fn tag(hash: u64) -> u8 {
    (hash as u8).max(EMPTY + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn entry(host_type: u32, place: u32) -> Entry {
        Entry { host_type, place: Place(place) }
    }

    proptest! {
        /// Long runs of neighbours, that begin at the end of the table too, with holes made in them.
        #[test]
        fn a_shard_behaves_like_a_map(
            ops in prop::collection::vec((any::<bool>(), 0..200_u32, 0..3_u32), 1..600),
        ) {
            let (hasher, mut shard) = (RandomState::default(), Shard::default());
            let mut model: HashMap<Name, Entry> = HashMap::new();
            for (is_removal, number, host_type) in ops {
                let domain = Name::from(format!("d{number}.example"));
                let hash = hasher.hash_one(domain.as_bytes());
                match (model.get(&domain).copied(), is_removal) {
                    (Some(old), true) => {
                        shard.remove(&hasher, hash, old);
                        model.remove(&domain);
                    }
                    (Some(old), false) => {
                        let new = entry(host_type, number);
                        shard.replace(hash, old, new);
                        model.insert(domain, new);
                    }
                    (None, _) => {
                        let entry = entry(host_type, number);
                        shard.add(&hasher, hash, Slot { domain: domain.clone(), entry });
                        model.insert(domain, entry);
                    }
                }
            }
            prop_assert_eq!(shard.iter().count(), model.len());
            for number in 0..200 {
                let domain = Name::from(format!("d{number}.example"));
                let hash = hasher.hash_one(domain.as_bytes());
                let expected = model.get(&domain).copied();
                prop_assert_eq!(shard.get(hash, domain.as_bytes()), expected);
                if let Some(entry) = expected {
                    prop_assert_eq!(shard.domain(hash, entry), Some(&domain));
                }
            }
        }
    }

    #[test]
    fn a_slot_has_32_bytes_also_when_it_may_be_empty() {
        assert_eq!(size_of::<Option<Slot>>(), 32);
    }
}
