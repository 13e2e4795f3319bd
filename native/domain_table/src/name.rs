//! Names of domains and host types, and what they may be.

use compact_str::CompactString;

/// A domain or a host type. Up to 24 bytes lie in the value itself, without an allocation.
pub type Name = CompactString;

/// A domain and its host type.
pub type Pair = (Name, Name);

/// The longest name, in characters (Unicode code points): the columns are `VARCHAR(250)`, and both
/// PostgreSQL and MySQL count characters there.
pub const MAX_NAME_CHARS: usize = 250;

/// Why a name can be kept in no database column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all. (The empty domain marks a settled gap in the event log.)
    #[error("must not be empty")]
    Empty,
    /// More than [`MAX_NAME_CHARS`] characters.
    #[error("must not be longer than 250 characters")]
    TooLong,
    /// Not UTF-8.
    #[error("must be valid UTF-8")]
    NotUtf8,
    /// A NUL character inside: PostgreSQL cannot store it.
    #[error("must not contain a NUL character")]
    Nul,
}

/// Checks that `bytes` can be the name of a domain or of a host type, and returns it as text.
///
/// Takes a bounded time, however long the input.
pub fn check_name(bytes: &[u8]) -> Result<&str, NameError> {
    if bytes.len() > 4 * MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    let name = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
    check_text(name).map(|()| name)
}

/// Checks that a text can be the name of a domain or of a host type.
pub fn check_text(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    // There are at least as many bytes as characters.
    if name.len() > MAX_NAME_CHARS && name.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    if name.as_bytes().contains(&0) {
        return Err(NameError::Nul);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_column_can_hold_pass() {
        assert_eq!(check_name(b"example.com"), Ok("example.com"));
        assert!(check_name("\u{1F600}".repeat(250).as_bytes()).is_ok());
    }

    #[test]
    fn each_kind_of_bad_name_is_told_apart() {
        assert_eq!(check_name(b""), Err(NameError::Empty));
        assert_eq!(check_name("a".repeat(251).as_bytes()), Err(NameError::TooLong));
        assert_eq!(check_name("é".repeat(251).as_bytes()), Err(NameError::TooLong));
        assert_eq!(check_name(&vec![b'a'; 10_000_000]), Err(NameError::TooLong));
        assert_eq!(check_name(b"\xff.com"), Err(NameError::NotUtf8));
        assert_eq!(check_name(b"a\0b"), Err(NameError::Nul));
    }
}
