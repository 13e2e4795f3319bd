//! Checks and loads: a task reads the database and sends batches to the process that asked.

use crate::database::Database;
use crate::runtime::{Address, Reply};
use crate::table::{routing, transition};
use crate::term::{KeptTerm, binary, database_failure, failure};
use crate::{batch, current, done, error, loaded, more, no_table, ok, reload, stale, stopped};
use crate::{too_old, undefined, unsettled, went_backwards};
use domain_sync::check::{Outcome, Reason};
use domain_sync::driver::{Ended, run};
use domain_sync::routing::{Applied, Batch, Ignored, IgnoredRow, Kind};
use rustler::{Atom, Encoder, Env, Resource, ResourceArc, Term};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// A check or a load. It is cancelled when nobody refers to it any more.
struct Job {
    task: AbortHandle,
    ignored: Arc<Ignored>,
}

#[rustler::resource_impl]
impl Resource for Job {}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A batch as a term.
struct BatchResource(Batch<KeptTerm>);

#[rustler::resource_impl]
impl Resource for BatchResource {}

/// Starts a check, or a load if the table stands nowhere in the log yet.
///
/// Messages to the caller, all `{mongoose_domain_nif, Ref, Message}`: `{batch, Batch}`, to be applied
/// in that order; at the end, once, `{ok, current | loaded}`, `{reload, too_old | went_backwards}` or
/// `{error, {Reason, Text}}`.
#[rustler::nif]
fn check<'a>(
    env: Env<'a>,
    database: ResourceArc<Database>,
    source: Term<'a>,
    max_age: u64,
    reference: rustler::Reference<'a>,
) -> Term<'a> {
    let Some(open) = database.open() else {
        return failure(env, stopped(), "the database is closed");
    };
    let Some(runtime) = open.threads.runtime() else {
        return failure(env, stopped(), "the runtime is stopping");
    };
    let Some(routing) = routing() else {
        return failure(env, no_table(), "mongoose_domain_core is not running");
    };
    let ignored = Arc::new(Ignored::default());
    let address = Address { pid: env.pid(), reference: KeptTerm::new(reference.encode(env)) };
    let reply = Reply::to(address.clone());
    let source = KeptTerm::new(source);
    let counted = ignored.clone();
    let open = open.clone();
    let task = runtime.spawn(async move {
        let deliver = |next: Batch<KeptTerm>| {
            let next = ResourceArc::new(BatchResource(next));
            address.send(|env| (batch(), next).encode(env))
        };
        let max_age = Duration::from_secs(max_age);
        let store = &open.store;
        let ended = tokio::select! {
            ended = run(store, routing, source, counted, max_age, deliver) => ended,
            () = store.closed() => Ok(Ended::Abandoned),
        };
        reply.send(|env| match ended {
            Ok(Ended::With(Outcome::Current)) => (ok(), current()).encode(env),
            Ok(Ended::With(Outcome::Loaded)) => (ok(), loaded()).encode(env),
            Ok(Ended::With(Outcome::Reload(Reason::TooOld))) => (reload(), too_old()).encode(env),
            Ok(Ended::With(Outcome::Reload(Reason::WentBackwards))) => {
                (reload(), went_backwards()).encode(env)
            }
            Ok(Ended::With(Outcome::Unsettled)) => {
                failure(env, unsettled(), "the event log changed while it was read")
            }
            Ok(Ended::Abandoned) => {
                failure(env, stopped(), "nobody waits for the changes any more")
            }
            Err(error) => database_failure(env, &error),
        });
    });
    (ok(), ResourceArc::new(Job { task: task.abort_handle(), ignored })).encode(env)
}

/// Cancels a job. Its final reply is `{error, {stopped, Text}}` if it was not sent yet.
#[rustler::nif]
fn cancel(job: ResourceArc<Job>) -> Atom {
    job.task.abort();
    ok()
}

/// Applies up to `limit` changes of a batch, and returns `{more | done, Transitions}`; or
/// `{error, stale}` if the table that the batch was made for is gone. Only for the process that
/// writes the table.
#[rustler::nif(schedule = "DirtyCpu")]
fn apply_batch<'a>(env: Env<'a>, next: ResourceArc<BatchResource>, limit: usize) -> Term<'a> {
    let BatchResource(next) = &*next;
    if !routing().is_some_and(|routing| next.is_for(&routing)) {
        return (error(), stale()).encode(env);
    }
    let Applied { transitions, more: is_more } = next.apply(limit);
    let transitions: Vec<Term<'a>> = transitions.iter().map(|made| transition(env, made)).collect();
    (if is_more { more() } else { done() }, transitions).encode(env)
}

/// What a job ignored so far: `[{What, Count, [{Domain, CoreHostType | undefined, DbHostType}]}]`,
/// with at most ten of each kind. Each is reported once.
#[rustler::nif]
fn take_ignored<'a>(env: Env<'a>, job: ResourceArc<Job>) -> Term<'a> {
    let ignored_row = |row: &IgnoredRow| {
        let of_core = match &row.core_host_type {
            Some(name) => binary(env, name),
            None => undefined().encode(env),
        };
        let (domain, of_db) = (row.domain.as_bytes(), row.db_host_type.as_bytes());
        (binary(env, domain), of_core, binary(env, of_db)).encode(env)
    };
    let kinds = job.ignored.take().into_iter().map(|(kind, (count, first))| {
        let what = match kind {
            Kind::StaticInDb => crate::domain_static_but_in_db(),
            Kind::StaticWasInDb => crate::domain_static_but_was_in_db(),
            Kind::DifferentHostType => crate::ignore_domain_from_db_with_different_host_type(),
            Kind::UnknownHostType => crate::ignore_domain_from_db_with_unknown_host_type(),
            Kind::InvalidName => crate::ignore_domain_from_db_with_invalid_name(),
        };
        (what, count, first.iter().map(ignored_row).collect::<Vec<Term<'a>>>()).encode(env)
    });
    kinds.collect::<Vec<Term<'a>>>().encode(env)
}

/// Forgets the position: the next check loads everything.
#[rustler::nif]
fn forget_position() -> Atom {
    if let Some(routing) = routing() {
        routing.forget_position();
    }
    ok()
}
