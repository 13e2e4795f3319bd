//! What a follower did and saw, for people and monitoring. Nothing decides by it.

use std::collections::BTreeMap;
use std::time::Instant;

/// Counts since the table was made, and what was seen last.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// The newest event id when the log was last looked at; `None` if it was empty.
    pub newest_event: Option<i64>,
    /// Checks that ended well.
    pub checks: u64,
    /// When the last of them did.
    pub checked: Option<Instant>,
    /// Loads that ended well.
    pub loads: u64,
    /// Why everything had to be loaded again, and how often.
    pub reloads: BTreeMap<&'static str, u64>,
    /// Ids that were missing, and are settled.
    pub gaps_settled: u64,
    /// The dummies written for them; in place of the others the real event came.
    pub dummies_written: u64,
    /// Audits that came to their end.
    pub audits: u64,
    /// Failures by their reason.
    pub errors: BTreeMap<String, u64>,
    /// The last failure: its reason, and a text for people, without credentials.
    pub last_error: Option<(String, String)>,
    /// Did the last check fail?
    pub failing: bool,
}

impl Statistics {
    /// Everything has to be loaded again.
    pub fn count_reload(&mut self, reason: &'static str) {
        *self.reloads.entry(reason).or_default() += 1;
    }

    /// A check failed.
    pub fn count_failed_check(&mut self, reason: String, text: String) {
        self.count_error(reason, text);
        self.failing = true;
    }

    /// The database failed somebody.
    pub fn count_error(&mut self, reason: String, text: String) {
        *self.errors.entry(reason.clone()).or_default() += 1;
        self.last_error = Some((reason, text));
    }
}
