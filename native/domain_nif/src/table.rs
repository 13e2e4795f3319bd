//! The routing table of this node.

use crate::atoms::{
    absent, all, bad_insert, error, fresh, inserted, is_static, kept, not_found, ok, refreshed,
    removed, unknown_host_type,
};
use crate::raw::{Answer, raw_nif, tuple};
use crate::runtime::on_own_thread;
use crate::subdomains;
use crate::term::{KeptTerm, binary, list, names, optional, pairs};
use domain_sync::pending::Transition;
use domain_sync::routing::{Routing, Writer};
use domain_table::{DeleteError, InsertError, Inserted, Name, Pair, Table};
use domain_table::{check_name, is_prepared, prepared};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use rustler::{Atom, Binary, Encoder, Env, Error, ListIterator, NifResult, Term};
use sdd::{AtomicShared, Guard, Shared, Tag};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The most transitions that are taken at a time.
const PENDING: usize = 1_000;

/// How often somebody looks whether a table that is replaced is still in use.
const RETIREMENT: Duration = Duration::from_millis(10);

/// How many tables there have been.
static TABLES: AtomicU64 = AtomicU64::new(0);

/// The table, as long as `mongoose_domain_core` runs; and after it crashed, until its successor
/// takes it over or brings another. A look-up reads it by the guard that the map takes, too: to take one
/// is most of what either costs.
static CURRENT: AtomicShared<Arc<Node>> = AtomicShared::null();

pub struct Node {
    pub routing: Arc<Routing<KeptTerm>>,
    /// `[Pairs, AllowedHostTypes]`, as given.
    start_args: KeptTerm,
    /// The supervisor.
    owner: KeptTerm,
    /// Of the last insertion: mostly the next one has the same.
    source: Mutex<Option<KeptTerm>>,
    /// What the owner keeps beside the table.
    beside: OnceCell<KeptTerm>,
    /// Tells this table from the ones before it.
    number: u64,
}

impl Node {
    /// Tells transitions of this table from those of the ones before it.
    pub fn first_transition(&self) -> u64 {
        self.number << 40
    }

    fn kept(&self, source: Term<'_>) -> KeptTerm {
        let mut recent = self.source.lock();
        match &*recent {
            Some(kept) if kept.is(source) => kept.clone(),
            _ => recent.insert(KeptTerm::new(source)).clone(),
        }
    }
}

/// The table and its position, if there is a table.
pub fn routing() -> Option<Arc<Routing<KeptTerm>>> {
    current().map(|node| node.routing.clone())
}

fn current() -> Option<Arc<Node>> {
    CURRENT.load(Ordering::Acquire, &Guard::new()).as_ref().cloned()
}

/// Makes a list of the table; `badarg` if there is none, as for a missing ETS table.
fn list_table<T>(read: impl FnOnce(&Table<KeptTerm>) -> T) -> NifResult<T> {
    let node = current().ok_or(Error::BadArg)?;
    Ok(read(node.routing.table()))
}

/// Reads something small; `None` if there is no table. Nothing that is removed anywhere is freed
/// meanwhile.
pub fn read_node<T>(read: impl FnOnce(&Node) -> T) -> Option<T> {
    CURRENT.load(Ordering::Acquire, &Guard::new()).as_ref().map(|node| read(node))
}

fn read_table<T>(read: impl FnOnce(&Table<KeptTerm>) -> T) -> Option<T> {
    read_node(|node| read(node.routing.table()))
}

raw_nif!("get_host_type" / 1, get_host_type);
raw_nif!("is_static" / 1, is_static_domain);
raw_nif!("has_host_type" / 2, has_host_type);
raw_nif!("is_host_type_allowed" / 1, is_host_type_allowed);
raw_nif!("domains_count" / 0, domains_count);
raw_nif!("removals" / 0, removals);

/// The bytes of a name that is looked for. Any term may be, as in an ETS table: what is no binary is
/// the empty name, which nothing has.
pub fn sought<'a>(name: Term<'a>) -> &'a [u8] {
    Binary::from_term(name).map_or(&[], |binary| binary.as_slice())
}

fn get_host_type<'a>(env: Env<'a>, [domain]: [Term<'a>; 1]) -> Option<Term<'a>> {
    let domain = sought(domain);
    read_table(|table| {
        found(env, table.host_type(domain).map(|host_type| binary(env, host_type.as_bytes())))
    })
}

/// `{ok, Term}`, or `{error, not_found}`.
pub fn found<'a>(env: Env<'a>, term: Option<Term<'a>>) -> Term<'a> {
    match term {
        Some(term) => tuple(env, [ok().to_term(env), term]),
        None => tuple(env, [error().to_term(env), not_found().to_term(env)]),
    }
}

fn is_static_domain<'a>(env: Env<'a>, [domain]: [Term<'a>; 1]) -> Option<Term<'a>> {
    read_table(|table| table.is_static(sought(domain)).encode(env))
}

fn has_host_type<'a>(env: Env<'a>, [domain, host_type]: [Term<'a>; 2]) -> Option<Term<'a>> {
    let (domain, host_type) = (Binary::from_term(domain).ok()?, Binary::from_term(host_type).ok()?);
    read_table(|table| table.has_host_type(&domain, &host_type).encode(env))
}

fn is_host_type_allowed<'a>(env: Env<'a>, [host_type]: [Term<'a>; 1]) -> Option<Term<'a>> {
    read_table(|table| table.is_host_type_allowed(sought(host_type)).encode(env))
}

fn domains_count<'a>(env: Env<'a>, []: [Term<'a>; 0]) -> Option<Term<'a>> {
    read_table(|table| table.len().encode(env))
}

/// A number that stays the same as long as no domain has lost its host type.
fn removals<'a>(env: Env<'a>, []: [Term<'a>; 0]) -> Option<Term<'a>> {
    read_node(|node| (node.first_transition() + node.routing.table().removals()).encode(env))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_all_static(env: Env<'_>) -> NifResult<Term<'_>> {
    list_table(|table| pairs(env, &table.statics()))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_all_dynamic(env: Env<'_>) -> NifResult<Term<'_>> {
    list_table(|table| pairs(env, &table.dynamics()))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_all_outdated<'a>(env: Env<'a>, source: Term<'a>) -> NifResult<Term<'a>> {
    list_table(|table| pairs(env, &table.outdated(&KeptTerm::new(source))))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_domains_by_host_type<'a>(env: Env<'a>, host_type: Binary<'a>) -> NifResult<Term<'a>> {
    list_table(|table| names(env, &table.domains_of(&host_type)))
}

/// `[{HostType, IsAllowed, Domains}]`.
#[rustler::nif(schedule = "DirtyCpu")]
fn host_types(env: Env<'_>) -> NifResult<Term<'_>> {
    let term = |(name, is_allowed, domains): (&Name, bool, usize)| {
        (binary(env, name.as_bytes()), is_allowed, domains).encode(env)
    };
    list_table(|table| table.host_types().into_iter().map(term).collect::<Vec<_>>().encode(env))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_start_args(env: Env<'_>) -> NifResult<Term<'_>> {
    read_node(|node| node.start_args.copy(env)).ok_or(Error::BadArg)
}

// Changes are for the process that writes the table. One that would have to wait for another thread
// goes on on a dirty scheduler: a predecessor may have been killed in the middle of a change.

raw_nif!("insert" / 3, insert, waits);
raw_nif!("delete" / 1, delete, waits);

fn insert<'a>(
    env: Env<'a>,
    [domain, host_type, source]: [Term<'a>; 3],
    may_wait: bool,
) -> Answer<'a> {
    let (Ok(domain), Ok(host_type)) = (Binary::from_term(domain), Binary::from_term(host_type))
    else {
        return Answer::BadArg;
    };
    let Ok(domain) = check_name(&domain) else { return Answer::BadArg };
    change(may_wait, |node, writer| match writer.insert(domain, &host_type, &node.kept(source)) {
        Ok(Inserted::New) => inserted().encode(env),
        Ok(Inserted::Refreshed) => refreshed().encode(env),
        Err(InsertError::UnknownHostType) => (error(), unknown_host_type()).encode(env),
        Err(InsertError::Static) => (error(), is_static()).encode(env),
        Err(InsertError::BadInsert) => (error(), bad_insert()).encode(env),
    })
}

fn delete<'a>(env: Env<'a>, [domain]: [Term<'a>; 1], may_wait: bool) -> Answer<'a> {
    change(may_wait, |_, writer| match writer.delete(sought(domain)) {
        Ok(Some(_)) => removed().encode(env),
        Ok(None) => absent().encode(env),
        Err(DeleteError::Static) => (error(), is_static()).encode(env),
    })
}

fn change<'a>(
    may_wait: bool,
    make: impl FnOnce(&Node, &mut Writer<'_, KeptTerm>) -> Term<'a>,
) -> Answer<'a> {
    let answer = read_node(|node| {
        let writer = if may_wait { Some(node.routing.writer()) } else { node.routing.try_writer() };
        match writer {
            Some(mut writer) => Answer::Term(make(node, &mut writer)),
            None => Answer::WouldWait,
        }
    });
    answer.unwrap_or(Answer::BadArg)
}

raw_nif!("pending" / 3, pending);

/// Others have been notified of the first `done` transitions since the table was made, or, if it is
/// `all`, nobody wants to be. Returns how many that are; the next ones, in order, at most `limit`:
/// `[{Domain, RemovedHostType | undefined, AddedHostType | undefined}]`; and how many come after them.
/// With `additions` = `colliding` others are not notified of additions that have no effect on them.
fn pending<'a>(env: Env<'a>, [done, limit, additions]: [Term<'a>; 3]) -> Option<Term<'a>> {
    let additions = additions.decode::<Atom>().ok()?;
    let limit = limit.decode::<usize>().ok()?.min(PENDING);
    let routing = routing()?;
    let count = match done.decode::<Atom>() {
        Ok(atom) if atom == all() => usize::MAX,
        _ => done.decode::<u64>().ok()?.saturating_sub(routing.acknowledged()) as usize,
    };
    routing.acknowledge(count);
    let next = if additions == all() {
        routing.pending(limit)
    } else if limit == 0 {
        Vec::new()
    } else {
        let is_quiet = |domain: &Name, host_type: &Name| {
            subdomains::is_quiet(routing.table(), domain, host_type)
        };
        routing.pending_told(limit, is_quiet)
    };
    let (done, left) = (routing.acknowledged(), routing.pending_len() - next.len());
    let next = list(env, next.iter().map(|made| transition(env, made)));
    Some(tuple(env, [done.encode(env), next, left.encode(env)]))
}

/// The term that is kept beside the table.
#[rustler::nif]
fn kept_term(env: Env<'_>) -> NifResult<Term<'_>> {
    let node = current().ok_or(Error::BadArg)?;
    Ok(node.beside.get().ok_or(Error::BadArg)?.copy(env))
}

/// Keeps a term beside the table, as long as that exists, unless there is one; returns the one that is
/// kept.
#[rustler::nif]
fn keep<'a>(env: Env<'a>, term: Term<'a>) -> NifResult<Term<'a>> {
    let node = current().ok_or(Error::BadArg)?;
    Ok(node.beside.get_or_init(|| KeptTerm::new(term)).copy(env))
}

/// Begins with a fresh table, unless the one that is there was made by the same supervisor from the
/// same arguments and not stopped: then the process crashed, and its successor takes the table over.
#[rustler::nif(schedule = "DirtyCpu")]
fn start_table<'a>(
    env: Env<'a>,
    pairs: Term<'a>,
    allowed: Term<'a>,
    owner: Term<'a>,
) -> NifResult<Atom> {
    let start_args = KeptTerm::new([pairs, allowed].encode(env));
    let owner = KeptTerm::new(owner);
    if let Some(node) = current()
        && node.start_args == start_args
        && node.owner == owner
    {
        return Ok(kept());
    }
    let pairs = decode_list(pairs, decode_pair).map_err(|_| Error::BadArg)?;
    let allowed = decode_list(allowed, decode_name).map_err(|_| Error::BadArg)?;
    let routing = Arc::new(Routing::new(Table::new(pairs, allowed)));
    subdomains::look_through(routing.table());
    replace_by(Some(Node {
        routing,
        start_args,
        owner,
        source: Mutex::default(),
        beside: OnceCell::new(),
        number: TABLES.fetch_add(1, Ordering::Relaxed),
    }));
    Ok(fresh())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn stop_table() -> Atom {
    replace_by(None);
    ok()
}

/// Brings another table, or none. The one before is freed when nobody uses it any more, on a thread of
/// its own: for a million domains that takes some milliseconds, and the last user may be a reader on
/// a normal scheduler, or a batch that is garbage.
fn replace_by(node: Option<Node>) {
    let node = node.map(|node| Shared::new(Arc::new(node)));
    let (Some(replaced), _) = CURRENT.swap((node, Tag::None), Ordering::AcqRel) else { return };
    on_own_thread(move || {
        let node = Arc::clone(&replaced);
        drop(replaced);
        while Arc::strong_count(&node) > 1 || Arc::strong_count(&node.routing) > 1 {
            // What was dropped here is freed by guards that come and go here, after those who read.
            Guard::new().accelerate();
            std::thread::sleep(RETIREMENT);
        }
        drop(node);
        // What glibc keeps for itself would grow from one table to the next.
        #[cfg(target_env = "gnu")]
        // SAFETY: it may be called at any time, from any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    });
}

/// `ok`, or `{error, Text}`: why no domain and no host type can be called so.
#[rustler::nif(name = "check_name")]
fn check_name_term<'a>(env: Env<'a>, name: Term<'a>) -> Term<'a> {
    match decode_name(name) {
        Ok(_) => ok().encode(env),
        Err(text) => (error(), binary(env, text.as_bytes())).encode(env),
    }
}

/// `{ok, Prepared}`: the name by nameprep; or `{error, Text}`.
#[rustler::nif]
fn prepare_name<'a>(env: Env<'a>, name: Term<'a>) -> Term<'a> {
    let prepared = decode_name(name)
        .and_then(|name| Ok(prepared(&name).map_err(|reason| reason.to_string())?.into_owned()));
    match prepared {
        Ok(prepared) => (ok(), binary(env, prepared.as_bytes())).encode(env),
        Err(text) => (error(), binary(env, text.as_bytes())).encode(env),
    }
}

/// Does routing ask for names of this form? For no name of another form anything ever routes.
#[rustler::nif(name = "is_prepared")]
fn is_prepared_term(name: Term<'_>) -> bool {
    decode_name(name).is_ok_and(|name| is_prepared(&name))
}

/// `ok`, or `{error, Argument, Text}`: what is wrong with the first or second argument.
#[rustler::nif(schedule = "DirtyCpu")]
fn check_start_args<'a>(env: Env<'a>, pairs: Term<'a>, allowed: Term<'a>) -> Term<'a> {
    let wrong =
        |argument: u32, text: String| (error(), argument, binary(env, text.as_bytes())).encode(env);
    if let Err(text) = decode_list(pairs, decode_pair) {
        return wrong(1, text);
    }
    match decode_list(allowed, decode_name) {
        Ok(_) => ok().encode(env),
        Err(text) => wrong(2, text),
    }
}

fn decode_list<'a, T>(
    list: Term<'a>,
    decode: impl Fn(Term<'a>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let not_a_list = || "not a proper list".to_owned();
    // The length first: iterating over an improper list ends as if it were a proper one.
    let length = list.list_length().map_err(|_| not_a_list())?;
    let items: ListIterator<'a> = list.decode().map_err(|_| not_a_list())?;
    let number =
        |(index, item)| decode(item).map_err(|text| format!("element {}: {text}", index + 1));
    let decoded: Vec<T> = items.enumerate().map(number).collect::<Result<_, _>>()?;
    if decoded.len() == length { Ok(decoded) } else { Err(not_a_list()) }
}

fn decode_pair(pair: Term<'_>) -> Result<Pair, String> {
    let (domain, host_type) = pair
        .decode::<(Term<'_>, Term<'_>)>()
        .map_err(|_| "not a pair {Domain, HostType}".to_owned())?;
    let domain = decode_name(domain).map_err(|text| format!("the domain {text}"))?;
    let host_type = decode_name(host_type).map_err(|text| format!("the host type {text}"))?;
    Ok((domain, host_type))
}

fn decode_name(name: Term<'_>) -> Result<Name, String> {
    let bytes: Binary<'_> = name.decode().map_err(|_| "must be a binary".to_owned())?;
    Ok(check_name(&bytes).map_err(|reason| reason.to_string())?.into())
}

fn transition<'a>(env: Env<'a>, transition: &Transition) -> Term<'a> {
    let host_type = |name: &Option<Name>| optional(env, name.as_ref().map(Name::as_bytes));
    let elements = [
        binary(env, transition.domain.as_bytes()),
        host_type(&transition.removed),
        host_type(&transition.added),
    ];
    tuple(env, elements)
}
