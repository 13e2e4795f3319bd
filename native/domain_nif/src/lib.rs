//! The NIF: Erlang terms in, Erlang terms out. No logic.
//!
//! - `table`: the functions on the routing table of this node, of which there is one or none.
//! - `admin`: the HTTP server, and the node that it asks.
//! - `database`: databases, and requests to them, answered by message.
//! - `follow`: checks, loads and audits, whose batches go to the calling process by message.
//! - `status`: what the follower did and saw.
//! - `term`: Erlang terms kept on the Rust side; names and rows as terms.
//! - `raw`: functions without rustler's wrapper.
//! - `no_delay`: the sockets of databases do not hold small messages back.
//! - `runtime`: tokio's threads, which live as long as any database is open.
//!
//! Rust never calls into Erlang; it sends messages, and only from tokio's threads. What grows with
//! the table runs on dirty schedulers, SQL only on tokio's threads.

// The library is for the VM: nothing in it is public, but the macro of the atoms thinks so.
#![allow(missing_docs)]

mod admin;
mod database;
mod follow;
#[cfg(target_os = "linux")]
mod no_delay;
mod raw;
mod runtime;
mod status;
mod table;
mod term;

rustler::atoms! {
    ok,
    error,
    undefined,
    mongoose_domain_nif,
    service_domain_db,

    // the table
    fresh,
    kept,
    inserted,
    refreshed,
    absent,
    removed,
    busy,
    all,
    unknown_host_type,
    is_static = "static",
    bad_insert,

    // following
    batch,
    current,
    loaded,
    reload,
    too_old,
    went_backwards,
    more,
    done,
    stale,
    no_table,
    unsettled,
    stopped,
    domain_static_but_in_db,
    domain_static_but_was_in_db,
    ignore_domain_from_db_with_different_host_type,
    ignore_domain_from_db_with_unknown_host_type,
    ignore_domain_from_db_with_invalid_name,

    // audits
    same,
    suspicious,
    differs,

    // statistics
    position,
    newest_event,
    seconds_since_check,
    checks,
    loads,
    reloads,
    gaps_settled,
    dummies_written,
    audits,
    errors,
    last_error,
    failing,
    followed,

    // rows
    disabled,
    enabled,
    deleting,
    exists,
    not_found,
    wrong_host_type,
    none,

    // options of databases
    url,
    driver,
    host,
    port,
    database,
    username,
    password,
    tls,
    mode,
    ca,
    client,
    max_connections,
    query_timeout,
    idle_timeout,

    // errors of the HTTP server
    bad_http_option,
    http_failed,

    // errors of databases
    bad_database_url,
    bad_database_option,
    unknown_database_scheme,
    database_unavailable,
    tls_failed,
    access_denied,
    missing_tables,
    not_a_database,
    read_only,
    timeout,
    query_failed,
    invalid_name,
}

rustler::init!("mongoose_domain_nif");
