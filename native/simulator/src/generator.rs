//! What happens next, by chance.
//!
//! Each seed has weights of its own for the kinds of actions, some of them zero: worlds in which
//! different things are frequent find more than worlds that are all alike.

use crate::action::{Action, Fault};
use crate::config::{CHANGING, Config, HOST_TYPES, TAMPERED};
use crate::records::Change;
use crate::world::{HOLE, World};
use fastrand::Rng;

/// The kinds of actions and their usual weights, in thousandths of what a node does.
const KINDS: [(Kind, u32); 25] = [
    (Kind::Node, 1_000),
    (Kind::Writer, 500),
    (Kind::Foreign, 150),
    (Kind::Deliver, 300),
    (Kind::Ping, 40),
    (Kind::Sync, 30),
    (Kind::Verify, 15),
    (Kind::AnswerAudit, 120),
    (Kind::Wait, 40),
    (Kind::Outage, 3),
    (Kind::Note, 15),
    (Kind::Clean, 40),
    (Kind::Truncate, 20),
    (Kind::Jump, 8),
    (Kind::Hole, 10),
    (Kind::Failover, 5),
    (Kind::KillService, 8),
    (Kind::StopService, 4),
    (Kind::Restart, 5),
    (Kind::KillCore, 10),
    (Kind::FreshTable, 3),
    (Kind::Sleep, 12),
    (Kind::OtherCaller, 8),
    (Kind::Tamper, 4),
    (Kind::TamperTable, 4),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Node,
    Writer,
    Foreign,
    Deliver,
    Ping,
    Sync,
    Verify,
    AnswerAudit,
    Wait,
    Outage,
    Note,
    Clean,
    Truncate,
    Jump,
    Hole,
    Failover,
    KillService,
    StopService,
    Restart,
    KillCore,
    FreshTable,
    Sleep,
    OtherCaller,
    Tamper,
    TamperTable,
}

/// Draws actions.
pub struct Generator {
    rng: Rng,
    weights: Vec<(Kind, u32)>,
    total: u32,
    /// How many of a thousand statements fail.
    faults: u32,
    has_hole: bool,
    /// What writers begin again, because they did not hear that it was committed.
    again: Vec<Option<Action>>,
}

impl Generator {
    /// For a world.
    pub fn new(mut rng: Rng, config: &Config) -> Self {
        let weight = |(kind, usual): (Kind, u32)| {
            let factor = [0, 2, 4, 4, 4, 8, 16][rng.usize(0..7)];
            let weight = match kind {
                Kind::Node | Kind::Writer => usual * factor.max(2) / 4,
                Kind::Tamper | Kind::TamperTable if config.tampering => usual,
                Kind::Tamper | Kind::TamperTable => 0,
                Kind::Hole if !config.holes => 0,
                Kind::Failover if config.falling => usual * 8,
                _ => usual * factor / 4,
            };
            (kind, weight)
        };
        let weights: Vec<(Kind, u32)> = KINDS.into_iter().map(weight).collect();
        let total = weights.iter().map(|(_, weight)| weight).sum();
        let faults = [0, 10, 30, 100][rng.usize(0..4)];
        let again = vec![None; usize::from(config.writers)];
        Generator { rng, weights, total, faults, has_hole: false, again }
    }

    /// Draws an action. It need not be possible.
    pub fn next(&mut self, world: &World) -> Action {
        if let Some(action) = opening(world) {
            return action;
        }
        let mut chance = self.rng.u32(0..self.total);
        let drawn = self.weights.iter().find(|(_, weight)| {
            let found = chance < *weight;
            chance = chance.saturating_sub(*weight);
            found
        });
        let kind = drawn.map_or(Kind::Node, |(kind, _)| *kind);
        let node = self.rng.usize(0..world.nodes.len());
        match kind {
            Kind::Node => self.node(world, node),
            Kind::Writer => self.writer(world),
            Kind::Foreign => Action::Foreign,
            Kind::Deliver => self.deliver(world, node),
            Kind::Ping => Action::Ping { node },
            Kind::Sync => Action::Sync { node },
            Kind::Verify => Action::Verify { node },
            Kind::AnswerAudit => {
                Action::AnswerAudit { node, fault: self.fault(), rows: self.rng.usize(1..6) }
            }
            Kind::KillService => Action::KillService { node },
            Kind::StopService => Action::StopService { node },
            Kind::Restart => Action::Restart { node },
            Kind::KillCore => Action::KillCore { node },
            Kind::FreshTable => Action::FreshTable { node },
            Kind::Sleep => {
                let longest = world.config.max_age * 2;
                Action::Sleep { node, seconds: self.rng.i64(1..longest) }
            }
            Kind::OtherCaller => Action::OtherCaller { node, insert: self.rng.bool() },
            Kind::TamperTable => {
                Action::TamperTable { node, domain: TAMPERED[self.rng.usize(0..2)] }
            }
            _ => self.database(kind),
        }
    }

    fn node(&mut self, world: &World, node: usize) -> Action {
        let it = &world.nodes[node];
        if it.is_reloading() && self.rng.bool() {
            return Action::Reload { node, has_effect: self.rng.u8(0..4) > 0 };
        }
        let Some(check) = &it.check else {
            let waits = it.watch.is_pausing() && self.rng.bool();
            let busy = !it.is_idle() && self.rng.bool();
            return match (waits, busy) {
                (true, _) => Action::Wait { seconds: [1, 1, 2, 5][self.rng.usize(0..4)] },
                (_, true) => self.progress(node),
                _ => Action::Check { node },
            };
        };
        if check.job.is_waiting() && self.rng.u8(0..3) > 0 {
            return Action::Answer { node, fault: self.fault(), rows: self.rng.usize(1..4) };
        }
        if self.rng.u8(0..30) == 0 { Action::Check { node } } else { self.progress(node) }
    }

    /// A message to a node, from one that has sent any.
    fn deliver(&mut self, world: &World, to: usize) -> Action {
        let nodes = world.nodes.len();
        let first = self.rng.usize(0..nodes);
        let mut senders = (0..nodes).map(|offset| (first + offset) % nodes);
        let from = senders.find(|from| world.cluster.has_message(*from, to)).unwrap_or(first);
        Action::Deliver { from, to }
    }

    fn progress(&mut self, node: usize) -> Action {
        if self.rng.bool() {
            Action::Work { node, limit: self.rng.usize(1..8) }
        } else {
            Action::Take { node }
        }
    }

    fn fault(&mut self) -> Fault {
        if self.rng.u32(0..1_000) >= self.faults {
            return Fault::None;
        }
        [Fault::Before, Fault::Half, Fault::After][self.rng.usize(0..3)]
    }

    fn writer(&mut self, world: &World) -> Action {
        let writer = self.rng.usize(0..usize::from(world.config.writers));
        if !world.database.is_in_flight(writer) {
            let begin = self.again[writer].take();
            return begin.unwrap_or_else(|| self.begin(writer));
        }
        match self.rng.u8(0..10) {
            0 => Action::Rollback { writer },
            1 => Action::Commit { writer, heard: false },
            _ => Action::Commit { writer, heard: true },
        }
    }

    fn begin(&mut self, writer: usize) -> Action {
        let host_type = HOST_TYPES[self.rng.usize(0..3)];
        let change = match self.rng.u8(0..12) {
            0..4 => Change::Insert(host_type),
            4 | 5 => Change::Enable,
            6 | 7 => Change::Disable,
            8 => Change::MarkDeleting,
            9 => Change::Delete,
            10 => Change::SetHostType(host_type),
            _ => Change::Replace(host_type),
        };
        let domain = CHANGING[self.rng.usize(0..CHANGING.len())];
        let begin = Action::Begin { writer, domain, change, late: self.rng.u8(0..20) == 0 };
        if self.rng.u8(0..10) == 0 {
            self.again[writer] = Some(begin);
        }
        begin
    }

    fn database(&mut self, kind: Kind) -> Action {
        match kind {
            Kind::Outage => Action::Outage { seconds: self.rng.i64(20..300) },
            Kind::Note => Action::Note,
            Kind::Clean => Action::Clean { limit: [1, 3, 1_000_000][self.rng.usize(0..3)] },
            Kind::Truncate => Action::Truncate { keep: self.rng.usize(1..4) },
            Kind::Hole if !self.has_hole => {
                self.has_hole = true;
                Action::Jump { ids: HOLE }
            }
            Kind::Jump => Action::Jump { ids: self.rng.i64(1..40) },
            Kind::Failover => {
                let skipped = if self.rng.bool() { 0 } else { self.rng.i64(0..4) };
                Action::Failover { commits: self.rng.usize(1..5), skipped }
            }
            Kind::Tamper => Action::Tamper { domain: TAMPERED[self.rng.usize(0..2)] },
            _ => Action::Wait { seconds: [1, 2, 3, 5, 11, 30][self.rng.usize(0..6)] },
        }
    }
}

/// Each writer begins, and the last one commits, in worlds that open like this.
fn opening(world: &World) -> Option<Action> {
    let (writer, last) = (world.done, usize::from(world.config.writers) - 1);
    let change = Change::Insert(HOST_TYPES[0]);
    match writer {
        _ if !world.config.falling || writer > last + 1 => None,
        _ if writer > last => Some(Action::Commit { writer: last, heard: true }),
        _ => Some(Action::Begin { writer, domain: CHANGING[writer], change, late: false }),
    }
}
