//! The follower of this node: a task that runs `domain_sync::service`, and the Erlang process that it
//! belongs to, which tells it what happens and does what it asks for.

use crate::batch::BatchResource;
use crate::database::{Database, Open};
use crate::report::report;
use crate::runtime::{Address, Reply, Threads};
use crate::table::routing;
use crate::term::{KeptTerm, binary, failure, optional};
use crate::{answer, apply, audit_interval, differs, max_age, ok, open, pong, reload, stopped};
use domain_store::Store;
use domain_sync::audit::Difference;
use domain_sync::batch::Batch;
use domain_sync::follower::{Answer, Applied, Failure, Input};
use domain_sync::routing::Routing;
use domain_sync::service::{Host, Message, Opened, Report, Settings, serve};
use domain_table::Name;
use parking_lot::Mutex;
use rustler::{Atom, Encoder, Env, NifResult, NifTaggedEnum, NifUnitEnum};
use rustler::{Resource, ResourceArc, Term};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How many of the domains that differ are named.
const NAMED: usize = 10;

/// A follower as a term. It ends when it is stopped, or nobody refers to it any more.
struct Follower(Mutex<Option<Running>>);

struct Running {
    messages: UnboundedSender<Message<Process>>,
    /// It is closed with the last reference to it.
    database: Option<Arc<Open>>,
}

#[rustler::resource_impl]
impl Resource for Follower {}

/// Starts a follower for the calling process. Messages to it, all `{mongoose_domain_nif, Ref, Message}`:
/// what it is asked for (see [`Process`]); at the end, once, `{error, {stopped, Text}}`.
#[rustler::nif(schedule = "DirtyIo")]
fn start_follower<'a>(
    env: Env<'a>,
    options: Term<'a>,
    reference: rustler::Reference<'a>,
) -> NifResult<Term<'a>> {
    let seconds = |key: Atom| Ok(Duration::from_secs(options.map_get(key)?.decode()?));
    let (max_age, audit_interval) = (seconds(max_age())?, seconds(audit_interval())?);
    // Keyed at random each time.
    let seed = RandomState::new().hash_one(());
    let settings = Settings { max_age, audit_interval, seed };
    let threads = match Threads::share() {
        Ok(threads) => threads,
        Err(error) => {
            return Ok(failure(env, stopped(), &format!("cannot start a thread: {error}")));
        }
    };
    let Some(runtime) = threads.runtime() else {
        return Ok(failure(env, stopped(), "the runtime is stopping"));
    };
    let address = Address { pid: env.pid(), reference: KeptTerm::new(reference.encode(env)) };
    let source = KeptTerm::new(env.pid().encode(env));
    let (messages, inbox) = unbounded_channel();
    let end = Reply::to(address.clone());
    let shared = threads.clone();
    runtime.spawn(async move {
        serve(Process { address, source }, inbox, settings).await;
        drop(end);
        // Not before: what was said last has been heard.
        drop(shared);
    });
    let running = Running { messages, database: None };
    Ok((ok(), ResourceArc::new(Follower(Mutex::new(Some(running))))).encode(env))
}

/// What the process sends to the follower.
#[derive(NifTaggedEnum)]
enum Sent<'a> {
    CheckForUpdates,
    Ping(Term<'a>),
    Verify(Term<'a>),
    AwaitFirstLoad(Term<'a>),
    RestartRequested,
    RestartWithoutEffect,
    Opened(ResourceArc<Database>, u64),
    NotOpened((Atom, String)),
    Applied(AppliedTerm),
}

#[derive(NifUnitEnum)]
enum AppliedTerm {
    Done,
    TableReplaced,
    NoTable,
}

/// Passes something on to the follower; without effect when it has been stopped.
#[rustler::nif]
fn send_to_follower<'a>(
    env: Env<'a>,
    follower: ResourceArc<Follower>,
    sent: Sent<'a>,
) -> NifResult<Atom> {
    let input = match sent {
        Sent::CheckForUpdates => Input::CheckRequested,
        Sent::Ping(from) => Input::Ping(KeptTerm::new(from)),
        Sent::Verify(from) => Input::Verify(KeptTerm::new(from)),
        Sent::AwaitFirstLoad(from) => Input::AwaitFirstLoad(KeptTerm::new(from)),
        Sent::RestartRequested => Input::RestartRequested,
        Sent::RestartWithoutEffect => Input::RestartWithoutEffect,
        Sent::Applied(AppliedTerm::Done) => Input::BatchApplied(Applied::Done),
        Sent::Applied(AppliedTerm::TableReplaced) => Input::BatchApplied(Applied::TableReplaced),
        Sent::Applied(AppliedTerm::NoTable) => Input::BatchApplied(Applied::NoTable),
        Sent::Opened(database, max_retry) => {
            opened(&follower, database.open(), Duration::from_millis(max_retry));
            return Ok(ok());
        }
        Sent::NotOpened((reason, text)) => {
            let failure = Failure::new(&reason.to_term(env).atom_to_string()?, text);
            send(&follower, Message::Opened(Err(failure)));
            return Ok(ok());
        }
    };
    send(&follower, Message::Input(input));
    Ok(ok())
}

fn opened(follower: &Follower, open: Option<Arc<Open>>, max_retry: Duration) {
    let opened = match &open {
        Some(open) => {
            let (database, connections) = (open.store.clone(), open.connections);
            Ok(Opened { database, max_retry, connections })
        }
        None => Err(Failure::new("stopped", "the database is closed")),
    };
    if let Some(running) = &mut *follower.0.lock() {
        running.database = open;
    }
    send(follower, Message::Opened(opened));
}

fn send(follower: &Follower, message: Message<Process>) {
    if let Some(running) = &*follower.0.lock() {
        // Its end is told by a message.
        let _ = running.messages.send(message);
    }
}

/// Stops a follower: its checks and audits are given up.
#[rustler::nif]
fn stop_follower(follower: ResourceArc<Follower>) -> Atom {
    let running = follower.0.lock().take();
    drop(running);
    ok()
}

/// The Erlang process, to which messages are sent.
struct Process {
    address: Address,
    source: KeptTerm,
}

impl Host for Process {
    /// The `From` of a call.
    type Caller = KeptTerm;
    type Source = KeptTerm;
    type Database = Store;

    fn routing(&self) -> Option<Arc<Routing<KeptTerm>>> {
        routing()
    }

    fn source(&self) -> KeptTerm {
        self.source.clone()
    }

    /// `open`
    fn open_database(&mut self) {
        self.address.send(|env| open().encode(env));
    }

    /// `{apply, Batch}`
    fn apply(&mut self, batch: Batch<KeptTerm>) {
        let batch = ResourceArc::new(BatchResource(batch));
        self.address.send(|env| (apply(), batch).encode(env));
    }

    /// `{answer, From, Answer}`
    fn answer(&mut self, caller: KeptTerm, given: Answer) {
        self.address.send(|env| (answer(), caller.copy(env), answer_term(env, &given)).encode(env));
    }

    /// `reload`
    fn reload(&mut self) {
        self.address.send(|env| reload().encode(env));
    }

    /// `{log, Level, Report}`, some
    fn log(&mut self, logged: Report) {
        report(&self.address, logged);
    }
}

fn answer_term<'a>(env: Env<'a>, answer: &Answer) -> Term<'a> {
    match answer {
        Answer::Pong => pong().encode(env),
        Answer::FirstLoadEnded | Answer::Verified(Ok(())) => ok().encode(env),
        Answer::Verified(Err(Failure { reason, text })) => {
            let reason = Atom::from_str(env, reason).unwrap_or_else(|_| stopped());
            failure(env, reason, text)
        }
        Answer::Differs(found) => {
            let first: Vec<_> = found.iter().take(NAMED).map(|it| difference(env, it)).collect();
            (differs(), found.len(), first).encode(env)
        }
    }
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

/// Forgets the position: the next check loads everything.
#[rustler::nif]
fn forget_position() -> Atom {
    if let Some(routing) = routing() {
        routing.forget_position();
    }
    ok()
}
