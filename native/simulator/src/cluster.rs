//! What the nodes of production send each other: `check_for_updates`, and the pings of `sync_local/0`.
//!
//! Messages from one process to another arrive in order, others in any. So a ping that has gone
//! through every node is behind every `check_for_updates` that was sent before.

use crate::node::Source;
use crate::violation::{Violation, violation};
use crate::watch::Caller;
use std::collections::{BTreeSet, VecDeque};

/// What one node sends another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// There is something new.
    CheckForUpdates,
    /// Asked by the `sync_local/0` of this number.
    Ping(u64),
}

/// A `sync_local/0` of one node.
struct Sync {
    number: u64,
    /// Pings that have not arrived, and those that have and are not answered.
    on_the_way: usize,
    pings: BTreeSet<Caller>,
    /// What every node knew of before it began.
    sent: Option<Sent>,
}

/// The newest event of which a `check_for_updates` was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    era: u32,
    newest: i64,
}

/// The nodes and the messages between them.
pub struct Cluster {
    /// From each node to each other.
    links: Vec<Vec<VecDeque<Message>>>,
    syncs: Vec<Option<Sync>>,
    /// The service of each node.
    services: Vec<Option<Source>>,
    sent: Option<Sent>,
    begun: u64,
}

impl Cluster {
    /// So many nodes.
    pub fn new(nodes: usize) -> Self {
        Cluster {
            links: vec![vec![VecDeque::new(); nodes]; nodes],
            syncs: (0..nodes).map(|_| None).collect(),
            services: vec![None; nodes],
            sent: None,
            begun: 0,
        }
    }

    /// `force_check_for_updates/0` on a node, after the commit of an event.
    pub fn broadcast(&mut self, from: usize, era: u32, newest: i64) {
        self.links[from].iter_mut().for_each(|link| link.push_back(Message::CheckForUpdates));
        let before = self.sent.filter(|sent| sent.era == era).map_or(newest, |sent| sent.newest);
        self.sent = Some(Sent { era, newest: newest.max(before) });
    }

    /// `sync_local/0` on a node; `false` if one waits there.
    pub fn sync(&mut self, node: usize) -> bool {
        if self.syncs[node].is_some() {
            return false;
        }
        self.begun += 1;
        let (number, on_the_way) = (self.begun, self.links.len());
        self.links.iter_mut().for_each(|from| from[node].push_back(Message::Ping(number)));
        let (pings, sent) = (BTreeSet::new(), self.sent);
        self.syncs[node] = Some(Sync { number, on_the_way, pings, sent });
        true
    }

    /// The service of a node is this one. If it is another one than before, whoever waits on it begins
    /// anew, some time.
    pub fn service_is(&mut self, node: usize, service: Option<Source>) {
        if std::mem::replace(&mut self.services[node], service) != service {
            self.syncs[node] = None;
        }
    }

    /// The next message to a node from another one.
    pub fn deliver(&mut self, from: usize, to: usize) -> Option<Message> {
        self.links[from][to].pop_front()
    }

    /// Is there one?
    pub fn has_message(&self, from: usize, to: usize) -> bool {
        !self.links[from][to].is_empty()
    }

    /// Does anybody wait for the ping that arrives?
    pub fn expects(&self, node: usize, number: u64) -> bool {
        self.syncs[node].as_ref().is_some_and(|sync| sync.number == number)
    }

    /// A ping has arrived, and waits for its answer.
    pub fn pinged(&mut self, node: usize, caller: Caller) {
        if let Some(sync) = &mut self.syncs[node] {
            sync.on_the_way -= 1;
            sync.pings.insert(caller);
        }
    }

    /// A ping is answered. When all of a `sync_local/0` are, the node must cover what was sent before
    /// it (I12). Returns whether it is done.
    pub fn answered(
        &mut self,
        node: usize,
        caller: Caller,
        era: u32,
        covered: Option<i64>,
    ) -> Result<bool, Violation> {
        let Some(sync) = &mut self.syncs[node] else { return Ok(false) };
        if !sync.pings.remove(&caller) || sync.on_the_way > 0 || !sync.pings.is_empty() {
            return Ok(false);
        }
        let sent = sync.sent.filter(|sent| sent.era == era);
        self.syncs[node] = None;
        if let (Some(sent), Some(covered)) = (sent, covered)
            && covered < sent.newest
        {
            let text =
                format!("node {node}: sync_local is done at {covered}, {} was sent", sent.newest);
            return Err(violation("I12 fence", text));
        }
        Ok(true)
    }
}
