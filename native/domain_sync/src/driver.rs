//! Runs a check or a load on a database, and hands out batches of changes.

use crate::audit::{Comparison, Difference, judge};
use crate::batch::{Batch, Change};
use crate::check::{self, Outcome, PAGE, Reason, Step};
use crate::ignored::Ignored;
use crate::routing::Routing;
use domain_store::{Enabled, Error, Event, Setting, Store};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, mpsc};

/// The most changes in a batch of a load. Those of a page of events are one batch.
pub const BATCH: usize = 1_000;
/// The most batches that wait to be applied. The next ones are read when there is room again.
pub const BATCHES_WAITING: usize = 4;

/// What a run needs of a database, as [`Store`] has it. The simulator has another one.
pub trait Database: Sync {
    /// A failure; the run ends with it.
    type Error;

    /// See [`Store::event_bounds`].
    fn event_bounds(&self) -> impl Future<Output = Result<Option<(i64, i64)>, Self::Error>> + Send;

    /// See [`Store::events`].
    fn events(
        &self,
        from: i64,
        upto: i64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Event>, Self::Error>> + Send;

    /// See [`Store::settings`].
    fn settings(
        &self,
        domains: &[String],
    ) -> impl Future<Output = Result<Vec<Setting>, Self::Error>> + Send;

    /// See [`Store::settle_gaps`].
    fn settle_gaps(&self, ids: &[i64]) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// See [`Store::load`].
    fn load(
        &self,
        batch: usize,
        to: mpsc::Sender<Vec<Enabled>>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// See [`Store::missing_index`].
    fn missing_index(
        &self,
    ) -> impl Future<Output = Result<Option<&'static str>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// The time.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl Database for Store {
    type Error = Error;

    async fn event_bounds(&self) -> Result<Option<(i64, i64)>, Error> {
        self.event_bounds().await
    }

    async fn events(&self, from: i64, upto: i64, limit: u32) -> Result<Vec<Event>, Error> {
        self.events(from, upto, limit).await
    }

    async fn settings(&self, domains: &[String]) -> Result<Vec<Setting>, Error> {
        self.settings(domains).await
    }

    async fn settle_gaps(&self, ids: &[i64]) -> Result<u64, Error> {
        self.settle_gaps(ids).await
    }

    async fn load(&self, batch: usize, to: mpsc::Sender<Vec<Enabled>>) -> Result<(), Error> {
        self.load(batch, to).await
    }

    async fn missing_index(&self) -> Result<Option<&'static str>, Error> {
        self.missing_index().await
    }
}

/// How a run ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The check came to an end.
    With(Outcome),
    /// It did, and the table is wrong for these domains that an audit had suspected. Everything must
    /// be loaded again.
    Differs(Vec<Difference>),
    /// Nobody takes the batches any more.
    Abandoned,
}

/// Checks the log once, from where the table stands, or loads everything if it stands nowhere.
///
/// Changes go to `deliver`, in batches to be applied in that order; it returns `false` when nobody
/// takes them any more. The table is not touched here.
pub async fn run<D: Database, S: Clone + Eq + Hash>(
    store: &D,
    routing: Arc<Routing<S>>,
    source: S,
    ignored: Arc<Ignored>,
    max_age: Duration,
    deliver: impl FnMut(Batch<S>) -> bool,
) -> Result<Ended, D::Error> {
    let now = store.now();
    let forgotten = routing.times_forgotten();
    let credits = Arc::new(Semaphore::new(BATCHES_WAITING));
    let mut step = check::start(routing.position(), now, max_age);
    let mut out = Out { routing, source, ignored, forgotten, credits, deliver };
    loop {
        step = match step {
            Step::ReadBounds(step) => {
                let bounds = store.event_bounds().await?;
                let newest = bounds.map(|(_, newest)| newest);
                out.routing.count(|counts| counts.newest_event = newest);
                step.answer(bounds)
            }
            Step::ReadEvents(step) => {
                let events = store.events(step.from, step.upto, step.limit).await?;
                step.answer(events)
            }
            Step::SettleGaps(step) => {
                let dummies = store.settle_gaps(&step.ids).await?;
                out.routing.count(|counts| {
                    counts.gaps_settled += step.ids.len() as u64;
                    counts.dummies_written += dummies;
                });
                step.answer()
            }
            Step::ReadSettings(step) => {
                let settings = store.settings(&step.domains).await?;
                step.answer(settings)
            }
            Step::Apply(mut step) => {
                let changes = std::mem::take(&mut step.changes);
                let position = step.position.clone();
                if !out.send(|batch| batch.with_changes(changes).with_position(position)).await {
                    return Ok(Ended::Abandoned);
                }
                step.answer()
            }
            Step::Load(step) => {
                if !out.send(Batch::with_renewal).await || !load(store, &mut out).await? {
                    return Ok(Ended::Abandoned);
                }
                let position = step.position.clone();
                if !out.send(|batch| batch.with_sweep().with_position(position)).await {
                    return Ok(Ended::Abandoned);
                }
                step.answer()
            }
            Step::Finished(outcome) => {
                let routing = &out.routing;
                match outcome {
                    Outcome::Current => {
                        let suspects = routing.take_suspects();
                        if !suspects.is_empty() {
                            out.all_applied().await;
                            let differences = judge_suspects(store, &out.routing, suspects).await?;
                            if !differences.is_empty() {
                                // Until the reload: the table stays wrong.
                                let still = differences.iter().map(|found| found.domain.clone());
                                out.routing.suspect(still.collect());
                                out.routing.count(|counts| counts.count_reload("differs"));
                                return Ok(Ended::Differs(differences));
                            }
                        }
                        out.routing.confirm(now);
                    }
                    Outcome::Loaded => routing.count(|counts| counts.loads += 1),
                    Outcome::Reload(Reason::TooOld) => {
                        routing.count(|counts| counts.count_reload("too_old"));
                    }
                    Outcome::Reload(Reason::WentBackwards) => {
                        routing.count(|counts| counts.count_reload("went_backwards"));
                    }
                    Outcome::Unsettled => {}
                }
                return Ok(Ended::With(outcome));
            }
        }
    }
}

/// Compares the table with the database, while checks may run. `true`: something seems to differ, and
/// the next check, which must begin after this, will look at it again.
///
/// One pass over all enabled rows, as in a load; another one if the table seems to have domains
/// without a row.
pub async fn audit<D: Database, S: Clone + Eq + Hash>(
    store: &D,
    routing: &Routing<S>,
) -> Result<bool, D::Error> {
    let mut comparison = Comparison::new(routing.table());
    for_each_enabled(store, |(domain, host_type)| comparison.row(domain, &host_type)).await?;
    let (mut suspects, search) = comparison.end();
    if let Some(mut search) = search {
        for_each_enabled(store, |(domain, _)| search.row(&domain)).await?;
        suspects.extend(search.end());
        // A row may have been another one in the first pass, and gone in the second.
        suspects.sort_unstable();
        suspects.dedup();
    }
    let suspicious = !suspects.is_empty();
    routing.suspect(suspects);
    routing.count(|counts| counts.audits += 1);
    Ok(suspicious)
}

async fn for_each_enabled<D: Database>(
    store: &D,
    mut visit: impl FnMut(Enabled),
) -> Result<(), D::Error> {
    let (to, mut from) = mpsc::channel::<Vec<Enabled>>(1);
    let visit_all = async {
        while let Some(rows) = from.recv().await {
            rows.into_iter().for_each(&mut visit);
        }
    };
    let (read, ()) = tokio::join!(store.load(BATCH, to), visit_all);
    read
}

/// The end of an audit: the table has all changes up to its position.
async fn judge_suspects<D: Database, S: Clone + Eq + Hash>(
    store: &D,
    routing: &Routing<S>,
    suspects: Vec<String>,
) -> Result<Vec<Difference>, D::Error> {
    let settings = store.settings(&suspects).await?;
    let ids = routing.position().and_then(|position| position.ids());
    let from = ids.as_ref().map_or(i64::MIN, |ids| ids.end().saturating_add(1));
    let pending = store.events(from, i64::MAX, PAGE).await?;
    let bounds = store.event_bounds().await?;
    if let Some(ids) = ids
        && bounds.is_none_or(|(oldest, _)| oldest < *ids.start() || oldest > from)
    {
        // Events below the position, or deleted ones: there will be another audit.
        return Ok(Vec::new());
    }
    if pending.len() == PAGE as usize {
        // Too much to tell.
        return Ok(Vec::new());
    }
    Ok(judge(routing.table(), suspects, settings, &pending))
}

/// Reads rows while the ones before are being applied.
async fn load<D: Database, S: Clone + Eq + Hash>(
    store: &D,
    out: &mut Out<S, impl FnMut(Batch<S>) -> bool>,
) -> Result<bool, D::Error> {
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

    /// Waits until all batches are applied.
    async fn all_applied(&self) {
        let all = self.credits.acquire_many(BATCHES_WAITING as u32).await;
        drop(all);
    }
}
