//! What the map knows of a domain, in 64 bits: they are read and replaced in one step.

/// The number of a host type in `Table::host_types`.
pub(crate) type HostTypeId = u32;

/// From the highest bit: static?, follows the database?, 30 bits of host type, 32 bits of slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(u64);

const STATIC: u64 = 1 << 63;
const FOLLOWS: u64 = 1 << 62;
const SLOT_BITS: u32 = 32;

impl Entry {
    /// A static domain. It has no slot.
    pub fn of_static(host_type: HostTypeId) -> Self {
        Entry(STATIC | u64::from(host_type) << SLOT_BITS)
    }

    /// A dynamic domain, with its slot in the index of its host type.
    pub fn of_dynamic(host_type: HostTypeId, slot: u32, follows: bool) -> Self {
        let follows = if follows { FOLLOWS } else { 0 };
        Entry(follows | u64::from(host_type) << SLOT_BITS | u64::from(slot))
    }

    pub fn from_bits(bits: u64) -> Self {
        Entry(bits)
    }

    pub fn bits(self) -> u64 {
        self.0
    }

    pub fn is_static(self) -> bool {
        self.0 & STATIC != 0
    }

    /// Does the domain follow the database?
    pub fn follows(self) -> bool {
        self.0 & FOLLOWS != 0
    }

    pub fn host_type(self) -> HostTypeId {
        ((self.0 & !(STATIC | FOLLOWS)) >> SLOT_BITS) as HostTypeId
    }

    pub fn slot(self) -> u32 {
        self.0 as u32
    }

    /// The same domain in another slot.
    pub fn at(self, slot: u32) -> Self {
        Entry::of_dynamic(self.host_type(), slot, self.follows())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_what_it_is_made_of() {
        for (host_type, slot) in [(0, 0), ((1 << 30) - 1, u32::MAX), (5, 7)] {
            for follows in [true, false] {
                let entry = Entry::of_dynamic(host_type, slot, follows);
                assert_eq!((entry.host_type(), entry.slot()), (host_type, slot));
                assert_eq!((entry.is_static(), entry.follows()), (false, follows));
                assert_eq!(entry.at(9), Entry::of_dynamic(host_type, 9, follows));
                assert_eq!(Entry::from_bits(entry.bits()), entry);
            }
            let entry = Entry::of_static(host_type);
            assert_eq!((entry.host_type(), entry.is_static()), (host_type, true));
            assert!(!entry.follows());
        }
    }
}
