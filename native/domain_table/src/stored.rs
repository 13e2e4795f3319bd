//! A name as the table keeps it, in the map and in the index.

use crate::name::Name;
use std::sync::Arc;

/// As large as a [`Name`]: a short name lies in the value, a longer one is shared by its clones.
#[derive(Clone)]
pub(crate) enum StoredName {
    Short(Name),
    Long(Arc<str>),
}

/// The longest name that a [`Name`] keeps without an allocation.
const SHORT: usize = size_of::<Name>();

impl StoredName {
    pub fn as_str(&self) -> &str {
        match self {
            StoredName::Short(name) => name,
            StoredName::Long(name) => name,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }

    pub fn to_name(&self) -> Name {
        match self {
            StoredName::Short(name) => name.clone(),
            StoredName::Long(name) => Name::from(&**name),
        }
    }
}

impl From<&str> for StoredName {
    fn from(name: &str) -> Self {
        if name.len() <= SHORT {
            StoredName::Short(name.into())
        } else {
            StoredName::Long(name.into())
        }
    }
}

impl PartialEq for StoredName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for StoredName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_no_more_room_than_a_name_and_shares_what_is_long() {
        assert_eq!(size_of::<StoredName>(), size_of::<Name>());
        for (length, is_short) in [(0, true), (24, true), (25, false), (250, false)] {
            let text = "a".repeat(length);
            let stored = StoredName::from(text.as_str());
            assert_eq!(matches!(stored, StoredName::Short(_)), is_short);
            assert_eq!((stored.as_str(), stored.to_name().as_str()), (&*text, &*text));
            if let StoredName::Short(name) = &stored {
                assert!(!name.is_heap_allocated());
            }
        }
    }
}
