//! The NIF: Erlang terms in, Erlang terms out. No logic.
//!
//! - `table`: the functions on the routing table of this node, of which there is one or none.
//! - `admin`: the HTTP server, and the node that it asks.
//! - `database`: databases, and requests to them, answered by message.
//! - `follow`: the follower, which tells its process by messages what to do.
//! - `batch`: batches of changes; `report`: what the follower logs.
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
mod batch;
mod database;
mod follow;
#[cfg(target_os = "linux")]
mod no_delay;
mod raw;
mod report;
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

    // batches
    more,
    done,
    stale,

    // the follower
    max_age,
    audit_interval,
    open,
    apply,
    answer,
    pong,
    reload,
    differs,
    stopped,

    // what it logs
    log,
    notice,
    warning,
    what,
    reason,
    text,
    count,
    domains,
    core_host_type,
    db_host_type,
    milliseconds,
    retry_after_milliseconds,
    statement,
    domains_loaded,
    domain_check_failed,
    domain_audit_failed,
    domains_must_be_reloaded,
    too_old,
    went_backwards,
    domains_differ_from_database,
    domain_settings_without_index,
    domain_static_but_in_db,
    domain_static_but_was_in_db,
    ignore_domain_from_db_with_different_host_type,
    ignore_domain_from_db_with_unknown_host_type,
    ignore_domain_from_db_with_invalid_name,

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

    // errors of databases that are no failures of them
    bad_database_option,
    invalid_name,
}

rustler::init!("mongoose_domain_nif");
