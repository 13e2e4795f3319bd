//! For `make bench`: lets the reference, plain Erlang, read the database by the product's own driver
//! (`domain_store`), so that only the design of the two differs.
//!
//! It knows pages of rows and of events. Each call is one or two queries and blocks a dirty scheduler;
//! what fails is raised.

// The library is for the VM: nothing in it is public, but the macro of the atoms thinks so.
#![allow(missing_docs)]

use domain_store::{Config, Setting, Status, Store};
use rustler::{Encoder, Env, Error, NewBinary, NifResult, Resource, ResourceArc, Term};
use std::collections::HashMap;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Long enough for any page: a time limit is not what is measured.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

rustler::atoms! {
    undefined,
}

/// A database, and the runtime that drives its connections while a call waits.
struct Database {
    store: Store,
    runtime: Runtime,
}

#[rustler::resource_impl]
impl Resource for Database {}

/// Opens the database of a URL.
#[rustler::nif(schedule = "DirtyIo")]
fn open<'a>(env: Env<'a>, url: String) -> NifResult<Term<'a>> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(raised)?;
    let config = Config { query_timeout: QUERY_TIMEOUT, ..Config::new(url) };
    let store = {
        let _inside = runtime.enter();
        Store::open(&config).map_err(raised)?
    };
    Ok(ResourceArc::new(Database { store, runtime }).encode(env))
}

/// The first `limit` enabled rows with ids above `after`: `[{Id, Domain, HostType}]`.
#[rustler::nif(schedule = "DirtyIo")]
fn page<'a>(
    env: Env<'a>,
    database: ResourceArc<Database>,
    after: i64,
    limit: u32,
) -> NifResult<Vec<Term<'a>>> {
    let Database { store, runtime } = &*database;
    let page = store.page(Some(Status::Enabled), after, limit);
    let rows = runtime.block_on(page).map_err(raised)?;
    let row =
        |row: &Setting| (row.id, binary(env, &row.domain), binary(env, &row.host_type)).encode(env);
    Ok(rows.iter().map(row).collect())
}

/// The first `limit` events with ids above `after`, and what is to become of their domains:
/// `[{Id, Domain, HostType}]`, or `undefined` in place of the host type of one that is not enabled.
#[rustler::nif(schedule = "DirtyIo")]
fn events<'a>(
    env: Env<'a>,
    database: ResourceArc<Database>,
    after: i64,
    limit: u32,
) -> NifResult<Vec<Term<'a>>> {
    let Database { store, runtime } = &*database;
    let read = async {
        let events = store.events(after + 1, i64::MAX, limit).await?;
        let domains: Vec<String> = events.iter().map(|event| event.domain.clone()).collect();
        let settings = store.settings(&domains).await?;
        Ok::<_, domain_store::Error>((events, settings))
    };
    let (events, settings) = runtime.block_on(read).map_err(raised)?;
    let enabled: HashMap<&str, &str> = settings
        .iter()
        .filter(|setting| setting.status == Status::Enabled)
        .map(|setting| (setting.domain.as_str(), setting.host_type.as_str()))
        .collect();
    let event = |event: &domain_store::Event| {
        let host_type = match enabled.get(event.domain.as_str()) {
            Some(host_type) => binary(env, host_type),
            None => undefined().encode(env),
        };
        (event.id, binary(env, &event.domain), host_type).encode(env)
    };
    Ok(events.iter().map(event).collect())
}

fn binary<'a>(env: Env<'a>, text: &str) -> Term<'a> {
    let mut binary = NewBinary::new(env, text.len());
    binary.as_mut_slice().copy_from_slice(text.as_bytes());
    binary.into()
}

fn raised(error: impl std::fmt::Display) -> Error {
    Error::RaiseTerm(Box::new(error.to_string()))
}

rustler::init!("bench_driver");
