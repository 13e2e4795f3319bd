//! What a node is asked and when it tries, seen from outside: the fence (I12) and the pace (I13).

use crate::violation::{Violation, violation};
use domain_sync::follower::{AUDIT_TURN, Answer, CHECK_INTERVAL, CheckEnd, FIRST_RETRY};
use std::collections::BTreeMap;
use std::time::Duration;

/// Somebody who waits for an answer; each has a number of its own.
pub type Caller = u64;

/// What a caller has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// A ping.
    Ping,
    /// A verification.
    Verify,
    /// The end of the first load.
    FirstLoad,
}

/// What was seen of one node.
pub struct Watch {
    max_retry: Duration,
    /// Counts what happens.
    clock: u64,
    /// When a check was requested last.
    requested: u64,
    /// When the check began that runs.
    began: u64,
    /// When the newest check began that ended well.
    done: u64,
    /// Has an attempt of this service ended?
    has_tried: bool,
    /// Who waits, for what, and the newest request before it.
    waiting: BTreeMap<Caller, (Question, u64)>,
    /// When the last attempt failed, in milliseconds.
    failed_at: Option<i64>,
    /// Failures in a row.
    failures: u32,
    /// When the first request came, or the timer fired, that no check has followed, in milliseconds.
    unserved_since: Option<i64>,
    /// Since when the node may rest, in milliseconds.
    rests_since: i64,
    /// Who was answered, and how, until somebody takes it out.
    pub answered: Vec<(Caller, Answer)>,
}

impl Watch {
    /// Of a node that pauses no longer than this.
    pub fn new(max_retry: Duration) -> Self {
        Watch {
            max_retry,
            clock: 0,
            requested: 0,
            began: 0,
            done: 0,
            has_tried: false,
            waiting: BTreeMap::new(),
            failed_at: None,
            failures: 0,
            unserved_since: None,
            rests_since: 0,
            answered: Vec::new(),
        }
    }

    /// The service is gone, and with it who waited for it.
    pub fn service_is_gone(&mut self) {
        self.waiting.clear();
        (self.has_tried, self.failed_at, self.failures) = (false, None, 0);
        self.unserved_since = None;
    }

    /// A check is requested.
    pub fn is_requested(&mut self, now: i64) {
        self.clock += 1;
        self.requested = self.clock;
        self.is_due(now);
    }

    /// It is time for a check.
    pub fn is_due(&mut self, now: i64) {
        self.unserved_since.get_or_insert(now * 1_000);
    }

    /// Somebody asks.
    pub fn is_asked(&mut self, question: Question) -> Caller {
        self.clock += 1;
        self.waiting.insert(self.clock, (question, self.requested));
        self.clock
    }

    /// Did the last attempt fail, and the next one has not begun?
    pub fn is_pausing(&self) -> bool {
        self.failed_at.is_some()
    }

    /// Does nobody wait?
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A check begins, not sooner than half of the pause after a failure (I13).
    pub fn check_begins(&mut self, now: i64) -> Result<(), Violation> {
        self.clock += 1;
        self.began = self.clock;
        self.unserved_since = None;
        let Some(failed_at) = self.failed_at.take() else { return Ok(()) };
        let longest = FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(16));
        let (pause, shortest) = (now * 1_000 - failed_at, longest.min(self.max_retry) / 2);
        if pause >= shortest.as_millis() as i64 {
            return Ok(());
        }
        let text = format!("an attempt {pause} ms after failure {} in a row", self.failures);
        Err(violation("I13 pace", text))
    }

    /// An audit begins, not while the database fails (I13).
    pub fn audit_begins(&self) -> Result<(), Violation> {
        if self.is_pausing() {
            return Err(violation("I13 pace", "an audit in the pause after a failure".into()));
        }
        Ok(())
    }

    /// The call of `restart/0` had no effect.
    pub fn is_not_restarted(&mut self, now: i64) {
        self.rests_since = now * 1_000;
    }

    /// A check is over.
    pub fn check_is_over(&mut self, end: &CheckEnd, now: i64) {
        self.rests_since = now * 1_000;
        self.has_tried |= *end != CheckEnd::TableReplaced;
        match end {
            // A reload answers whoever waits only if `restart/0` has no effect.
            CheckEnd::Current | CheckEnd::Reload(_) | CheckEnd::Differs(_) => {
                (self.done, self.failures) = (self.began, 0);
            }
            CheckEnd::Failed(_) => {
                self.failures += 1;
                self.failed_at = Some(now * 1_000);
            }
            CheckEnd::Loaded | CheckEnd::TableReplaced | CheckEnd::NoTable => {}
        }
    }

    /// Somebody is answered: once, with what was asked for, and a ping after a check that began after
    /// all requests before it has ended well (I12).
    pub fn is_answered(&mut self, caller: Caller, answer: Answer) -> Result<(), Violation> {
        let broken = |text: String| Err(violation("I12 fence", text));
        let Some((question, fence)) = self.waiting.remove(&caller) else {
            return broken(format!("{answer:?} to one who is not waiting"));
        };
        let is_due = match (question, &answer) {
            (Question::Ping, Answer::Pong) => self.done >= fence,
            (Question::FirstLoad, Answer::FirstLoadEnded) => self.has_tried,
            (Question::Verify, Answer::Verified(_) | Answer::Differs(_)) => true,
            _ => false,
        };
        if !is_due {
            return broken(format!("{answer:?} to {question:?} before its time"));
        }
        self.answered.push((caller, answer));
        Ok(())
    }

    /// No check runs: then not for longer than between two checks, or after a failure; and who
    /// requests one waits at most for an audit on the only connection (I13).
    pub fn rests(&self, now: i64) -> Result<(), Violation> {
        let now = now * 1_000;
        let pause = if self.failures > 0 { self.max_retry } else { CHECK_INTERVAL };
        let (since, limit) = match self.unserved_since {
            Some(since) if !self.is_pausing() => (since.max(self.rests_since), AUDIT_TURN),
            _ => (self.rests_since, pause),
        };
        if now - since <= limit.as_millis() as i64 {
            return Ok(());
        }
        let (rested, failures) = (now - self.rests_since, self.failures);
        let due = self.unserved_since.map(|since| now - since);
        let text =
            format!("no check for {rested} ms, due for {due:?} ms, after {failures} failures");
        Err(violation("I13 pace", text))
    }
}
