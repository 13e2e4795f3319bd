//! Runs a [`Follower`] on a real clock and a real database: owns its jobs and timers, and passes on
//! what is not Rust's to do to a [`Host`].
//!
//! One task runs [`serve`], until the [`Message`]s end. Then the jobs are given up. A job that panics
//! has failed, and the service goes on.

use crate::batch::Batch;
use crate::check::Outcome;
use crate::driver::{self, Database, Ended};
use crate::follower::{Answer, CheckEnd, Command, Count, Event, Failure, Follower, Input, Timer};
use crate::ignored::Ignored;
use crate::routing::Routing;
use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};

/// The node around a service.
pub trait Host: Send {
    /// Somebody who waits for an answer.
    type Caller: Send;
    /// Who inserts domains into the table.
    type Source: Clone + Eq + Hash + Send + Sync + 'static;
    /// The database.
    type Database: Database<Error: Into<Failure> + Send> + Send + Sync + 'static;

    /// The table of this node, if there is one.
    fn routing(&self) -> Option<Arc<Routing<Self::Source>>>;
    /// The source of the domains that this service inserts.
    fn source(&self) -> Self::Source;
    /// Open the database. [`Message::Opened`] follows.
    fn open_database(&mut self);
    /// Apply a batch. [`Input::BatchApplied`] follows.
    fn apply(&mut self, batch: Batch<Self::Source>);
    /// Answer a caller.
    fn answer(&mut self, caller: Self::Caller, answer: Answer);
    /// See [`Command::Reload`].
    fn reload(&mut self);
    /// Log something.
    fn log(&mut self, report: Report);
}

/// What the host says.
pub enum Message<H: Host> {
    /// Something happened.
    Input(Input<H::Caller>),
    /// What came of [`Host::open_database`].
    Opened(Result<Opened<H::Database>, Failure>),
}

/// A database that is open.
pub struct Opened<D> {
    /// The database.
    pub database: D,
    /// See [`Input::DatabaseOpened`].
    pub max_retry: Duration,
    /// See [`Input::DatabaseOpened`].
    pub connections: u32,
}

/// Something to be logged.
pub enum Report {
    /// What the follower says; and since when the check runs that it is about.
    Event(Event, Duration),
    /// What a check ignored.
    Ignored(Arc<Ignored>),
    /// The statement that adds an index which is missing.
    MissingIndex(&'static str),
}

/// What the configuration decides.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The age from which on events are cleaned away.
    pub max_age: Duration,
    /// From one audit to the next.
    pub audit_interval: Duration,
    /// Of the follower's chance.
    pub seed: u64,
}

/// Follows the database until there are no more messages.
pub async fn serve<H: Host>(
    host: H,
    mut messages: UnboundedReceiver<Message<H>>,
    settings: Settings,
) {
    let (mut follower, commands) = Follower::start(settings.audit_interval, settings.seed);
    let mut service = Service {
        host,
        max_age: settings.max_age,
        database: None,
        check: None,
        check_began: Instant::now(),
        audit: None,
        index_search: None,
        timers: BTreeMap::new(),
        inputs: VecDeque::new(),
    };
    commands.into_iter().for_each(|command| service.carry_out(command));
    loop {
        while let Some(input) = service.inputs.pop_front() {
            follower.handle(input).into_iter().for_each(|command| service.carry_out(command));
        }
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => service.receive(message),
                None => return,
            },
            progress = progress(&mut service.check) => service.check_went_on(progress),
            end = end(&mut service.audit) => {
                let end = end.unwrap_or_else(|error| Err(failure(&error)));
                service.inputs.push_back(Input::AuditEnded(end));
            }
            found = end(&mut service.index_search) => {
                if let Ok(Some(statement)) = found {
                    service.host.log(Report::MissingIndex(statement));
                }
            }
            timer = first(&service.timers) => {
                service.timers.remove(&timer);
                service.inputs.push_back(Input::TimerFired(timer));
            }
        }
    }
}

struct Service<H: Host> {
    host: H,
    max_age: Duration,
    database: Option<Arc<H::Database>>,
    check: Option<Check<H::Source>>,
    /// When the newest check began.
    check_began: Instant,
    audit: Option<Task<Result<bool, Failure>>>,
    index_search: Option<Task<Option<&'static str>>>,
    timers: BTreeMap<Timer, Instant>,
    /// The next input of the follower.
    inputs: VecDeque<Input<H::Caller>>,
}

impl<H: Host> Service<H> {
    fn receive(&mut self, message: Message<H>) {
        match message {
            Message::Input(input) => self.inputs.push_back(input),
            Message::Opened(Ok(Opened { database, max_retry, connections })) => {
                self.database = Some(Arc::new(database));
                self.inputs.push_back(Input::DatabaseOpened { max_retry, connections });
                self.start_check();
            }
            Message::Opened(Err(failure)) => {
                self.inputs.push_back(Input::CheckEnded(CheckEnd::Failed(failure)));
            }
        }
    }

    fn carry_out(&mut self, command: Command<H::Caller>) {
        match command {
            Command::StartCheck => self.start_check(),
            Command::EndCheck => {
                if let Some(check) = self.check.take() {
                    self.host.log(Report::Ignored(check.ignored));
                }
            }
            Command::ApplyBatch => {
                if let Some(batch) = self.check.as_mut().and_then(|it| it.ready.pop_front()) {
                    self.host.apply(batch);
                }
            }
            Command::StartAudit => self.start_audit(),
            Command::CancelAudit => self.audit = None,
            Command::FindMissingIndex => self.find_missing_index(),
            Command::Answer(caller, answer) => self.host.answer(caller, answer),
            Command::WakeAfter(timer, after) => match Instant::now().checked_add(after) {
                Some(at) => drop(self.timers.insert(timer, at)),
                // Later than the clock can say: never.
                None => drop(self.timers.remove(&timer)),
            },
            Command::Reload => self.host.reload(),
            Command::Count(count) => self.count(count),
            Command::Log(event) => {
                self.host.log(Report::Event(event, self.check_began.elapsed()));
            }
        }
    }

    fn start_check(&mut self) {
        self.check_began = Instant::now();
        let Some(database) = self.database.clone() else {
            return self.host.open_database();
        };
        let Some(routing) = self.host.routing() else {
            return self.inputs.push_back(Input::CheckEnded(CheckEnd::NoTable));
        };
        let (ignored, (sender, batches)) = (Arc::<Ignored>::default(), unbounded_channel());
        let (of_run, ignored_by_run) = (routing.clone(), ignored.clone());
        let (source, max_age) = (self.host.source(), self.max_age);
        let run = async move {
            let deliver = |batch| sender.send(batch).is_ok();
            let ended = driver::run(&*database, of_run, source, ignored_by_run, max_age, deliver);
            ended.await.map_err(Into::into)
        };
        let task = Some(Task(tokio::spawn(run)));
        self.check = Some(Check { routing, ignored, batches, ready: VecDeque::new(), task });
    }

    fn start_audit(&mut self) {
        let (Some(database), Some(routing)) = (self.database.clone(), self.host.routing()) else {
            let failure = Failure::new("no_table", "mongoose_domain_core is not running");
            return self.inputs.push_back(Input::AuditEnded(Err(failure)));
        };
        let audit = async move { driver::audit(&*database, &routing).await.map_err(Into::into) };
        self.audit = Some(Task(tokio::spawn(audit)));
    }

    fn find_missing_index(&mut self) {
        let Some(database) = self.database.clone() else { return };
        let search = async move { database.missing_index().await.unwrap_or_default() };
        self.index_search = Some(Task(tokio::spawn(search)));
    }

    fn check_went_on(&mut self, progress: Progress<H::Source>) {
        let Some(check) = &mut self.check else { return };
        match progress {
            Progress::Batch(batch) => {
                check.ready.push_back(batch);
                self.inputs.push_back(Input::BatchReady);
            }
            Progress::Ended(end) => {
                let end = check_end(end, &check.routing, self.host.routing());
                self.inputs.push_back(Input::CheckEnded(end));
            }
        }
    }

    fn count(&self, count: Count) {
        let Some(routing) = self.host.routing() else { return };
        routing.count(|counts| match count {
            Count::FailedCheck(Failure { reason, text }) => counts.count_failed_check(reason, text),
            Count::RequestedReload => counts.count_reload("requested"),
        });
    }
}

/// A check in progress.
struct Check<S> {
    routing: Arc<Routing<S>>,
    ignored: Arc<Ignored>,
    /// The batches that it makes. After the last one its task ends.
    batches: UnboundedReceiver<Batch<S>>,
    /// Those that wait to be applied.
    ready: VecDeque<Batch<S>>,
    /// `None` when its end has been seen.
    task: Option<Task<Result<Ended, Failure>>>,
}

enum Progress<S> {
    Batch(Batch<S>),
    Ended(Result<Ended, Failure>),
}

/// The next thing that comes of a check.
async fn progress<S>(check: &mut Option<Check<S>>) -> Progress<S> {
    let Some(Check { batches, task, .. }) = check else { return pending().await };
    match batches.recv().await {
        Some(batch) => Progress::Batch(batch),
        None => {
            let end = end(task).await;
            Progress::Ended(end.unwrap_or_else(|error| Err(failure(&error))))
        }
    }
}

/// How a check ended for the node: one for another table than the `current` one says nothing of that.
pub fn check_end<S>(
    ended: Result<Ended, Failure>,
    checked: &Arc<Routing<S>>,
    current: Option<Arc<Routing<S>>>,
) -> CheckEnd {
    match (ended, current) {
        (Err(failure), _) => CheckEnd::Failed(failure),
        (Ok(_), None) => CheckEnd::NoTable,
        (Ok(_), Some(current)) if !Arc::ptr_eq(checked, &current) => CheckEnd::TableReplaced,
        (Ok(Ended::With(outcome)), _) => match outcome {
            Outcome::Current => CheckEnd::Current,
            Outcome::Loaded => CheckEnd::Loaded,
            Outcome::Reload(reason) => CheckEnd::Reload(reason),
            Outcome::Unsettled => {
                let text = "the event log changed while it was read";
                CheckEnd::Failed(Failure::new("unsettled", text))
            }
        },
        (Ok(Ended::Differs(differences)), _) => CheckEnd::Differs(differences),
        (Ok(Ended::Abandoned), _) => {
            let text = "the check was cancelled: nothing takes its changes any more";
            CheckEnd::Failed(Failure::new("stopped", text))
        }
    }
}

/// A task that is given up with its handle.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for the end of a task, for ever if there is none, and takes it out.
async fn end<T>(task: &mut Option<Task<T>>) -> Result<T, JoinError> {
    let Some(Task(handle)) = task else { return pending().await };
    let end = handle.await;
    *task = None;
    end
}

/// A task panicked, or the runtime stops.
fn failure(error: &JoinError) -> Failure {
    Failure::new("stopped", format!("the task ended too early: {error}"))
}

/// The timer that fires first, when it does.
async fn first(timers: &BTreeMap<Timer, Instant>) -> Timer {
    match timers.iter().min_by_key(|(_, at)| **at) {
        Some((timer, at)) => {
            sleep_until(*at).await;
            *timer
        }
        None => pending().await,
    }
}
