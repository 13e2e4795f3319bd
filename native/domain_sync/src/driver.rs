//! Runs a check or a load on a real store, and hands out batches of changes.

use crate::check::{self, Outcome, Step};
use crate::routing::{Batch, Change, Ignored, Routing};
use domain_store::{Enabled, Error, Store};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, mpsc};

/// The most changes in a batch.
pub const BATCH: usize = 1_000;
/// The most batches that wait to be applied. The next ones are read when there is room again.
pub const BATCHES_WAITING: usize = 4;

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The check came to an end.
    With(Outcome),
    /// Nobody takes the batches any more.
    Abandoned,
}

/// Checks the log once, from where the table stands, or loads everything if it stands nowhere.
///
/// Changes go to `deliver`, in batches to be applied in that order; it returns `false` when nobody
/// takes them any more. The table is not touched here.
pub async fn run<S: Clone + Eq + Hash>(
    store: &Store,
    routing: Arc<Routing<S>>,
    source: S,
    ignored: Arc<Ignored>,
    max_age: Duration,
    deliver: impl FnMut(Batch<S>) -> bool,
) -> Result<Ended, Error> {
    let now = SystemTime::now();
    let forgotten = routing.times_forgotten();
    let credits = Arc::new(Semaphore::new(BATCHES_WAITING));
    let mut step = check::start(routing.position(), now, max_age);
    let mut out = Out { routing, source, ignored, forgotten, credits, deliver };
    loop {
        step = match step {
            Step::ReadBounds(step) => step.answer(store.event_bounds().await?),
            Step::ReadEvents(step) => {
                let events = store.events(step.from, step.upto, step.limit).await?;
                step.answer(events)
            }
            Step::SettleGaps(step) => {
                store.settle_gaps(&step.ids).await?;
                step.answer()
            }
            Step::ReadSettings(step) => {
                let settings = store.settings(&step.domains).await?;
                step.answer(settings)
            }
            Step::Apply(mut step) => {
                let mut changes = std::mem::take(&mut step.changes);
                while changes.len() > BATCH {
                    let rest = changes.split_off(BATCH);
                    if !out.send(|batch| batch.with_changes(changes)).await {
                        return Ok(Ended::Abandoned);
                    }
                    changes = rest;
                }
                let position = step.position.clone();
                if !out.send(|batch| batch.with_changes(changes).with_position(position)).await {
                    return Ok(Ended::Abandoned);
                }
                step.answer()
            }
            Step::Load(step) => {
                if !load(store, &mut out).await? {
                    return Ok(Ended::Abandoned);
                }
                let position = step.position.clone();
                if !out.send(|batch| batch.with_sweep().with_position(position)).await {
                    return Ok(Ended::Abandoned);
                }
                step.answer()
            }
            Step::Finished(outcome) => {
                if outcome == Outcome::Current {
                    out.routing.confirm(now);
                }
                return Ok(Ended::With(outcome));
            }
        }
    }
}

/// Reads rows while the ones before are being applied.
async fn load<S: Clone + Eq + Hash>(
    store: &Store,
    out: &mut Out<S, impl FnMut(Batch<S>) -> bool>,
) -> Result<bool, Error> {
    let (to, mut from) = mpsc::channel::<Vec<Enabled>>(1);
    let hand_out = async {
        while let Some(rows) = from.recv().await {
            let put = |(domain, host_type)| Change::Put { domain, host_type };
            let changes = rows.into_iter().map(put).collect();
            if !out.send(|batch| batch.with_changes(changes)).await {
                from.close();
                return false;
            }
        }
        true
    };
    let (read, taken) = tokio::join!(store.load(BATCH, to), hand_out);
    read.map(|()| taken)
}

/// Where the batches go.
struct Out<S, D> {
    routing: Arc<Routing<S>>,
    source: S,
    ignored: Arc<Ignored>,
    forgotten: u64,
    credits: Arc<Semaphore>,
    deliver: D,
}

impl<S: Clone + Eq + Hash, D: FnMut(Batch<S>) -> bool> Out<S, D> {
    /// Sends a batch when fewer than [`BATCHES_WAITING`] wait.
    async fn send(&mut self, fill: impl FnOnce(Batch<S>) -> Batch<S>) -> bool {
        let credit = self.credits.clone().acquire_owned().await.ok();
        let (routing, ignored) = (self.routing.clone(), self.ignored.clone());
        let batch = Batch::new(routing, self.source.clone(), ignored, self.forgotten, credit);
        (self.deliver)(fill(batch))
    }
}
