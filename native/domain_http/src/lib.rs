//! Administration by HTTP: REST, GraphQL, metrics and a page for operators.
//!
//! It knows HTTP and the database ([`domain_store`]). It knows nothing of Erlang: what it needs of the
//! node it runs in, the routing table and changes of domains, it asks of the trait [`Node`].
//!
//! - `node`: the trait, and what is asked and answered.
//! - `admin`: the operations, the same for REST and GraphQL.
//! - `rest`, `graphql`, `bulk`, `status`, `metrics`, `page`: the routes.
//! - `lag`: how far the node is behind, and was.
//! - `guard`: who may ask, and from where.
//! - `budget`: how much lists may take in memory.
//! - `certificates`: of the server, read again when they change.
//! - `options`: of the server.
//! - `server`: the listener, its limits, its start and its end.
//!
//! Reads are answered from the table and the database. A change of one domain is made by the node,
//! which runs its removal handlers.

mod admin;
mod budget;
mod bulk;
mod certificates;
mod error;
mod graphql;
mod guard;
mod lag;
mod metrics;
mod node;
mod options;
mod page;
mod rest;
mod server;
mod status;

pub use node::{Answer, Change, Difference, HostType, Member, MemberStatus, Node, Refusal, Route};
pub use node::{Snapshot, Status};
pub use options::{Credentials, Options, StartError, TlsFiles};
pub use server::Server;
