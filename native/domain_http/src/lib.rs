//! Administration by HTTP: REST, GraphQL, metrics and a page for operators.
//!
//! It knows HTTP and the database ([`domain_store`]). It knows nothing of Erlang: what it needs of the
//! node it runs in, the routing table and changes of domains, it asks of the trait [`Node`].
//!
//! - `node`: the trait, and what is asked and answered.
//! - `admin`: the operations, the same for REST and GraphQL.
//! - `rest`, `graphql`, `import`, `export`, `status`, `metrics`, `page`: the routes.
//! - `query`: what of a request is known.
//! - `lag`: how far the node is behind, and was.
//! - `guard`: who may ask, and from where.
//! - `options`: of the server.
//! - `server`: the listener, its limits, its start and its end.
//!
//! Reads are answered from the table and the database. A change of one domain is made by the node,
//! which runs its removal handlers.

mod admin;
mod error;
mod export;
mod graphql;
mod guard;
mod import;
mod lag;
mod metrics;
mod node;
mod options;
mod page;
mod query;
mod rest;
mod server;
mod status;

pub use node::{Answer, Change, Difference, HostType, Member, MemberStatus, Node, Refusal, Route};
pub use node::{Snapshot, Status};
pub use options::{Credentials, Options, StartError, TlsFiles};
pub use server::Server;
