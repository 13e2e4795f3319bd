//! What must hold: the invariants of the design, each where the simulator can see it.
//!
//! I4 is checked in `facts.rs`, I8 where events are deleted (`database.rs`), I12 and I13 in `watch.rs`
//! and `cluster.rs`, liveness and I9 in `quiescence.rs`.

use crate::config::{CHANGING, Config, Domain, OTHER, STABLE, TAMPERED};
use crate::database::Database;
use crate::foreign::Foreign;
use crate::node::{Check, Node};
use crate::violation::{Violation, violation};
use domain_store::Status;
use domain_sync::audit::Difference;
use domain_sync::driver::BATCHES_WAITING;
use domain_table::{Name, Pair};
use std::ops::RangeInclusive;

fn sorted(mut pairs: Vec<Pair>) -> Vec<String> {
    pairs.sort();
    pairs.iter().map(|(domain, host_type)| format!("{domain} {host_type}")).collect()
}

/// What holds after every action.
pub fn always(node: &Node) -> Result<(), Violation> {
    let table = node.routing.table();
    for (domain, host_type) in &node.config.statics {
        if node.host_type(domain) != Some(host_type) || !table.is_static(domain.as_bytes()) {
            let text = format!("node {}: {domain}: {:?}", node.number, node.host_type(domain));
            return Err(violation("I2 statics", text));
        }
    }
    if let Some(gone) = STABLE.iter().find(|name| node.is_loaded && node.host_type(name).is_none())
    {
        return Err(violation("I5 flicker", format!("node {}: {gone} is not found", node.number)));
    }
    let of_check = node.check.as_ref().map_or(0, Check::batches);
    let at_work = node.applying.as_ref().is_some_and(|applying| !applying.is_orphan);
    let waiting = of_check + usize::from(at_work);
    if waiting > BATCHES_WAITING {
        let text = format!("node {}: {waiting} batches wait", node.number);
        return Err(violation("I6 outages", text));
    }
    let jobs = u32::from(node.check.is_some()) + u32::from(node.audit.is_some());
    if jobs > node.config.connections {
        let text = format!("node {}: {jobs} jobs share one connection", node.number);
        return Err(violation("connections", text));
    }
    if node.routing.pending_len() > 0 {
        return Ok(());
    }
    let owned = |(domain, host_type): (Name, &Name)| (domain, host_type.clone());
    let dynamics: Vec<Pair> = table.dynamics().into_iter().map(owned).collect();
    if !node.notified.is(&dynamics) {
        let (notified, table) = (sorted(node.notified.pairs()), sorted(dynamics));
        let text = format!(
            "node {}: others were notified of {notified:?}, the table has {table:?}",
            node.number
        );
        return Err(violation("I7 hooks", text));
    }
    Ok(())
}

/// A transaction is committed, and a position has passed its events (I3).
pub fn committed(node: &Node, ids: &[i64]) -> Violation {
    let text = format!("node {} covers {:?}; {ids:?} came now", node.number, node.covered);
    violation("I3 skipped event", text)
}

/// The position of a node has changed: all that it covers is or was in the log (I3).
pub fn advanced(
    node: &Node,
    before: Option<RangeInclusive<i64>>,
    database: &Database,
) -> Result<(), Violation> {
    let Some(now) = node.covered.clone().filter(|_| node.era == database.era) else {
        return Ok(());
    };
    // What had been covered before is not looked at again: a failover may have disturbed a gap there
    // in which nothing can appear any more.
    let (low, high) = match &before {
        Some(before) if now.contains(before.start()) => (*before.start(), *before.end()),
        _ => (*now.start(), now.start() - 1), // a load: a floor never rises
    };
    if database.is_known(*now.start()..=low - 1) && database.is_known(high + 1..=*now.end()) {
        return Ok(());
    }
    let text = format!("node {}: {before:?} became {now:?}, with ids unknown", node.number);
    Err(violation("I3 skipped event", text))
}

/// A check has ended `Current`: what was committed before it began is in the table, and covered.
pub fn current(node: &Node, check: &Check, database: &Database) -> Result<(), Violation> {
    let facts = &check.job.facts;
    let same_log = facts.era == database.era && !database.disturbed;
    let covered = node.covered.as_ref().filter(|_| same_log);
    if covered.map(|ids| *ids.end()).is_some_and(|end| facts.newest > Some(end)) {
        let (number, newest) = (node.number, facts.newest);
        let text = format!("node {number} is current at {covered:?}, the newest was {newest:?}");
        return Err(violation("I3 skipped event", text));
    }
    for domain in STABLE.into_iter().chain(CHANGING) {
        let is_settled = database.changed(domain) < facts.step;
        if is_settled && !node.stained.contains(domain) {
            has_the_row(node, domain, database)?;
        }
    }
    Ok(())
}

fn has_the_row(node: &Node, domain: Domain, database: &Database) -> Result<(), Violation> {
    if node.routing.table().is_static(domain.as_bytes()) {
        return Ok(());
    }
    let in_database = database.routes(domain, &node.config.allowed);
    let in_table = node.host_type(domain);
    if in_table == in_database {
        return Ok(());
    }
    let deleting = database.row(domain).is_some_and(|row| row.status == Status::Deleting);
    let lost = database.has_lost(domain) && !node.stained.contains(domain);
    let invariant = match (lost, deleting) {
        (true, _) => "I11 the log went backwards",
        (_, true) => "I10 removal",
        _ => "I1 convergence",
    };
    let number = node.number;
    let text =
        format!("node {number}: {domain}: {in_table:?}, but {in_database:?} in the database");
    Err(violation(invariant, text))
}

/// An audit says that the table is wrong, and it can be.
pub fn differs(node: &Node, differences: &[Difference], config: &Config) -> Result<(), Violation> {
    let can_be = |found: &&Difference| {
        let has_the_name = |domain: &&Domain| found.domain == **domain;
        config.tampering && TAMPERED.iter().any(|domain| has_the_name(&domain))
            || node.stained.iter().any(|domain| has_the_name(&domain))
    };
    match differences.iter().find(|found| !can_be(found)) {
        Some(found) => {
            let text = format!("node {}: nobody tampered, but {found:?}", node.number);
            Err(violation("audits", text))
        }
        None => Ok(()),
    }
}

/// All is calm, and the node has checked once (I1).
pub fn converged(node: &Node, database: &Database, audited: bool) -> Result<(), Violation> {
    let is_judged =
        |domain: &Domain| audited || !TAMPERED.contains(domain) && !node.stained.contains(domain);
    let domains = STABLE.into_iter().chain(CHANGING).chain(TAMPERED).filter(is_judged);
    for domain in domains {
        has_the_row(node, domain, database)?;
    }
    let known = |name: &Name| {
        let mut known = STABLE.into_iter().chain(CHANGING).chain(TAMPERED).chain([OTHER]);
        known.any(|domain| domain == name)
    };
    match node.routing.table().followed().into_iter().find(|(domain, _)| !known(domain)) {
        Some((domain, _)) => {
            let text = format!("node {}: {domain:?} came from nowhere", node.number);
            Err(violation("I1 convergence", text))
        }
        None => Ok(()),
    }
}

/// The foreign node has what the database says (I9). It knows no audits.
pub fn foreign_converged(foreign: &Foreign, database: &Database) -> Result<(), Violation> {
    let (mut table, mut expected) = (foreign.table.clone(), foreign.expected(database));
    for domain in TAMPERED {
        table.remove(domain);
        expected.remove(domain);
    }
    if table == expected {
        return Ok(());
    }
    let text = format!("the foreign node has {table:?}, the database {expected:?}");
    Err(violation("I9 mixed clusters", text))
}
