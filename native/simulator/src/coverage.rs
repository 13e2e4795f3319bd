//! How often the interesting things happened: a simulator that never reaches a corner proves nothing
//! about it.

use std::fmt;

macro_rules! corners {
    ($($name:ident: $text:literal,)*) => {
        /// Something worth reaching.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Corner {
            $(#[doc = $text] $name,)*
        }

        const TEXTS: &[&str] = &[$($text),*];
    };
}

corners! {
    Load: "loads that ended well",
    Current: "checks that ended current",
    Gap: "missing ids settled",
    Dummy: "dummies written for them",
    EventCame: "events that came instead of a dummy",
    SettleWaited: "settling waited for a transaction in flight",
    SettleHalf: "settling failed half-way",
    DummyFirst: "a dummy came before the event: its transaction failed",
    Disturbed: "worlds where something was written behind deleted events or ahead of the sequence",
    ManyGaps: "statements that settled 10,000 ids",
    FullPage: "pages full of events",
    BelowFloor: "ids below the floor walked",
    TooOld: "reloads: too old",
    EmptyTooOld: "of these, an empty log no longer trusted",
    WentBackwards: "reloads: the log went backwards",
    Unsettled: "checks that ended unsettled",
    FailedBefore: "statements that failed without effect",
    FailedAfter: "statements that failed after their effect",
    TimedOut: "statements that timed out",
    CommitUnheard: "commits whose success the writer did not hear of",
    Rollback: "transactions rolled back",
    TransactionTooLong: "transactions ended by the database",
    Duplicate: "domains with two rows",
    HostTypeReplaced: "host types replaced in a table",
    Waiting: "loads and checks that waited for room for a batch",
    Stale: "stale batches refused",
    LateSlice: "slices applied after their service was gone",
    Overtaken: "of these, with a position newer than the next check began with",
    QuietAddition: "additions of which nobody was notified",
    LateBatch: "batches applied after the position was forgotten",
    Pong: "pings answered",
    Synced: "sync_local through all nodes",
    RequestInPause: "requests while a node pauses after a failure",
    FailedCheck: "checks that failed",
    Verified: "verifications that found nothing",
    VerifyFailed: "verifications that failed",
    AuditGivenUp: "audits given up for a check",
    ReloadWithoutEffect: "reloads without effect",
    ServiceKilled: "services killed in a check",
    CoreKilled: "cores killed in a batch",
    CoreKilledPending: "cores killed with transitions pending",
    CleanStop: "services stopped cleanly",
    Restart: "restarts asked for",
    FreshTable: "fresh tables",
    Sleep: "sleeps longer than events are kept",
    Cleaned: "cleanings of events",
    Truncated: "logs truncated",
    Jump: "holes of 50,000 ids",
    Failover: "failovers",
    FailoverInCheck: "of these, in the middle of a check",
    LostRemembered: "lost events that a position remembers: it must notice",
    LostForgotten: "lost events that it does not, their changes perhaps in the table",
    IdReused: "ids used again after a failover",
    Twin: "of these, for the same domain",
    AuditSame: "audits that found nothing",
    AuditSuspicious: "audits that suspected something",
    AuditConfirmed: "suspicions confirmed",
    Tampered: "rows changed without an event",
    TamperedTable: "domains deleted from a table by another caller",
    ForeignReload: "reloads of the foreign node",
    ForeignDummy: "dummies of the foreign node",
    OtherCaller: "domains inserted by another caller",
}

/// Counts by corner.
#[derive(Clone, PartialEq, Eq)]
pub struct Coverage([u64; TEXTS.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Coverage([0; TEXTS.len()])
    }
}

impl Coverage {
    /// It happened.
    pub fn hit(&mut self, corner: Corner) {
        self.add(corner, 1);
    }

    /// It happened so often.
    pub fn add(&mut self, corner: Corner, count: u64) {
        self.0[corner as usize] += count;
    }

    /// How often it happened.
    pub fn count(&self, corner: Corner) -> u64 {
        self.0[corner as usize]
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Coverage) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// What never happened.
    pub fn missed(&self) -> Vec<&'static str> {
        let missed = TEXTS.iter().zip(self.0).filter(|(_, count)| *count == 0);
        missed.map(|(text, _)| *text).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        TEXTS
            .iter()
            .zip(self.0)
            .try_for_each(|(text, count)| writeln!(formatter, "{count:>11} {text}"))
    }
}
