//! What one node does and when: the follower as a state machine without I/O, clock or randomness of
//! its own.
//!
//! [`Follower::handle`] takes an [`Input`], something that happened, and returns [`Command`]s, what is
//! to be done now, in order. `service` runs it in production, `simulator` in simulated worlds.
//!
//! - **One check at a time.** A request starts one. Requests that come while one runs collapse into
//!   another one after it. Without requests the next one comes [`CHECK_INTERVAL`] after the last.
//!   A load is a check, too, and another check follows it at once.
//! - **A check is over** when it has ended and all its batches are applied, one after the other.
//! - **I12 Fence.** A ping is answered once, only after a check that began after every request before
//!   it has ended well (see [`fence`]).
//! - **I13 Pace.** After a failure the next attempt comes when a pause is over: 0.5 s, 1 s, 2 s …, at
//!   most `max_retry`, less up to a half of it. Requests that come meanwhile wait for that attempt.
//!   Only what had no table to work on starts again at a request: a new table sends one.
//! - **Audits** run beside checks, one at a time, every `audit_interval` and for each
//!   [`Input::Verify`] (see [`verifiers`]). None begins while the database fails. With a single
//!   connection an audit and a check exclude each other: an audit waits for one check, and a check for
//!   an audit, but at most [`AUDIT_TURN`]. Then the audit is given up, and has failed.

mod fence;
mod verifiers;

use crate::audit::Difference;
use crate::check::Reason;
use fastrand::Rng;
use fence::Fence;
use std::time::Duration;
use verifiers::{Stage, Verifiers};

/// From the end of a check to the next one, if nobody requests it.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The pause after the first failure. It doubles with each one that follows.
pub const FIRST_RETRY: Duration = Duration::from_millis(500);
/// How long a check waits for an audit that uses the only connection: a third of what a ping waits.
pub const AUDIT_TURN: Duration = Duration::from_secs(5);

/// Something that happened. `C` stands for a caller who waits for an answer.
#[derive(Debug)]
pub enum Input<C> {
    /// Somebody asks for a check.
    CheckRequested,
    /// Answered by [`Answer::Pong`] when what was requested before is done.
    Ping(C),
    /// Compare the table with the database.
    Verify(C),
    /// Answered by [`Answer::FirstLoadEnded`] when the first attempt to load has ended, well or not.
    AwaitFirstLoad(C),
    /// Somebody has called `restart/0`. The process stops.
    RestartRequested,
    /// [`Command::Reload`] was carried out, and the process goes on: `restart/0` did nothing.
    RestartWithoutEffect,
    /// The database could be opened.
    DatabaseOpened {
        /// The longest pause between two attempts.
        max_retry: Duration,
        /// How many connections there may be.
        connections: u32,
    },
    /// The time of [`Command::WakeAfter`] is over.
    TimerFired(Timer),
    /// The check has made a batch.
    BatchReady,
    /// A batch was applied, or not.
    BatchApplied(Applied),
    /// The check has made its last batch.
    CheckEnded(CheckEnd),
    /// The audit has ended. `true`: something seems to differ, and the next check will tell.
    AuditEnded(Result<bool, Failure>),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<C> {
    /// Start a check, or a load if the table has no position.
    StartCheck,
    /// The check is over, or given up: drop what is left of it, and report the rows that it ignored.
    EndCheck,
    /// Apply the next batch of the check.
    ApplyBatch,
    /// Start an audit.
    StartAudit,
    /// Give the audit up.
    CancelAudit,
    /// Find out whether the database lacks an index, and report it.
    FindMissingIndex,
    /// Answer a caller.
    Answer(C, Answer),
    /// Fire this timer when so much time has passed, and not at the time it was set to before.
    WakeAfter(Timer, Duration),
    /// Call `service_domain_db:restart()`, then say so by [`Input::RestartWithoutEffect`].
    Reload,
    /// Count something.
    Count(Count),
    /// Log something.
    Log(Event),
}

/// What a caller is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Input::Ping`].
    Pong,
    /// To [`Input::AwaitFirstLoad`].
    FirstLoadEnded,
    /// To [`Input::Verify`]: the table is as the database says, or nobody can tell.
    Verified(Result<(), Failure>),
    /// To [`Input::Verify`]: the table was wrong for these domains, and is loaded again.
    Differs(Vec<Difference>),
}

/// A timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next check, or the next attempt.
    Check,
    /// The next audit.
    Audit,
}

/// What came of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is applied.
    Done,
    /// It was made for a table that is gone, and there is another one.
    TableReplaced,
    /// There is nobody who could apply it.
    NoTable,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEnd {
    /// The table has all changes up to the newest event.
    Current,
    /// All domains were loaded.
    Loaded,
    /// Everything must be loaded again.
    Reload(Reason),
    /// What an audit had suspected is true. Everything must be loaded again.
    Differs(Vec<Difference>),
    /// It was for a table that is gone, and there is another one.
    TableReplaced,
    /// There is no table.
    NoTable,
    /// The database failed.
    Failed(Failure),
}

/// A failure: a reason that a program can match, and a text for people, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: String,
    /// The text.
    pub text: String,
}

impl Failure {
    /// A failure.
    pub fn new(reason: &str, text: impl Into<String>) -> Self {
        Failure { reason: reason.into(), text: text.into() }
    }
}

impl From<domain_store::Error> for Failure {
    fn from(error: domain_store::Error) -> Self {
        Failure::new(error.kind().name(), error.to_string())
    }
}

/// Something to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// A check failed.
    FailedCheck(Failure),
    /// Somebody asked for a reload.
    RequestedReload,
}

/// Something that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All domains were loaded.
    Loaded,
    /// A check failed, and the next attempt comes after this time.
    CheckFailed(Failure, Duration),
    /// An audit failed.
    AuditFailed(Failure),
    /// Everything must be loaded again.
    MustReload(Reason),
    /// The table was wrong for these domains.
    Differs(Vec<Difference>),
}

/// The machine.
pub struct Follower<C> {
    phase: Phase,
    /// Was a check requested that has not begun?
    is_check_wanted: bool,
    /// Failures since a check ended well.
    failures: u32,
    fence: Fence<C>,
    /// Who waits for the first load; `None` when it has ended.
    first_load: Option<Vec<C>>,
    /// Was the database asked for a missing index?
    is_index_known: bool,
    verifiers: Verifiers<C>,
    is_auditing: bool,
    /// Is it time for an audit?
    is_audit_due: bool,
    audit_interval: Duration,
    max_retry: Duration,
    connections: u32,
    rng: Rng,
    commands: Vec<Command<C>>,
}

enum Phase {
    /// Until the timer or a request.
    Idle,
    /// A check is to begin when the audit has left the only connection. Until the timer at most.
    AwaitingConnection,
    Checking(Check),
    /// The last attempt failed like this. Until the timer.
    BackingOff(Failure),
    /// There was no table. Until the timer or a request.
    WithoutTable(Failure),
    /// `restart/0` is being called.
    Reloading,
}

/// A check that runs.
#[derive(Default)]
struct Check {
    /// Batches that wait.
    batches: usize,
    /// Is one being applied?
    is_applying: bool,
    /// How it ended.
    end: Option<CheckEnd>,
}

impl<C> Follower<C> {
    /// A follower, and what it does first: it checks, that is loads if the table has no position. All
    /// chance comes from the seed.
    pub fn start(audit_interval: Duration, seed: u64) -> (Self, Vec<Command<C>>) {
        let mut follower = Follower {
            phase: Phase::Idle,
            is_check_wanted: false,
            failures: 0,
            fence: Fence::new(),
            first_load: Some(Vec::new()),
            is_index_known: false,
            verifiers: Verifiers::new(),
            is_auditing: false,
            is_audit_due: false,
            audit_interval,
            max_retry: CHECK_INTERVAL,
            connections: 1,
            rng: Rng::with_seed(seed),
            commands: Vec::new(),
        };
        follower.set_audit_timer();
        follower.start_check();
        let commands = std::mem::take(&mut follower.commands);
        (follower, commands)
    }

    /// Something happened: what is to be done?
    pub fn handle(&mut self, input: Input<C>) -> Vec<Command<C>> {
        match input {
            Input::CheckRequested => self.request_check(),
            Input::Ping(caller) => self.ping(caller),
            Input::Verify(caller) => self.verify(caller),
            Input::AwaitFirstLoad(caller) => match &mut self.first_load {
                Some(callers) => callers.push(caller),
                None => self.answer(caller, Answer::FirstLoadEnded),
            },
            Input::RestartRequested => {
                if !matches!(self.phase, Phase::Reloading) {
                    self.commands.push(Command::Count(Count::RequestedReload));
                }
            }
            Input::RestartWithoutEffect => self.restart_without_effect(),
            Input::DatabaseOpened { max_retry, connections } => {
                (self.max_retry, self.connections) = (max_retry, connections);
            }
            Input::TimerFired(Timer::Check) => match self.phase {
                Phase::Idle | Phase::BackingOff(_) | Phase::WithoutTable(_) => self.start_check(),
                Phase::AwaitingConnection => self.give_audit_up(),
                Phase::Checking(_) | Phase::Reloading => {}
            },
            Input::TimerFired(Timer::Audit) => self.is_audit_due = !self.is_auditing,
            Input::BatchReady => {
                if let Phase::Checking(check) = &mut self.phase {
                    check.batches += 1;
                }
                self.go_on();
            }
            Input::BatchApplied(applied) => self.batch_applied(applied),
            Input::CheckEnded(end) => {
                if let Phase::Checking(check) = &mut self.phase {
                    check.end = Some(end);
                }
                self.go_on();
            }
            Input::AuditEnded(end) => self.audit_ended(end),
        }
        self.audit_if_wanted();
        std::mem::take(&mut self.commands)
    }

    // Checks

    fn request_check(&mut self) {
        match self.phase {
            Phase::Idle | Phase::WithoutTable(_) => self.start_check(),
            Phase::Checking(_) | Phase::Reloading => self.is_check_wanted = true,
            // A check will begin by itself, later than this.
            Phase::AwaitingConnection | Phase::BackingOff(_) => {}
        }
    }

    fn start_check(&mut self) {
        if self.is_auditing && self.connections == 1 {
            self.phase = Phase::AwaitingConnection;
            self.commands.push(Command::WakeAfter(Timer::Check, AUDIT_TURN));
        } else {
            self.begin_check();
        }
    }

    fn begin_check(&mut self) {
        self.is_check_wanted = false;
        self.fence.check_begins();
        self.verifiers.advance(Stage::Suspicious, Stage::Judged);
        self.phase = Phase::Checking(Check::default());
        self.commands.push(Command::StartCheck);
    }

    /// The next batch, or the end.
    fn go_on(&mut self) {
        let Phase::Checking(check) = &mut self.phase else { return };
        if check.is_applying {
            return;
        }
        if check.batches > 0 {
            check.batches -= 1;
            check.is_applying = true;
            self.commands.push(Command::ApplyBatch);
        } else if let Some(end) = check.end.take() {
            self.check_is_over(end);
        }
    }

    fn batch_applied(&mut self, applied: Applied) {
        let Phase::Checking(check) = &mut self.phase else { return };
        check.is_applying = false;
        match applied {
            Applied::Done => self.go_on(),
            Applied::TableReplaced => self.check_is_over(CheckEnd::TableReplaced),
            Applied::NoTable => self.check_is_over(CheckEnd::NoTable),
        }
    }

    fn check_is_over(&mut self, end: CheckEnd) {
        self.commands.push(Command::EndCheck);
        match end {
            CheckEnd::Current => {
                self.failures = 0;
                self.first_load_ended();
                self.pong();
                self.answer_verifiers(Some(Stage::Judged), &Answer::Verified(Ok(())));
                self.rest();
            }
            CheckEnd::Loaded => {
                self.commands.push(Command::Log(Event::Loaded));
                self.first_load_ended();
                if !std::mem::replace(&mut self.is_index_known, true) {
                    self.commands.push(Command::FindMissingIndex);
                }
                // What changed while the load ran. Who waits for the load waits for this one, too.
                self.start_check();
            }
            // The new table has nothing of the database yet.
            CheckEnd::TableReplaced => self.start_check(),
            CheckEnd::Reload(reason) => {
                self.commands.push(Command::Log(Event::MustReload(reason)));
                self.reload();
            }
            CheckEnd::Differs(differences) => {
                self.commands.push(Command::Log(Event::Differs(differences.clone())));
                self.answer_verifiers(None, &Answer::Differs(differences));
                self.reload();
            }
            CheckEnd::NoTable => {
                let failure = Failure::new("no_table", "mongoose_domain_core is not running");
                self.fail(failure, Phase::WithoutTable);
            }
            CheckEnd::Failed(failure) => self.fail(failure, Phase::BackingOff),
        }
    }

    /// Until the next check, which may have been requested already.
    fn rest(&mut self) {
        self.phase = Phase::Idle;
        self.audit_if_wanted();
        if self.is_check_wanted {
            self.start_check();
        } else {
            self.commands.push(Command::WakeAfter(Timer::Check, CHECK_INTERVAL));
        }
    }

    fn reload(&mut self) {
        self.failures = 0;
        self.first_load_ended();
        self.phase = Phase::Reloading;
        self.commands.push(Command::Reload);
    }

    /// Whoever waited for the check that asked for the reload is answered: nobody can do better.
    fn restart_without_effect(&mut self) {
        if matches!(self.phase, Phase::Reloading) {
            self.pong();
            self.rest();
        }
    }

    /// Who waits goes on waiting, for an attempt that ends well.
    fn fail(&mut self, failure: Failure, phase: impl FnOnce(Failure) -> Phase) {
        let pause = self.pause();
        self.failures = self.failures.saturating_add(1);
        self.commands.extend([
            Command::Count(Count::FailedCheck(failure.clone())),
            Command::Log(Event::CheckFailed(failure.clone(), pause)),
            Command::WakeAfter(Timer::Check, pause),
        ]);
        self.first_load_ended();
        let answer = Answer::Verified(Err(failure.clone()));
        self.answer_verifiers(Some(Stage::Judged), &answer);
        self.answer_verifiers(Some(Stage::Wanted), &answer);
        self.phase = phase(failure);
    }

    /// Before the next attempt.
    fn pause(&mut self) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.failures.min(16));
        let longest = doubled.min(self.max_retry);
        longest - longest.mul_f64(self.rng.f64() / 2.0)
    }

    // Callers

    fn answer(&mut self, caller: C, answer: Answer) {
        self.commands.push(Command::Answer(caller, answer));
    }

    fn ping(&mut self, caller: C) {
        match self.phase {
            Phase::Idle => self.answer(caller, Answer::Pong),
            Phase::Checking(_) | Phase::Reloading if !self.is_check_wanted => {
                self.fence.wait_for_this_check(caller);
            }
            _ => self.fence.wait_for_next_check(caller),
        }
    }

    fn pong(&mut self) {
        for caller in self.fence.check_ended_well() {
            self.answer(caller, Answer::Pong);
        }
    }

    fn first_load_ended(&mut self) {
        for caller in self.first_load.take().into_iter().flatten() {
            self.answer(caller, Answer::FirstLoadEnded);
        }
    }

    /// While the database fails there is no audit, so the answer is known.
    fn verify(&mut self, caller: C) {
        match &self.phase {
            Phase::BackingOff(failure) | Phase::WithoutTable(failure) => {
                let failure = failure.clone();
                self.answer(caller, Answer::Verified(Err(failure)));
            }
            _ => self.verifiers.add(caller),
        }
    }

    fn answer_verifiers(&mut self, stage: Option<Stage>, answer: &Answer) {
        for caller in self.verifiers.take(stage) {
            self.answer(caller, answer.clone());
        }
    }

    // Audits

    fn audit_if_wanted(&mut self) {
        let is_wanted = self.is_audit_due || self.verifiers.has(Stage::Wanted);
        if is_wanted && !self.is_auditing && self.may_audit() {
            (self.is_auditing, self.is_audit_due) = (true, false);
            self.verifiers.advance(Stage::Wanted, Stage::Running);
            self.commands.push(Command::StartAudit);
        }
    }

    fn may_audit(&self) -> bool {
        match self.phase {
            Phase::Idle => true,
            Phase::Checking(_) => self.connections > 1 && self.failures == 0,
            _ => false,
        }
    }

    fn audit_ended(&mut self, end: Result<bool, Failure>) {
        if !std::mem::take(&mut self.is_auditing) {
            return;
        }
        self.set_audit_timer();
        match end {
            Ok(false) => self.answer_verifiers(Some(Stage::Running), &Answer::Verified(Ok(()))),
            Ok(true) => {
                self.verifiers.advance(Stage::Running, Stage::Suspicious);
                self.request_check();
            }
            Err(failure) => {
                self.commands.push(Command::Log(Event::AuditFailed(failure.clone())));
                self.answer_verifiers(Some(Stage::Running), &Answer::Verified(Err(failure)));
            }
        }
        if matches!(self.phase, Phase::AwaitingConnection) {
            self.begin_check();
        }
    }

    /// A check has waited for the only connection long enough.
    fn give_audit_up(&mut self) {
        self.commands.push(Command::CancelAudit);
        let text = "a check needed the only connection: set max_connections to 2 or more";
        self.audit_ended(Err(Failure::new("busy", text)));
    }

    /// Up to a tenth sooner, so that the nodes of a cluster do not all come at once.
    fn set_audit_timer(&mut self) {
        let sooner = self.audit_interval.mul_f64(self.rng.f64() / 10.0);
        let after = self.audit_interval - sooner;
        self.commands.push(Command::WakeAfter(Timer::Audit, after));
    }
}
