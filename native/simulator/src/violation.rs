//! An invariant that is broken.

/// Which one, and both sides of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// Both sides of it.
    pub text: String,
}

/// An invariant is broken.
pub fn violation(invariant: &'static str, text: String) -> Violation {
    Violation { invariant, text }
}
