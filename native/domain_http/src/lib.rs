//! Administration by HTTP: REST, GraphQL, metrics and a page for operators; and the program that serves
//! it, a process of its own beside the Erlang node that it administers.
//!
//! It knows HTTP and the database ([`domain_store`]). Of the node it knows what it may ask there, by its
//! standard input and output (`doc/http_port.md`).
//!
//! - `program`: the life of the program; `limits`: what the system holds it to.
//! - `protocol`: what is said between program and node; `frame`: how that is written.
//! - `port`: questions and their answers; `node`: what is asked and answered.
//! - `admin`: the operations, the same for REST and GraphQL.
//! - `rest`, `graphql`, `import`, `export`, `status`, `metrics`, `page`: the routes.
//! - `nesting`: how deep a query in GraphQL is, before it is parsed.
//! - `query`: what of a request is known.
//! - `lag`: how far the node is behind, and was.
//! - `guard`: who may ask, and from where.
//! - `spool`: files for imports and exports; `budget`: how much lists may take in memory.
//! - `certificates`: of the server, read again when they change.
//! - `options`, `database`: what the node gives.
//! - `server`: the listener, its limits, its start and its end.
//!
//! Reads are answered from the database, and by the node from its table. A change of one domain is made
//! by the node, which runs its removal handlers.

mod admin;
mod budget;
mod certificates;
mod database;
mod error;
mod export;
mod frame;
#[cfg(test)]
mod fuzz;
mod graphql;
mod guard;
mod import;
mod lag;
mod limits;
mod metrics;
mod nesting;
mod node;
mod options;
mod page;
mod port;
mod program;
mod protocol;
mod query;
mod rest;
mod server;
mod spool;
mod status;

pub use program::run;
