//! What a seed decides about a world before it starts.

use fastrand::Rng;
use std::time::Duration;

/// A domain.
pub type Domain = &'static str;
/// A host type.
pub type HostType = &'static str;

/// Enabled from the beginning and never touched: they must always route (I5).
pub const STABLE: [Domain; 2] = ["stable1", "stable2"];
/// Those that writers change. Some are static on some nodes.
pub const CHANGING: [Domain; 7] = ["a", "b", "c", "d", "e", "f", "g"];
/// Those whose rows change without an event, in worlds of tampering.
pub const TAMPERED: [Domain; 2] = ["tampered1", "tampered2"];
/// Inserted into tables by another caller; the database does not know it.
pub const OTHER: Domain = "other";
/// The host types. Every node allows the first.
pub const HOST_TYPES: [HostType; 3] = ["h1", "h2", "h3"];

/// One node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its static domains.
    pub statics: Vec<(Domain, HostType)>,
    /// The host types it allows.
    pub allowed: Vec<HostType>,
    /// How many connections to the database it may have.
    pub connections: u32,
    /// The longest pause after a failure.
    pub max_retry: Duration,
    /// From one audit to the next.
    pub audit_interval: Duration,
    /// Of the chance in its follower.
    pub seed: u64,
}

/// A world.
#[derive(Debug, Clone)]
pub struct Config {
    /// The seed it comes from.
    pub seed: u64,
    /// The nodes of production.
    pub nodes: Vec<NodeConfig>,
    /// The node with other code, in some worlds.
    pub foreign: Option<NodeConfig>,
    /// The number of writers.
    pub writers: u8,
    /// Can a domain have several rows, as on MySQL?
    pub duplicates: bool,
    /// After a failover, can an id be used again for the domain it was used for before? The log
    /// then looks the same as before, and only an audit finds out.
    pub twins: bool,
    /// Do rows change without an event?
    pub tampering: bool,
    /// Does the sequence jump by as much as after a crash? Such worlds take their time.
    pub holes: bool,
    /// Does it open with transactions in flight, of which the last one commits first? The oldest id
    /// then falls, and failovers are frequent.
    pub falling: bool,
    /// Seconds after which events are cleaned.
    pub max_age: i64,
    /// The number of actions before everything calms down.
    pub actions: usize,
}

impl Config {
    /// The world of a seed.
    pub fn new(rng: &mut Rng, seed: u64) -> Self {
        let nodes = (0..rng.usize(2..=4)).map(|_| NodeConfig::new(rng)).collect();
        let one_in = |rng: &mut Rng, n: u32| rng.u32(0..n) == 0;
        Config {
            seed,
            nodes,
            foreign: one_in(rng, 3).then(|| NodeConfig::new(rng)),
            writers: rng.u8(2..=4),
            duplicates: one_in(rng, 3),
            twins: one_in(rng, 16),
            tampering: one_in(rng, 8),
            holes: one_in(rng, 16),
            falling: one_in(rng, 8),
            max_age: [150, 300, 900][rng.usize(0..3)],
            actions: rng.usize(100..=900),
        }
    }
}

impl NodeConfig {
    fn new(rng: &mut Rng) -> Self {
        let mut statics = vec![("static", "only static")];
        if rng.bool() {
            statics.push((CHANGING[rng.usize(0..2)], HOST_TYPES[rng.usize(0..2)]));
        }
        let allowed = HOST_TYPES.into_iter().filter(|name| *name == HOST_TYPES[0] || rng.bool());
        let allowed = allowed.collect();
        NodeConfig {
            statics,
            allowed,
            connections: rng.u32(1..=2),
            max_retry: Duration::from_secs([10, 30][rng.usize(0..2)]),
            audit_interval: Duration::from_secs([60, 300, 86_400][rng.usize(0..3)]),
            seed: rng.u64(..),
        }
    }
}
