//! The NIF: Erlang terms in, Erlang terms out. No logic.
//!
//! - `atoms`: the atoms of all answers.
//! - `table`: the functions on the routing table of this node, of which there is one or none.
//! - `subdomains`: names below domains, by the patterns of this node.
//! - `database`: databases, and requests to them, answered by message.
//! - `follow`: the follower, which tells its process by messages what to do.
//! - `batch`: batches of changes; `report`: what the follower logs.
//! - `status`: what the follower did and saw.
//! - `term`: Erlang terms kept on the Rust side; names and rows as terms.
//! - `no_delay`: the sockets of databases do not hold small messages back.
//! - `raw`: functions without rustler's wrapper, and those that go on on a dirty scheduler when they would wait.
//! - `runtime`: tokio's threads, which live as long as any database is open.
//!
//! Rust never calls into Erlang; it sends messages, and only from tokio's threads. What grows with
//! the table runs on dirty schedulers, SQL only on tokio's threads.

// The library is for the VM: nothing in it is public, but the macro of the atoms thinks so.
#![allow(missing_docs)]

mod atoms;
mod batch;
mod database;
mod follow;
#[cfg(target_os = "linux")]
mod no_delay;
mod raw;
mod report;
mod runtime;
mod status;
mod subdomains;
mod table;
mod term;

pub(crate) use atoms::*;

rustler::init!("mongoose_domain_nif");
