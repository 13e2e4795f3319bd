//! The follower of the event log: brings the routing table to what the database says, and keeps it
//! there.
//!
//! - [`check`]: what to read, and what it means. A pure state machine: no I/O, no clock.
//! - [`position`]: how far the log has been followed.
//! - [`routing`]: a table with the position it stands at; [`batch`]: changes to it; [`pending`]: what
//!   others have not been notified of; [`ignored`]: what could not be applied.
//! - [`audit`]: does the table have what the database says?
//! - [`driver`]: runs checks and audits on a database and hands out batches.
//! - [`follower`]: when to check, to retry, to audit, to reload, and what answers whom. A pure state
//!   machine, too.
//! - [`service`]: runs a follower on a real clock and a real database.
//! - [`statistics`]: counts, for people and monitoring.
//!
//! It knows the store's rows and the table's operations; nothing of SQL or Erlang.

pub mod audit;
pub mod batch;
pub mod check;
pub mod driver;
pub mod follower;
pub mod ignored;
pub mod pending;
pub mod position;
pub mod routing;
pub mod service;
pub mod statistics;
