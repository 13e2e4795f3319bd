//! Names in the form in which routing asks for them: that of nameprep (RFC 3491).

use crate::name::{NameError, check_text};
use std::borrow::Cow;
use stringprep::{nameprep, tables::unassigned_code_point};

/// Why a text cannot be made the name of a domain.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Nameprep forbids it.
    #[error("cannot be nameprepped: {0}")]
    Forbidden(#[from] stringprep::Error),
    /// No column can hold what nameprep makes of it.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The name of a domain, by nameprep: `example.com` of `Example.COM`.
pub fn prepared(name: &str) -> Result<Cow<'_, str>, PrepareError> {
    let prepared = nameprep(name)?;
    check_text(&prepared)?;
    Ok(prepared)
}

/// Is the name in the form of nameprep? Nothing ever asks for a domain of another form, so it can never
/// route.
///
/// Characters that nameprep does not know, as they are newer than its Unicode 3.2, stand for themselves:
/// so RFC 3454 (section 7) has it for who asks.
pub fn is_prepared(name: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    if name.bytes().all(is_plain) {
        return true;
    }
    let known = name.replace(unassigned_code_point, "-");
    nameprep(&known).is_ok_and(|prepared| prepared == known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_what_routing_asks_for() {
        let of = |name| prepared(name).unwrap().into_owned();
        assert_eq!(of("Example.COM"), "example.com");
        assert_eq!(of("stra\u{df}e.example"), "strasse.example");
        assert_eq!(of("no\u{a0}break"), "no break");
        assert_eq!(of(" blanks_stay "), " blanks_stay ");
    }

    #[test]
    fn what_cannot_be_a_name_says_why() {
        let why = |name: &str| prepared(name).unwrap_err().to_string();
        assert_eq!(why("\u{e000}"), "cannot be nameprepped: prohibited character `\u{e000}`");
        assert_eq!(why("\u{ad}"), "must not be empty");
        // One character becomes eighteen.
        assert_eq!(why(&"\u{fdfa}".repeat(20)), "must not be longer than 250 characters");
    }

    #[test]
    fn another_form_than_that_of_nameprep_is_known() {
        for name in ["example.com", "a_b", " ", "é.example", "日本.example", "\u{1f600}.example"]
        {
            assert!(is_prepared(name), "{name}");
        }
        for name in ["UPPER.Example", "stra\u{df}e", "no\u{a0}break", "e\u{301}", "\u{e000}"] {
            assert!(!is_prepared(name), "{name}");
        }
    }
}
