//! Everything that can happen. A history is a list of these; an action that is not possible at its
//! turn does nothing, so that a history replays with some of its actions left out.

use crate::config::Domain;
use crate::records::Change;

/// How a statement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Well.
    None,
    /// With an error, and without effect.
    Before,
    /// With an error half-way; only settling has a middle.
    Half,
    /// With an error after its effect.
    After,
}

/// One thing that happens. Nodes and writers are numbers.
#[expect(missing_docs, reason = "of the fields: the variants say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A writer begins a transaction; `late`: it has its id, but inserts the event only later.
    Begin { writer: usize, domain: Domain, change: Change, late: bool },
    /// It commits; `heard`: and hears that it did.
    Commit { writer: usize, heard: bool },
    /// It rolls back.
    Rollback { writer: usize },

    /// The service of a node is asked to check for updates, or starts.
    Check { node: usize },
    /// The next message from one node to another arrives.
    Deliver { from: usize, to: usize },
    /// Somebody calls `ping/1` of the service of a node, on that node.
    Ping { node: usize },
    /// Somebody calls `sync_local/0` on a node.
    Sync { node: usize },
    /// Somebody calls `verify/0` on a node.
    Verify { node: usize },
    /// The database answers the check of a node, with so many rows if it is loading.
    Answer { node: usize, fault: Fault, rows: usize },
    /// The service of a node takes what its check has made, a batch or its end; or it stops after
    /// `restart/0`.
    Take { node: usize },
    /// The core of a node notifies others of transitions, or applies a slice of a batch.
    Work { node: usize, limit: usize },
    /// The service of a node calls `restart/0`, because it must; `has_effect`: and that stops it.
    Reload { node: usize, has_effect: bool },
    /// The database answers the audit of a node.
    AnswerAudit { node: usize, fault: Fault, rows: usize },

    /// The service of a node is killed, and restarted.
    KillService { node: usize },
    /// The service of a node is stopped; it starts with the next check.
    StopService { node: usize },
    /// Somebody calls `restart/0` on a node.
    Restart { node: usize },
    /// The core of a node is killed, and restarted: the table stays.
    KillCore { node: usize },
    /// The core of a node is stopped and started: the table is a fresh one.
    FreshTable { node: usize },
    /// A node sleeps.
    Sleep { node: usize, seconds: i64 },
    /// Another caller inserts or deletes a domain of its own on a node.
    OtherCaller { node: usize, insert: bool },
    /// The foreign node does a statement, or begins to check.
    Foreign,

    /// Time passes.
    Wait { seconds: i64 },
    /// The database cannot be reached for a long time.
    Outage { seconds: i64 },
    /// A cleaner notes the newest event.
    Note,
    /// A cleaner deletes events that it may.
    Clean { limit: usize },
    /// An operator deletes all events but the newest.
    Truncate { keep: usize },
    /// The sequence of event ids jumps.
    Jump { ids: i64 },
    /// A replica takes over that lacks the newest commits, and skips ids.
    Failover { commits: usize, skipped: i64 },
    /// The row of a domain changes without an event.
    Tamper { domain: Domain },
    /// A domain of the database is deleted from the table of a node.
    TamperTable { node: usize, domain: Domain },
}
