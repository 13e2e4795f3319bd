//! What a database keeps: rows, events, transactions in flight, and what a replica may lack.

use crate::config::{Domain, HostType};
use domain_store::Status;

/// An event, or a dummy: then its domain is empty.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The domain.
    pub domain: Domain,
    /// When its id was handed out.
    pub since: i64,
    /// The step at which it came into the log.
    pub step: u64,
}

/// A row of `domain_settings`.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its id.
    pub id: i64,
    /// The host type.
    pub host_type: HostType,
    /// The status.
    pub status: Status,
}

/// What a replica has not received yet is lost by commits, the newest first.
#[derive(Debug)]
pub enum Commit {
    /// A transaction of a writer.
    Write {
        /// The domain.
        domain: Domain,
        /// The ids of its events.
        ids: Vec<i64>,
        /// The rows of the domain before it.
        before: Vec<Row>,
    },
    /// Dummies.
    Dummies(Vec<i64>),
    /// Events deleted.
    Cleaned(Vec<(i64, Entry)>),
}

/// A change of one domain, as callers of the API or the operator ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Insert, enabled.
    Insert(HostType),
    /// Enable.
    Enable,
    /// Disable.
    Disable,
    /// Mark for deletion.
    MarkDeleting,
    /// Delete the row.
    Delete,
    /// Change the host type in place.
    SetHostType(HostType),
    /// Delete the row and insert another one, with an event each.
    Replace(HostType),
}

/// A transaction in flight.
#[derive(Debug)]
pub struct Transaction {
    /// The domain that it changes.
    pub domain: Domain,
    /// The ids of its events.
    pub ids: Vec<i64>,
    /// It has got its ids, but has not inserted the events yet: nobody waits for it, and a dummy may
    /// come first.
    pub late: bool,
    /// When it began.
    pub since: i64,
    /// Ids of rows to remove.
    pub remove: Vec<i64>,
    /// Rows to insert.
    pub insert: Vec<Row>,
    /// Others that change the domain wait.
    pub locks: bool,
}
