//! Checks, loads and audits: a task reads the database and sends batches to the process that asked.

use crate::database::{Database, Open};
use crate::raw::{Answer, raw_nif};
use crate::runtime::{Address, Reply};
use crate::table::routing;
use crate::term::{KeptTerm, binary, database_failure, failure, optional};
use crate::{
    batch, current, differs, done, error, loaded, more, no_table, ok, reload, same, stale,
};
use crate::{stopped, too_old, unsettled, went_backwards};
use domain_sync::audit::Difference;
use domain_sync::batch::Batch;
use domain_sync::check::{Outcome, Reason};
use domain_sync::driver::{Ended, audit, run};
use domain_sync::ignored::{Ignored, IgnoredRow, Kind};
use domain_sync::routing::Routing;
use domain_table::Name;
use rustler::schedule::consume_timeslice;
use rustler::{Atom, Encoder, Env, Resource, ResourceArc, Term};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// A check, a load or an audit. It is cancelled when nobody refers to it any more.
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

/// The most changes that are applied at a time on a normal scheduler: 0.1 - 0.2 ms.
const FEW: usize = 200;

/// The part of a time slice that they take.
const FEW_PERCENT: i32 = 15;

/// A batch as a term.
struct BatchResource(Batch<KeptTerm>);

#[rustler::resource_impl]
impl Resource for BatchResource {}

/// Starts a check, or a load if the table stands nowhere in the log yet.
///
/// Messages to the caller, all `{mongoose_domain_nif, Ref, Message}`: `{batch, Batch}`, to be applied
/// in that order; at the end, once, `{ok, current | loaded}`, `{reload, too_old | went_backwards}`,
/// `{differs, [{Domain, HostTypeInTable | undefined, HostTypeInDatabase | undefined}]}` or `{error,
/// {Reason, Text}}`.
#[rustler::nif]
fn check<'a>(
    env: Env<'a>,
    database: ResourceArc<Database>,
    source: Term<'a>,
    max_age: u64,
    reference: rustler::Reference<'a>,
) -> Term<'a> {
    let source = KeptTerm::new(source);
    let max_age = Duration::from_secs(max_age);
    start_job(env, &database, reference, async move |request: Request| {
        let Request { open, routing, ignored, address, reply } = request;
        let deliver = |next: Batch<KeptTerm>| {
            let next = ResourceArc::new(BatchResource(next));
            address.send(|env| (batch(), next).encode(env))
        };
        let store = &open.store;
        let ended = tokio::select! {
            ended = run(store, routing, source, ignored, max_age, deliver) => ended,
            () = store.closed() => Ok(Ended::Abandoned),
        };
        reply.send(|env| match &ended {
            Ok(Ended::With(Outcome::Current)) => (ok(), current()).encode(env),
            Ok(Ended::With(Outcome::Loaded)) => (ok(), loaded()).encode(env),
            Ok(Ended::With(Outcome::Reload(Reason::TooOld))) => (reload(), too_old()).encode(env),
            Ok(Ended::With(Outcome::Reload(Reason::WentBackwards))) => {
                (reload(), went_backwards()).encode(env)
            }
            Ok(Ended::With(Outcome::Unsettled)) => {
                failure(env, unsettled(), "the event log changed while it was read")
            }
            Ok(Ended::Differs(found)) => {
                let found: Vec<_> = found.iter().map(|found| difference(env, found)).collect();
                (differs(), found).encode(env)
            }
            Ok(Ended::Abandoned) => {
                failure(env, stopped(), "nobody waits for the changes any more")
            }
            Err(error) => database_failure(env, error),
        });
    })
}

/// Starts an audit: compares the table with the database, while checks go on. The message at the end
/// is `{ok, same}`; or `{ok, suspicious}`, then the next check that begins later decides; or `{error,
/// {Reason, Text}}`.
#[rustler::nif(name = "audit")]
fn start_audit<'a>(
    env: Env<'a>,
    database: ResourceArc<Database>,
    reference: rustler::Reference<'a>,
) -> Term<'a> {
    start_job(env, &database, reference, async move |request: Request| {
        let Request { open, routing, reply, .. } = request;
        let suspicious = tokio::select! {
            suspicious = audit(&open.store, &routing) => suspicious,
            () = open.store.closed() => {
                return reply.send(|env| failure(env, stopped(), "the database is closed"));
            }
        };
        reply.send(|env| match &suspicious {
            Ok(false) => (ok(), same()).encode(env),
            Ok(true) => (ok(), crate::suspicious()).encode(env),
            Err(error) => database_failure(env, error),
        });
    })
}

/// What a job works with.
struct Request {
    open: Arc<Open>,
    routing: Arc<Routing<KeptTerm>>,
    ignored: Arc<Ignored>,
    address: Address,
    reply: Reply,
}

fn start_job<'a, F>(
    env: Env<'a>,
    database: &Database,
    reference: rustler::Reference<'a>,
    job: impl FnOnce(Request) -> F,
) -> Term<'a>
where
    F: Future<Output = ()> + Send + 'static,
{
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
    let (open, counted) = (open.clone(), ignored.clone());
    let task = runtime.spawn(job(Request {
        open: open.clone(),
        routing,
        ignored: counted,
        address,
        reply,
    }));
    (ok(), ResourceArc::new(Job { task: task.abort_handle(), ignored })).encode(env)
}

/// `{Domain, HostTypeInTable | undefined, HostTypeInDatabase | undefined}`.
fn difference<'a>(env: Env<'a>, found: &Difference) -> Term<'a> {
    let in_database = found.in_database.as_ref().map(|name| name.as_bytes());
    (
        binary(env, found.domain.as_bytes()),
        optional(env, found.in_table.as_ref().map(Name::as_bytes)),
        optional(env, in_database),
    )
        .encode(env)
}

/// Cancels a job. Its final reply is `{error, {stopped, Text}}` if it was not sent yet.
#[rustler::nif]
fn cancel(job: ResourceArc<Job>) -> Atom {
    job.task.abort();
    ok()
}

raw_nif!("apply_batch" / 2, apply_batch, waits);

/// Applies up to `limit` changes of a batch, and returns `more` or `done`; or `{error, stale}` if the
/// table that the batch was made for is gone. Only for the process that writes the table. A few
/// changes are made on a normal scheduler, unless that would wait or take long.
fn apply_batch<'a>(env: Env<'a>, [next, limit]: [Term<'a>; 2], may_wait: bool) -> Answer<'a> {
    let (Ok(next), Ok(limit)) =
        (next.decode::<ResourceArc<BatchResource>>(), limit.decode::<usize>())
    else {
        return Answer::BadArg;
    };
    let batch = &next.0;
    if !routing().is_some_and(|routing| batch.is_for(&routing)) {
        return Answer::Term((error(), stale()).encode(env));
    }
    let is_more = if may_wait {
        Some(batch.apply(limit))
    } else if limit <= FEW {
        let _ends = consume_timeslice(env, FEW_PERCENT);
        batch.try_apply(limit)
    } else {
        None
    };
    match is_more {
        Some(is_more) => Answer::Term(if is_more { more() } else { done() }.encode(env)),
        None => Answer::WouldWait,
    }
}

/// What a job ignored so far: `[{What, Count, [{Domain, CoreHostType | undefined, DbHostType}]}]`,
/// with at most ten of each kind. Each is reported once.
#[rustler::nif]
fn take_ignored<'a>(env: Env<'a>, job: ResourceArc<Job>) -> Term<'a> {
    let ignored_row = |row: &IgnoredRow| {
        let of_core = optional(env, row.core_host_type.as_ref().map(Name::as_bytes));
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
