//! A run of production's driver, a check or an audit, polled by hand; and the answers it gets.

use crate::action::Fault;
use crate::connection::{Answer, Connection, Failed, Request};
use crate::coverage::{Corner, Coverage};
use crate::database::Database;
use crate::facts::Facts;
use crate::violation::Violation;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Seconds that a statement may take.
const STATEMENT_LIMIT: i64 = 10;
/// Seconds that a check may take.
///
/// Assumption: less than `event_max_age`, or what a check read is cleaned before it has ended.
const LIMIT: i64 = 100;

/// The driver's future.
pub type Run<T> = Pin<Box<dyn Future<Output = Result<T, Failed>>>>;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A run and what the simulator knows about it.
pub struct Job<T> {
    run: Run<T>,
    woken: Arc<Woken>,
    /// How it ended.
    pub ended: Option<Result<T, Failed>>,
    connection: Connection,
    /// Its facts.
    pub facts: Facts,
}

impl<T> Job<T> {
    /// Begins.
    pub fn new(run: Run<T>, connection: Connection, facts: Facts) -> Self {
        let mut job = Job { run, woken: Arc::default(), ended: None, connection, facts };
        job.poll(0);
        job
    }

    /// Goes on, as far as it can.
    pub fn poll(&mut self, now: i64) {
        if self.ended.is_some() {
            return;
        }
        let waited = self.is_waiting();
        let waker = Waker::from(self.woken.clone());
        let mut context = Context::from_waker(&waker);
        // It may wake itself: reading and handing out go on side by side.
        self.woken.0.store(true, Ordering::Relaxed);
        while self.ended.is_none() && self.woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(ended) = self.run.as_mut().poll(&mut context) {
                self.ended = Some(ended);
            }
        }
        if !waited {
            self.facts.asked = self.facts.asked.max(now);
        }
    }

    /// What it does, for people.
    pub fn describe(&self) -> String
    where
        T: std::fmt::Debug,
    {
        match &self.ended {
            Some(ended) => format!("ended {ended:?}"),
            None => self.connection.describe(),
        }
    }

    /// Does it wait for the database?
    pub fn is_waiting(&self) -> bool {
        self.connection.is_waiting()
    }

    /// Answers what it waits for; `false` if it waits for nothing, or has to wait longer.
    pub fn answer(
        &mut self,
        database: &mut Database,
        coverage: &mut Coverage,
        fault: Fault,
        rows: usize,
    ) -> Result<bool, Violation> {
        let facts = &mut self.facts;
        let mut checked = Ok(());
        let answered = self.connection.answer(|request| {
            if let Request::Settle(ids) = request {
                checked = facts.may_settle(database, ids);
            }
            if fault == Fault::Before {
                coverage.hit(Corner::FailedBefore);
                return Some(Err(Failed));
            }
            let half = fault == Fault::Half;
            let answer = perform(request, database, coverage, facts, rows, half)?;
            if half || fault == Fault::After {
                coverage.hit(Corner::FailedAfter);
                return Some(Err(Failed));
            }
            Some(Ok(answer))
        });
        checked?;
        if answered {
            self.poll(database.now);
        }
        Ok(answered)
    }

    /// It fails, unless it has ended.
    pub fn fail(&mut self) {
        self.ended.get_or_insert(Err(Failed));
    }

    /// Time has passed: a statement, or all of it, may have taken too long.
    pub fn time_out(&mut self, now: i64, coverage: &mut Coverage) {
        if self.facts.began + LIMIT < now {
            self.fail();
        }
        if self.facts.asked + STATEMENT_LIMIT < now && self.connection.answer(|_| Some(Err(Failed)))
        {
            coverage.hit(Corner::TimedOut);
            self.poll(now);
        }
    }
}

fn perform(
    request: &Request,
    database: &mut Database,
    coverage: &mut Coverage,
    facts: &mut Facts,
    rows: usize,
    half: bool,
) -> Option<Answer> {
    Some(match request {
        Request::Bounds => {
            let bounds = database.bounds();
            let newest = facts.covered.as_ref().map(|ids| *ids.end());
            let is_old = newest.zip(bounds).is_some_and(|(newest, (oldest, _))| newest < oldest);
            facts.out_of_date.get_or_insert(is_old);
            facts.has_read(bounds.into_iter().flat_map(|(oldest, newest)| [oldest, newest]));
            Answer::Bounds(bounds)
        }
        Request::Events(from, upto, limit) => {
            let events = database.events(*from, *upto, *limit as usize);
            facts.has_read(events.iter().map(|event| event.id));
            facts.read_at = database.step;
            let is_below = |ids: &RangeInclusive<i64>| upto < ids.start();
            coverage.add(Corner::FullPage, u64::from(events.len() >= *limit as usize));
            coverage
                .add(Corner::BelowFloor, u64::from(facts.covered.as_ref().is_some_and(is_below)));
            Answer::Events(events)
        }
        Request::Settings(domains) => {
            let settings = database.settings(domains);
            let again = |n: usize| settings[..n].iter().any(|row| row.domain == settings[n].domain);
            coverage.add(Corner::Duplicate, u64::from((0..settings.len()).any(again)));
            Answer::Settings(settings)
        }
        Request::Settle(ids) => settle(ids, database, coverage, half)?,
        Request::Load => {
            facts.rows = database.enabled().into();
            Answer::Load
        }
        Request::Rows => {
            let rows = rows.max(1).min(facts.rows.len());
            Answer::Rows(facts.rows.drain(..rows).collect())
        }
    })
}

fn settle(
    ids: &[i64],
    database: &mut Database,
    coverage: &mut Coverage,
    half: bool,
) -> Option<Answer> {
    // A store may need several statements, each with a commit of its own.
    let ids = if half { &ids[..ids.len() / 2] } else { ids };
    if database.is_locked(ids) {
        coverage.hit(Corner::SettleWaited);
        return None;
    }
    let dummies = database.settle(ids);
    coverage.add(Corner::SettleHalf, u64::from(half));
    coverage.add(Corner::Gap, ids.len() as u64);
    coverage.add(Corner::Dummy, dummies);
    coverage.add(Corner::EventCame, ids.len() as u64 - dummies);
    coverage.add(Corner::ManyGaps, u64::from(ids.len() >= domain_sync::check::GAPS));
    Some(Answer::Settle(dummies))
}
