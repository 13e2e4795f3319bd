//! The simulator: production's follower in small worlds in which everything goes wrong, each made
//! from one seed.
//!
//! The very code of production runs: `domain_sync::driver` and all it uses, and the routing table.
//! Its future is polled by hand, and each time it asks the database for something, the simulator
//! decides when and what to answer, and what the others do until then. There are no threads, no
//! clock and no I/O inside a world, so a history replays exactly.
//!
//! A tour, from the database to the command line:
//!
//! - [`config`]: what a seed decides about a world before it starts.
//! - [`database`], [`transaction`], [`disaster`]: the simulated database.
//! - [`connection`]: production's view of it.
//! - [`node`], [`job`]: a node of production: the two Erlang processes and the checks they run.
//! - [`foreign`]: a node that follows the contract with other code.
//! - [`action`], [`world`], [`losses`]: everything that can happen, one action after the other.
//! - [`invariants`], [`quiescence`]: what must hold after each, and when all has calmed down.
//! - [`generator`], [`run`], [`shrink`]: a history from a seed, and a short one that fails the same.
//! - [`seeds`]: many of them.
//! - [`coverage`]: how often the corners were reached.
//! - [`mutants`]: deliberate bugs, each of which must be caught.
//!
//! What it takes for granted, because the log could not tell otherwise, is said where it is decided;
//! look for "Assumption".

pub mod action;
pub mod config;
pub mod connection;
pub mod coverage;
pub mod database;
pub mod disaster;
pub mod foreign;
pub mod generator;
pub mod invariants;
pub mod job;
pub mod losses;
pub mod mutants;
pub mod node;
pub mod quiescence;
pub mod run;
pub mod seeds;
pub mod shrink;
pub mod transaction;
pub mod world;
