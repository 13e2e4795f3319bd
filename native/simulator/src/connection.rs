//! Production's view of the simulated database.
//!
//! [`Connection`] takes the place of `domain_store::Store`. An operation leaves its [`Request`] and
//! waits; the world answers when its turn has come.

use domain_store::{Enabled, Event, Setting};
use domain_sync::driver::Database;
use domain_sync::follower::Failure;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The oldest and the newest id.
    Bounds,
    /// Events of a range of ids, at most so many.
    Events(i64, i64, u32),
    /// The rows of domains.
    Settings(Vec<String>),
    /// Dummies.
    Settle(Vec<i64>),
    /// All enabled domains, as they are now; [`Request::Rows`] fetches them.
    Load,
    /// The next ones of them.
    Rows,
}

/// The answer to the request of the same name.
#[derive(Debug)]
pub enum Answer {
    /// The oldest and the newest id.
    Bounds(Option<(i64, i64)>),
    /// The events.
    Events(Vec<Event>),
    /// The rows.
    Settings(Vec<Setting>),
    /// How many dummies were inserted.
    Settle(u64),
    /// The load begins.
    Load,
    /// Some rows; none at the end.
    Rows(Vec<Enabled>),
}

/// The operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

impl From<Failed> for Failure {
    fn from(_: Failed) -> Self {
        Failure::new("failed", "the simulator wants it so")
    }
}

/// One run's connection.
#[derive(Clone)]
pub struct Connection {
    now: SystemTime,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    request: Option<Request>,
    answer: Option<Result<Answer, Failed>>,
}

impl Connection {
    /// For a run that starts now, in seconds.
    pub fn new(now: i64) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
        Connection { now, slot: Arc::default() }
    }

    /// Does a request wait for an answer?
    pub fn is_waiting(&self) -> bool {
        self.with(|slot| slot.request.is_some())
    }

    /// The request, for people.
    pub fn describe(&self) -> String {
        self.with(|slot| match &slot.request {
            Some(Request::Settle(ids)) if ids.len() > 10 => {
                format!("waits for Settle of {} ids from {}", ids.len(), ids[0])
            }
            Some(request) => format!("waits for {request:?}"),
            None => "waits for room for a batch".into(),
        })
    }

    /// Answers the request that waits, unless `answer` says that it must wait longer. Returns whether
    /// there was an answer.
    pub fn answer(&self, answer: impl FnOnce(&Request) -> Option<Result<Answer, Failed>>) -> bool {
        self.with(|slot| {
            slot.answer = slot.request.as_ref().and_then(answer);
            if slot.answer.is_some() {
                slot.request = None;
            }
            slot.answer.is_some()
        })
    }

    fn with<T>(&self, then: impl FnOnce(&mut Slot) -> T) -> T {
        then(&mut self.slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask(&self, request: Request) -> Result<Answer, Failed> {
        self.with(|slot| slot.request = Some(request));
        let answered = |answer: Option<_>| answer.map_or(Poll::Pending, Poll::Ready);
        poll_fn(|_| answered(self.with(|slot| slot.answer.take()))).await
    }
}

impl Database for Connection {
    type Error = Failed;

    async fn event_bounds(&self) -> Result<Option<(i64, i64)>, Failed> {
        match self.ask(Request::Bounds).await? {
            Answer::Bounds(bounds) => Ok(bounds),
            _ => Err(Failed),
        }
    }

    async fn events(&self, from: i64, upto: i64, limit: u32) -> Result<Vec<Event>, Failed> {
        match self.ask(Request::Events(from, upto, limit)).await? {
            Answer::Events(events) => Ok(events),
            _ => Err(Failed),
        }
    }

    async fn settings(&self, domains: &[String]) -> Result<Vec<Setting>, Failed> {
        match self.ask(Request::Settings(domains.to_vec())).await? {
            Answer::Settings(settings) => Ok(settings),
            _ => Err(Failed),
        }
    }

    async fn settle_gaps(&self, ids: &[i64]) -> Result<u64, Failed> {
        match self.ask(Request::Settle(ids.to_vec())).await? {
            Answer::Settle(inserted) => Ok(inserted),
            _ => Err(Failed),
        }
    }

    /// In smaller batches than the driver allows, so that there are several.
    async fn load(&self, _batch: usize, to: mpsc::Sender<Vec<Enabled>>) -> Result<(), Failed> {
        self.ask(Request::Load).await?;
        loop {
            match self.ask(Request::Rows).await? {
                Answer::Rows(rows) if rows.is_empty() => return Ok(()),
                Answer::Rows(rows) => {
                    if to.send(rows).await.is_err() {
                        return Ok(());
                    }
                }
                _ => return Err(Failed),
            }
        }
    }

    fn now(&self) -> SystemTime {
        self.now
    }
}
