//! The routing table of this node.

use crate::term::{KeptTerm, binary, names, optional, pairs};
use crate::unknown_host_type;
use crate::{absent, bad_insert, error, fresh, inserted, is_static, kept, ok, refreshed, removed};
use arc_swap::ArcSwapOption;
use domain_sync::routing::{Routing, Transition};
use domain_table::{DeleteError, InsertError, Inserted, Name, Pair, Table, check_name};
use rustler::{Atom, Binary, Encoder, Env, Error, ListIterator, NifResult, Term};
use std::sync::Arc;

/// The most untold transitions that are taken at a time: telling so many must fit into a time slice.
const UNTOLD: usize = 10;

/// The table, as long as `mongoose_domain_core` runs; and after it crashed, until its successor
/// takes it over or brings another.
static CURRENT: ArcSwapOption<Node> = ArcSwapOption::const_empty();

struct Node {
    routing: Arc<Routing<KeptTerm>>,
    /// `[Pairs, AllowedHostTypes]`, as given.
    start_args: KeptTerm,
    /// The supervisor.
    owner: KeptTerm,
}

/// The table and its position, if there is a table.
pub fn routing() -> Option<Arc<Routing<KeptTerm>>> {
    CURRENT.load().as_ref().map(|node| node.routing.clone())
}

/// Runs `read` on the table; `badarg` if there is none, as for a missing ETS table.
fn with_node<T>(read: impl FnOnce(&Node) -> T) -> NifResult<T> {
    match CURRENT.load().as_deref() {
        Some(node) => Ok(read(node)),
        None => Err(Error::BadArg),
    }
}

fn with_table<T>(read: impl FnOnce(&Table<KeptTerm>) -> T) -> NifResult<T> {
    with_node(|node| read(node.routing.table()))
}

#[rustler::nif]
fn get_host_type<'a>(env: Env<'a>, domain: Binary<'a>) -> NifResult<Term<'a>> {
    with_table(|table| match table.host_type(&domain) {
        Some(host_type) => (ok(), binary(env, host_type)).encode(env),
        None => (error(), crate::not_found()).encode(env),
    })
}

#[rustler::nif(name = "is_static")]
fn is_static_domain(domain: Binary<'_>) -> NifResult<bool> {
    with_table(|table| table.is_static(&domain))
}

#[rustler::nif]
fn is_host_type_allowed(host_type: Binary<'_>) -> NifResult<bool> {
    with_table(|table| table.is_host_type_allowed(&host_type))
}

#[rustler::nif]
fn domains_count() -> NifResult<usize> {
    with_table(Table::len)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_all_static(env: Env<'_>) -> NifResult<Term<'_>> {
    with_table(|table| pairs(env, &table.statics()))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_all_dynamic(env: Env<'_>) -> NifResult<Term<'_>> {
    with_table(|table| pairs(env, &table.dynamics()))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_all_outdated<'a>(env: Env<'a>, source: Term<'a>) -> NifResult<Term<'a>> {
    with_table(|table| pairs(env, &table.outdated(&KeptTerm::new(source))))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_domains_by_host_type<'a>(env: Env<'a>, host_type: Binary<'a>) -> NifResult<Term<'a>> {
    with_table(|table| names(env, &table.domains_of(&host_type)))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn get_start_args(env: Env<'_>) -> NifResult<Term<'_>> {
    with_node(|node| node.start_args.copy(env))
}

// Changes wait for a lock that lists hold while they copy pointers: on a dirty scheduler.

#[rustler::nif(schedule = "DirtyCpu")]
fn insert<'a>(
    env: Env<'a>,
    domain: Binary<'a>,
    host_type: Binary<'a>,
    source: Term<'a>,
) -> NifResult<Term<'a>> {
    check_name(&domain).map_err(|_| Error::BadArg)?;
    let source = KeptTerm::new(source);
    with_node(|node| match node.routing.insert(&domain, &host_type, &source) {
        Ok(Inserted::New) => inserted().encode(env),
        Ok(Inserted::Refreshed) => refreshed().encode(env),
        Err(InsertError::UnknownHostType) => (error(), unknown_host_type()).encode(env),
        Err(InsertError::Static) => (error(), is_static()).encode(env),
        Err(InsertError::BadInsert) => (error(), bad_insert()).encode(env),
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn delete<'a>(env: Env<'a>, domain: Binary<'a>) -> NifResult<Term<'a>> {
    with_node(|node| match node.routing.delete(&domain) {
        Ok(Some(_)) => removed().encode(env),
        Ok(None) => absent().encode(env),
        Err(DeleteError::Static) => (error(), is_static()).encode(env),
    })
}

/// The first transitions of which others have not been told yet, in order: `[{Domain,
/// RemovedHostType | undefined, AddedHostType | undefined}]`.
#[rustler::nif]
fn untold(env: Env<'_>) -> NifResult<Vec<Term<'_>>> {
    with_node(|node| {
        let untold = node.routing.untold(UNTOLD);
        untold.iter().map(|made| transition(env, made)).collect()
    })
}

/// Others have been told of the first of the untold transitions.
#[rustler::nif]
fn told() -> NifResult<Atom> {
    with_node(|node| {
        node.routing.told();
        ok()
    })
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
    if let Some(node) = CURRENT.load().as_deref()
        && node.start_args == start_args
        && node.owner == owner
    {
        return Ok(kept());
    }
    let pairs = decode_list(pairs, decode_pair).map_err(|_| Error::BadArg)?;
    let allowed = decode_list(allowed, decode_name).map_err(|_| Error::BadArg)?;
    let routing = Arc::new(Routing::new(Table::new(pairs, allowed)));
    CURRENT.store(Some(Arc::new(Node { routing, start_args, owner })));
    Ok(fresh())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn stop_table() -> Atom {
    CURRENT.store(None);
    ok()
}

/// `ok`, or `{error, Text}`: why no domain and no host type can be called so.
#[rustler::nif(name = "check_name")]
fn check_name_term<'a>(env: Env<'a>, name: Term<'a>) -> Term<'a> {
    match decode_name(name) {
        Ok(_) => ok().encode(env),
        Err(text) => (error(), binary(env, text.as_bytes())).encode(env),
    }
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
        |(place, item)| decode(item).map_err(|text| format!("element {}: {text}", place + 1));
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
    check_name(&bytes).map_err(|reason| reason.to_string())?;
    Ok(bytes.as_slice().into())
}

fn transition<'a>(env: Env<'a>, transition: &Transition) -> Term<'a> {
    let host_type = |name: &Option<Name>| optional(env, name.as_deref());
    let domain = binary(env, &transition.domain);
    (domain, host_type(&transition.removed), host_type(&transition.added)).encode(env)
}
