//! The patterns of names below domains, and the functions that compute such names.

use crate::atoms::{
    already_registered, error, fqdn, fresh, host_type as host_type_key, kept, no_parent_domain, ok,
    packet_handler, parent_domain, prefix, subdomain, subdomain_already_exists, subdomain_pattern,
    undefined,
};
use crate::raw::{raw_nif, tuple};
use crate::table::{found, read_node, routing, sought};
use crate::term::{KeptTerm, binary, list, names};
use domain_table::{Made, Name, Pattern, RegisterError, Subdomain, Table, check_name};
use parking_lot::Mutex;
use rustler::{Atom, Binary, Encoder, Env, Error, NifResult, Term};
use sdd::{AtomicShared, Guard, Shared, Tag};
use std::sync::atomic::Ordering;

type Subdomains = domain_table::Subdomains<KeptTerm>;

/// The patterns, as long as `mongoose_subdomain_core` runs, and after it crashed. A change makes a copy
/// and puts it here; a look-up reads what is here.
static PATTERNS: AtomicShared<Subdomains> = AtomicShared::null();

/// The supervisor for which they are kept. Held while they are changed.
static OWNER: Mutex<Option<KeptTerm>> = Mutex::new(None);

/// Reads the patterns and the table; `None` if there are no patterns.
fn read<T>(read: impl FnOnce(&Subdomains, Option<&Table<KeptTerm>>) -> T) -> Option<T> {
    let guard = Guard::new();
    let patterns = PATTERNS.load(Ordering::Acquire, &guard);
    let patterns = patterns.as_ref()?;
    let mut read = Some(read);
    let with_table = read_node(|node| {
        let read = read.take()?;
        Some(read(patterns, Some(node.routing.table())))
    });
    with_table.flatten().or_else(|| Some(read.take()?(patterns, None)))
}

/// The same, with a table: without one, as without patterns, there is no name below a domain.
fn read_both<T>(read_it: impl FnOnce(&Subdomains, &Table<KeptTerm>) -> T) -> Option<T> {
    read(|patterns, table| table.map(|table| read_it(patterns, table))).flatten()
}

fn change<T>(make: impl FnOnce(&mut Subdomains) -> T) -> NifResult<T> {
    let _one_at_a_time = OWNER.lock();
    let mut patterns = read(|patterns, _| patterns.clone()).ok_or(Error::BadArg)?;
    let made = make(&mut patterns);
    replace_by(Some(patterns));
    Ok(made)
}

fn replace_by(patterns: Option<Subdomains>) {
    PATTERNS.swap((patterns.map(Shared::new), Tag::None), Ordering::AcqRel);
}

/// Begins without patterns, unless there are those of a process that this supervisor had before and
/// that crashed.
#[rustler::nif(schedule = "DirtyCpu")]
fn start_subdomains(owner: Term<'_>) -> Atom {
    let mut kept_for = OWNER.lock();
    let owner = KeptTerm::new(owner);
    if kept_for.as_ref() == Some(&owner) {
        read_both(Subdomains::look_through);
        return kept();
    }
    *kept_for = Some(owner);
    replace_by(Some(Subdomains::default()));
    fresh()
}

#[rustler::nif(schedule = "DirtyCpu")]
fn stop_subdomains() -> Atom {
    *OWNER.lock() = None;
    replace_by(None);
    ok()
}

/// There is another table.
pub fn look_through(table: &Table<KeptTerm>) {
    read(|patterns, _| patterns.look_through(table));
}

/// Does nobody have to be told that a domain begins to route, as far as names below it go?
pub fn is_quiet(table: &Table<KeptTerm>, domain: &Name, host_type: &Name) -> bool {
    let collides = |patterns: &Subdomains, _: Option<&Table<KeptTerm>>| {
        patterns.collides(table, host_type.as_bytes(), domain.as_bytes())
    };
    !read(collides).unwrap_or(false)
}

raw_nif!("subdomain_host_type" / 1, subdomain_host_type);
raw_nif!("subdomain_info" / 1, subdomain_info);
raw_nif!("subdomains_of" / 1, subdomains_of);
raw_nif!("made_subdomains" / 2, made_subdomains);
raw_nif!("collides" / 2, collides);
raw_nif!("transitions" / 0, transitions);

fn subdomain_host_type<'a>(env: Env<'a>, [name]: [Term<'a>; 1]) -> Option<Term<'a>> {
    read(|patterns, table| {
        let host_type = patterns.host_type(table, sought(name));
        found(env, host_type.map(|host_type| binary(env, host_type.as_bytes())))
    })
}

fn subdomain_info<'a>(env: Env<'a>, [name]: [Term<'a>; 1]) -> Option<Term<'a>> {
    read(|patterns, table| {
        found(env, patterns.find(table, sought(name)).map(|subdomain| info(env, &subdomain)))
    })
}

/// `[Info]` of a domain, or of `no_parent_domain`.
fn subdomains_of<'a>(env: Env<'a>, [domain]: [Term<'a>; 1]) -> Option<Term<'a>> {
    let no_parent = domain.decode::<Atom>().is_ok_and(|atom| atom == no_parent_domain());
    read(|patterns, table| {
        let found = match table {
            _ if no_parent => patterns.fqdns(),
            Some(table) => patterns.of_domain(table, sought(domain)),
            None => Vec::new(),
        };
        list(env, found.iter().map(|found| info(env, found)))
    })
}

/// `[{Info, IsContested, IsDomain}]`: what the prefixes of a host type make for a domain.
fn made_subdomains<'a>(env: Env<'a>, [host_type, domain]: [Term<'a>; 2]) -> Option<Term<'a>> {
    let term = |made: &Made<'_, KeptTerm>| {
        let info = info(env, &made.subdomain);
        tuple(env, [info, made.is_contested.encode(env), made.is_domain.encode(env)])
    };
    let made = read(|patterns, table| {
        let made = patterns.made(table, sought(host_type), sought(domain));
        list(env, made.iter().map(term))
    });
    Some(made.unwrap_or_else(|| Term::list_new_empty(env)))
}

/// Is there anything to say when this domain begins to route?
fn collides<'a>(env: Env<'a>, [host_type, domain]: [Term<'a>; 2]) -> Option<Term<'a>> {
    let collides = |patterns: &Subdomains, table: &Table<KeptTerm>| {
        patterns.collides(table, sought(host_type), sought(domain))
    };
    Some(read_both(collides).unwrap_or(false).encode(env))
}

/// A number that grows by one with each transition of the table. There may be none: then it is 0.
fn transitions<'a>(env: Env<'a>, []: [Term<'a>; 0]) -> Option<Term<'a>> {
    let counted = read_node(|node| node.first_transition() + node.routing.transitions());
    Some(counted.unwrap_or(0).encode(env))
}

/// The domains of a host type and the number of transitions that brought them.
#[rustler::nif(schedule = "DirtyCpu")]
fn domains_and_transitions<'a>(env: Env<'a>, host_type: Binary<'a>) -> Term<'a> {
    let listed = read_node(|node| {
        let _nothing_changes = node.routing.writer();
        let number = node.first_transition() + node.routing.transitions();
        (node.routing.table().domains_of(&host_type), number)
    });
    let (domains, number) = listed.unwrap_or_default();
    (names(env, &domains), number).encode(env)
}

/// The domains of a host type for which there is something to say when this prefix is registered.
#[rustler::nif(schedule = "DirtyCpu")]
fn colliding_domains<'a>(env: Env<'a>, host_type: Binary<'a>, prefix: Binary<'a>) -> Term<'a> {
    let domains = read_both(|patterns, table| patterns.colliding(table, &host_type, &prefix));
    names(env, &domains.unwrap_or_default())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn register_pattern<'a>(
    env: Env<'a>,
    host_type: Binary<'a>,
    of: Term<'a>,
    handler: Term<'a>,
) -> NifResult<Term<'a>> {
    let host_type = check_name(&host_type).map_err(|_| Error::BadArg)?.into();
    let pattern = pattern(of)?;
    let handler = KeptTerm::new(handler);
    // The table stays the same while somebody looks at it.
    let routing = routing();
    let table = routing.as_ref().map(|routing| routing.table());
    let registered = change(|it| it.register(table, host_type, pattern, handler))?;
    Ok(match registered {
        Ok(()) => ok().encode(env),
        Err(RegisterError::AlreadyRegistered) => (error(), already_registered()).encode(env),
        Err(RegisterError::SubdomainExists) => (error(), subdomain_already_exists()).encode(env),
    })
}

/// `{ok, Handler}`, or `undefined` if it was not there or made no name.
#[rustler::nif(schedule = "DirtyCpu")]
fn unregister_pattern<'a>(
    env: Env<'a>,
    host_type: Binary<'a>,
    of: Term<'a>,
) -> NifResult<Term<'a>> {
    let Ok(pattern) = pattern(of) else { return Ok(undefined().encode(env)) };
    Ok(match change(|it| it.unregister(&host_type, &pattern))? {
        Some(handler) => (ok(), handler.copy(env)).encode(env),
        None => undefined().encode(env),
    })
}

/// `{prefix | fqdn, Text}`.
fn pattern(term: Term<'_>) -> NifResult<Pattern> {
    let (kind, text): (Atom, Binary<'_>) = term.decode()?;
    let text = check_name(&text).map_err(|_| Error::BadArg)?.into();
    match kind {
        _ if kind == prefix() => Ok(Pattern::Prefix(text)),
        _ if kind == fqdn() => Ok(Pattern::Fqdn(text)),
        _ => Err(Error::BadArg),
    }
}

fn info<'a>(env: Env<'a>, found: &Subdomain<'_, KeptTerm>) -> Term<'a> {
    let text = |name: &Name| binary(env, name.as_bytes());
    let (kind, pattern) = match &found.pattern {
        Pattern::Prefix(text) => (prefix(), text),
        Pattern::Fqdn(name) => (fqdn(), name),
    };
    let parent = found.parent.as_ref();
    let keys =
        [host_type_key(), subdomain(), subdomain_pattern(), parent_domain(), packet_handler()];
    let values = [
        text(found.host_type),
        text(&found.name),
        tuple(env, [kind.to_term(env), text(pattern)]),
        parent.map_or_else(|| no_parent_domain().to_term(env), text),
        found.handler.copy(env),
    ];
    map(env, keys.map(|key| key.to_term(env)), values)
}

/// A map. No key is there twice.
fn map<'a, const N: usize>(env: Env<'a>, keys: [Term<'a>; N], values: [Term<'a>; N]) -> Term<'a> {
    Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| Term::map_new(env))
}
