//! The service around the follower: on a real database, without Erlang.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_store::{Enabled, Event, Setting};
use domain_sync::batch::Batch;
use domain_sync::driver::Database;
use domain_sync::follower::{self, Answer, Applied, Failure, Input};
use domain_sync::routing::Routing;
use domain_sync::service::{Host, Message, Opened, Report, Settings, serve};
use domain_table::Table;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use test_database::on_every_database;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// What the service asks for, in place of messages to an Erlang process.
enum Asked {
    Open,
    Apply(Batch<u32>),
    Answer(u32, Answer),
    Reload,
    Log(Report),
}

struct TestHost<D> {
    routing: Arc<Routing<u32>>,
    asked: UnboundedSender<Asked>,
    _database: std::marker::PhantomData<fn(D)>,
}

impl<D> TestHost<D> {
    fn ask(&self, asked: Asked) {
        let _ = self.asked.send(asked);
    }
}

impl<D: Database<Error: Into<Failure> + Send> + Send + Sync + 'static> Host for TestHost<D> {
    type Caller = u32;
    type Source = u32;
    type Database = D;

    fn routing(&self) -> Option<Arc<Routing<u32>>> {
        Some(self.routing.clone())
    }

    fn source(&self) -> u32 {
        1
    }

    fn open_database(&mut self) {
        self.ask(Asked::Open);
    }

    fn apply(&mut self, batch: Batch<u32>) {
        self.ask(Asked::Apply(batch));
    }

    fn answer(&mut self, caller: u32, answer: Answer) {
        self.ask(Asked::Answer(caller, answer));
    }

    fn reload(&mut self) {
        self.ask(Asked::Reload);
    }

    fn log(&mut self, report: Report) {
        self.ask(Asked::Log(report));
    }
}

/// A service that runs, and the process that it belongs to.
struct Process<D: Database<Error: Into<Failure> + Send> + Send + Sync + 'static> {
    routing: Arc<Routing<u32>>,
    /// To be opened when it is asked for.
    database: Option<D>,
    sender: UnboundedSender<Message<TestHost<D>>>,
    asked: UnboundedReceiver<Asked>,
    task: JoinHandle<()>,
}

impl<D: Database<Error: Into<Failure> + Send> + Send + Sync + 'static> Process<D> {
    fn start(database: D) -> Self {
        Self::start_with(database, Duration::from_secs(300))
    }

    fn start_with(database: D, audit_interval: Duration) -> Self {
        let routing = Arc::new(Routing::new(Table::new([], ["type1".into()])));
        let (sender, inbox) = unbounded_channel();
        let (ask, asked) = unbounded_channel();
        let host =
            TestHost { routing: routing.clone(), asked: ask, _database: std::marker::PhantomData };
        let settings = Settings { max_age: Duration::from_secs(7_200), audit_interval, seed: 1 };
        let task = tokio::spawn(serve(host, inbox, settings));
        Process { routing, database: Some(database), sender, asked, task }
    }

    fn send(&self, input: Input<u32>) {
        assert!(self.sender.send(Message::Input(input)).is_ok());
    }

    /// Does what is asked, up to the next answer, and returns that; and what was logged until then.
    async fn answer(&mut self) -> (u32, Answer, Vec<follower::Event>) {
        let mut logged = Vec::new();
        loop {
            match self.asked.recv().await.unwrap() {
                Asked::Open => {
                    let database = self.database.take().unwrap();
                    let max_retry = Duration::from_secs(1);
                    let opened = Opened { database, max_retry, connections: 2 };
                    assert!(self.sender.send(Message::Opened(Ok(opened))).is_ok());
                }
                Asked::Apply(batch) => {
                    while batch.apply(7) {}
                    self.send(Input::BatchApplied(Applied::Done));
                }
                Asked::Answer(caller, answer) => return (caller, answer, logged),
                Asked::Reload => self.send(Input::RestartWithoutEffect),
                Asked::Log(Report::Event(event, _)) => logged.push(event),
                Asked::Log(_) => {}
            }
        }
    }
}

on_every_database!(an_interval_beyond_every_clock_is_never, db => {
    let mut process = Process::start_with(db.store.clone(), Duration::MAX);
    process.send(Input::Ping(0));
    assert!(matches!(process.answer().await, (0, Answer::Pong, _)));
});

on_every_database!(a_ping_is_answered_when_the_table_has_what_was_changed_before, db => {
    let mut process = Process::start(db.store.clone());
    process.send(Input::Ping(0));
    let (caller, answer, logged) = process.answer().await;
    assert_eq!((caller, answer), (0, Answer::Pong));
    assert!(logged.contains(&follower::Event::Loaded), "{logged:?}");
    for number in 1..20 {
        let domain = format!("d{number}.example");
        db.store.insert_domain(&domain, "type1").await.unwrap();
        process.send(Input::CheckRequested);
        process.send(Input::Ping(number));
        let (caller, answer, _) = process.answer().await;
        assert_eq!((caller, answer), (number, Answer::Pong));
        assert!(process.routing.table().host_type(domain.as_bytes()).is_some());
    }
    process.send(Input::Verify(20));
    assert_eq!(process.answer().await.1, Answer::Verified(Ok(())));
});

on_every_database!(verify_finds_a_row_that_changed_without_an_event, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    let mut process = Process::start(db.store.clone());
    process.send(Input::Ping(1));
    process.answer().await;
    db.execute("DELETE FROM domain_settings").await;
    process.send(Input::Verify(2));
    let (caller, answer, _) = process.answer().await;
    let Answer::Differs(found) = answer else { panic!("{answer:?}") };
    assert_eq!((caller, found[0].domain.as_str()), (2, "a.example"));
});

on_every_database!(it_ends_with_its_messages, db => {
    let process = Process::start(db.store.clone());
    drop(process.sender);
    process.task.await.unwrap();
});

/// An empty database whose first answer is a panic.
#[derive(Default)]
struct Panics(AtomicBool);

impl Database for Panics {
    type Error = Failure;

    async fn event_bounds(&self) -> Result<Option<(i64, i64)>, Failure> {
        assert!(self.0.swap(true, Ordering::Relaxed), "deliberately");
        Ok(None)
    }

    async fn events(&self, _: i64, _: i64, _: u32) -> Result<Vec<Event>, Failure> {
        Ok(Vec::new())
    }

    async fn settings(&self, _: &[String]) -> Result<Vec<Setting>, Failure> {
        Ok(Vec::new())
    }

    async fn settle_gaps(&self, _: &[i64]) -> Result<u64, Failure> {
        Ok(0)
    }

    async fn load(&self, _: usize, _: mpsc::Sender<Vec<Enabled>>) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn a_check_that_panics_has_failed_and_the_next_one_comes() {
    let mut process = Process::start(Panics::default());
    process.send(Input::Ping(1));
    let (_, answer, logged) = process.answer().await;
    assert_eq!(answer, Answer::Pong);
    let failed = logged.iter().find_map(|event| match event {
        follower::Event::CheckFailed(failure, _) => Some(failure.reason.as_str()),
        _ => None,
    });
    assert_eq!(failed, Some("stopped"));
}
