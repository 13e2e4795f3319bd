//! The simulator: production's follower in small worlds in which everything goes wrong, each made
//! from one seed.
//!
//! The very code of production runs: `domain_sync::follower`, which decides, `domain_sync::driver` and
//! all it uses, and the routing table. The driver's future is polled by hand, and each time it asks
//! the database for something, the simulator decides when and what to answer, and what the others do
//! until then. Timers fire in virtual time. There are no threads, no clock and no I/O inside a world,
//! so a history replays exactly.
//!
//! A tour, from the database to the command line:
//!
//! - [`config`]: what a seed decides about a world before it starts.
//! - [`records`], [`database`], [`transaction`], [`disaster`]: the simulated database.
//! - [`connection`], [`job`], [`facts`]: production's driver on it.
//! - [`node`], [`domain_core`], [`service`]: a node of production and its two Erlang processes.
//! - [`cluster`]: the messages between nodes.
//! - [`foreign`]: a node that follows the contract with other code.
//! - [`action`], [`world`], [`time`], [`losses`]: everything that can happen, one action after the
//!   other; [`aftermath`]: what came of it.
//! - [`violation`], [`invariants`], [`notified`], [`watch`], [`quiescence`]: what must hold after each, and
//!   when all has calmed down.
//! - [`generator`], [`run`], [`shrink`]: a history from a seed, and a short one that fails the same.
//! - [`seeds`]: many of them.
//! - [`coverage`]: how often the corners were reached.
//! - [`mutants`]: deliberate bugs, each of which must be caught.
//!
//! What it takes for granted, because the log could not tell otherwise, is said where it is decided;
//! look for "Assumption".

pub mod action;
pub mod aftermath;
pub mod cluster;
pub mod config;
pub mod connection;

pub mod coverage;
pub mod database;
pub mod disaster;
pub mod domain_core;
pub mod facts;
pub mod foreign;
pub mod generator;
pub mod invariants;
pub mod job;
pub mod losses;
pub mod mutants;
pub mod node;
pub mod notified;
pub mod quiescence;
pub mod records;
pub mod run;
pub mod seeds;
pub mod service;
pub mod shrink;
pub mod time;
pub mod transaction;
pub mod violation;
pub mod watch;
pub mod world;
