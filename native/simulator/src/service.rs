//! What `service_domain_db` and its task do: run production's follower, in virtual time.
//!
//! `domain_sync::service` does the same on a real clock. Nothing is decided in either.

use crate::connection::Connection;
use crate::database::Database;
use crate::facts::Facts;
use crate::job::Job;
use crate::node::{Applying, Batches, Check, Node, Service};
use crate::violation::Violation;
use crate::watch::{Caller, Question};
use domain_sync::driver::{audit, run};
use domain_sync::follower::{Applied, CheckEnd, Command, Failure, Follower, Input, Timer};
use domain_sync::ignored::Ignored;
use domain_sync::service::check_end;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

impl Node {
    /// The service starts.
    pub fn start_service(&mut self, database: &Database) -> Result<(), Violation> {
        self.source += 1;
        let seed = self.config.seed.wrapping_add(self.source);
        let (follower, commands) = Follower::start(self.config.audit_interval, seed);
        let timers = BTreeMap::new();
        self.service = Some(Service { follower, timers, is_reloading: false });
        self.carry_out(commands, database)?;
        let (max_retry, connections) = (self.config.max_retry, self.config.connections);
        self.input(Input::DatabaseOpened { max_retry, connections }, database)?;
        let caller = self.watch.is_asked(Question::FirstLoad);
        self.input(Input::AwaitFirstLoad(caller), database)
    }

    /// The service is gone, and its position stays.
    pub fn kill_service(&mut self) {
        (self.service, self.check, self.audit) = (None, None, None);
        self.is_restarting = false;
        self.watch.service_is_gone();
        if let Some(applying) = &mut self.applying {
            applying.is_orphan = true;
        }
    }

    /// The service stops in good order.
    pub fn stop_service(&mut self) {
        self.kill_service();
        self.forget_position();
    }

    /// `restart/0`.
    pub fn restart(&mut self) {
        self.forget_position();
        self.is_restarting = true;
    }

    /// `check_for_updates`. A service that is stopped starts, as it would some time.
    pub fn request_check(&mut self, database: &Database) -> Result<(), Violation> {
        if self.service.is_none() {
            return self.start_service(database);
        }
        self.watch.is_requested(database.now);
        self.input(Input::CheckRequested, database)
    }

    /// Somebody asks the service, which runs.
    pub fn ask(&mut self, question: Question, database: &Database) -> Result<Caller, Violation> {
        let caller = self.watch.is_asked(question);
        let input = match question {
            Question::Ping => Input::Ping(caller),
            Question::Verify => Input::Verify(caller),
            Question::FirstLoad => Input::AwaitFirstLoad(caller),
        };
        self.input(input, database)?;
        Ok(caller)
    }

    /// The core has done with a batch.
    pub fn batch_applied(
        &mut self,
        applied: Applied,
        database: &Database,
    ) -> Result<(), Violation> {
        let given_up = match applied {
            Applied::Done => None,
            Applied::TableReplaced => Some(CheckEnd::TableReplaced),
            Applied::NoTable => Some(CheckEnd::NoTable),
        };
        if let Some(check) = self.check.as_mut().filter(|_| given_up.is_some()) {
            check.end = given_up;
        }
        self.input(Input::BatchApplied(applied), database)
    }

    /// The service goes on: it stops after `restart/0`, or takes what its check has made. `false` if
    /// there is nothing.
    pub fn take(&mut self, database: &Database) -> Result<bool, Violation> {
        if self.is_restarting && self.applying.is_none() {
            self.input(Input::RestartRequested, database)?;
            self.stop_service();
            self.start_service(database)?;
            return Ok(true);
        }
        let Some(check) = self.check.as_mut().filter(|check| check.end.is_none()) else {
            return Ok(false);
        };
        let made = check.made.borrow_mut().pop_front();
        if let Some(batch) = made {
            check.ready.push_back(batch);
            self.input(Input::BatchReady, database)?;
        } else if let Some(ended) = check.job.ended.clone() {
            let ended = ended.map_err(Failure::from);
            let end = check_end(ended, &check.routing, Some(self.routing.clone()));
            check.end = Some(end.clone());
            self.input(Input::CheckEnded(end), database)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The audit has ended.
    pub fn audit_ended(
        &mut self,
        end: Result<bool, Failure>,
        database: &Database,
    ) -> Result<(), Violation> {
        self.audit = None;
        self.input(Input::AuditEnded(end), database)
    }

    /// The service calls `restart/0`, as its follower wants it to; `false` if it does not.
    pub fn reload(&mut self, has_effect: bool, database: &Database) -> Result<bool, Violation> {
        let Some(service) = self.service.as_mut().filter(|service| service.is_reloading) else {
            return Ok(false);
        };
        service.is_reloading = false;
        if has_effect {
            self.restart();
            self.take(database)?;
        } else {
            self.watch.is_not_restarted(database.now);
            self.input(Input::RestartWithoutEffect, database)?;
        }
        Ok(true)
    }

    /// The timers that are due fire.
    pub fn fire_timers(&mut self, database: &Database) -> Result<(), Violation> {
        for timer in [Timer::Check, Timer::Audit] {
            let Some(service) = &mut self.service else { return Ok(()) };
            let is_due = |at: &mut i64| *at <= database.now * 1_000;
            if let Some(at) = service.timers.get_mut(&timer)
                && is_due(at)
            {
                service.timers.remove(&timer);
                // Set before a check or a reload that is in progress, it has no meaning.
                let rests = self.check.is_none() && !service.is_reloading;
                if timer == Timer::Check && rests {
                    self.watch.is_due(database.now);
                }
                self.input(Input::TimerFired(timer), database)?;
            }
        }
        Ok(())
    }

    fn input(&mut self, input: Input<Caller>, database: &Database) -> Result<(), Violation> {
        let Some(service) = &mut self.service else { return Ok(()) };
        let commands = service.follower.handle(input);
        self.carry_out(commands, database)
    }

    fn carry_out(
        &mut self,
        commands: Vec<Command<Caller>>,
        database: &Database,
    ) -> Result<(), Violation> {
        for command in commands {
            match command {
                Command::StartCheck => {
                    self.watch.check_begins(database.now)?;
                    self.start_check(database);
                }
                Command::EndCheck => {
                    if let Some(check) = self.check.take() {
                        let end = check.end.as_ref().unwrap_or(&CheckEnd::NoTable);
                        self.watch.check_is_over(end, database.now);
                        self.over.push(check);
                    }
                }
                Command::ApplyBatch => self.apply_batch(),
                Command::StartAudit => {
                    self.watch.audit_begins()?;
                    self.start_audit(database);
                }
                Command::CancelAudit => self.audit = None,
                Command::Answer(caller, answer) => self.watch.is_answered(caller, answer)?,
                Command::WakeAfter(timer, after) => {
                    if let Some(service) = &mut self.service {
                        let at = database.now * 1_000 + after.as_millis() as i64;
                        service.timers.insert(timer, at);
                    }
                }
                Command::Reload => {
                    if let Some(service) = &mut self.service {
                        service.is_reloading = true;
                    }
                }
                Command::FindMissingIndex | Command::Count(_) | Command::Log(_) => {}
            }
        }
        Ok(())
    }

    fn start_check(&mut self, database: &Database) {
        let connection = Connection::new(database.now);
        let position = self.routing.position();
        let facts = Facts::new(database, position.as_ref());
        let made = Batches::default();
        let (store, to) = (connection.clone(), made.clone());
        let (routing, source) = (self.routing.clone(), self.source);
        let max_age = Duration::from_secs(database.max_age.unsigned_abs());
        let checked = routing.clone();
        let run = async move {
            let deliver = |batch| {
                to.borrow_mut().push_back(batch);
                true
            };
            run(&store, checked, source, Arc::<Ignored>::default(), max_age, deliver).await
        };
        let job = Job::new(Box::pin(run), connection, facts);
        let forgotten = routing.times_forgotten();
        let (ready, end, overtaken) = (VecDeque::new(), None, false);
        self.check = Some(Check { job, made, ready, end, routing, overtaken, forgotten });
    }

    fn start_audit(&mut self, database: &Database) {
        let connection = Connection::new(database.now);
        let (store, routing) = (connection.clone(), self.routing.clone());
        let run = async move { audit(&store, &routing).await };
        let facts = Facts::new(database, None);
        self.audit = Some(Job::new(Box::pin(run), connection, facts));
    }

    fn apply_batch(&mut self) {
        let Some(check) = &mut self.check else { return };
        if let Some(batch) = check.ready.pop_front() {
            let (era, forgotten) = (check.job.facts.era, check.forgotten);
            self.applying = Some(Applying { batch, era, forgotten, is_orphan: false });
        }
    }
}
