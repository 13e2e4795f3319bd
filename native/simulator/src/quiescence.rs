//! All calms down: writers finish, the database is well, each node checks. Then the tables must be
//! what the database says (I1, I9), and audits must find what the log could not tell.

use crate::action::{Action, Fault};
use crate::coverage::Corner;
use crate::invariants;
use crate::violation::{Violation, violation};
use crate::world::World;

/// The most actions after which a node must have come to the end: a load and a check over holes of
/// 50,000 ids take about a hundred.
const PATIENCE: usize = 3_000;

/// Calms down and checks.
pub fn calm_down(world: &mut World) -> Result<(), Violation> {
    for writer in 0..usize::from(world.config.writers) {
        world.step(Action::Commit { writer, heard: true })?;
    }
    let nodes = 0..world.nodes.len();
    for node in nodes.clone() {
        world.nodes[node].asleep_until = 0;
        finish(world, node)?;
        check_once(world, node)?;
        invariants::converged(&world.nodes[node], &world.database, false)?;
    }
    finish_foreign(world)?;
    for node in nodes.clone() {
        check_once(world, node)?;
        let healthy = world.nodes[node].stained.is_empty() && !world.config.tampering;
        audit_once(world, node, healthy)?;
        check_once(world, node)?;
        invariants::converged(&world.nodes[node], &world.database, true)?;
    }
    nodes.into_iter().try_for_each(|node| answers_everybody(world, node))
}

/// Who waits is answered, also who waits for pings through all nodes (I12).
fn answers_everybody(world: &mut World, node: usize) -> Result<(), Violation> {
    world.step(Action::Sync { node })?;
    for from in 0..world.nodes.len() {
        while world.step(Action::Deliver { from, to: node })? {}
    }
    finish(world, node)?;
    if world.nodes[node].watch.is_done() {
        return Ok(());
    }
    Err(violation("I12 fence", format!("node {node} leaves callers without an answer")))
}

/// What was in progress comes to its end.
fn finish(world: &mut World, node: usize) -> Result<(), Violation> {
    let fault = Fault::None;
    for _ in 0..PATIENCE {
        let progress = world.step(Action::Work { node, limit: 3 })?
            || world.step(Action::Answer { node, fault, rows: 3 })?
            || world.step(Action::AnswerAudit { node, fault, rows: 3 })?
            || world.step(Action::Take { node })?
            || world.step(Action::Reload { node, has_effect: true })?
            || world.nodes[node].watch.is_pausing() && world.step(Action::Wait { seconds: 1 })?;
        if !progress {
            return Ok(());
        }
    }
    let text = format!("node {node} is not done after {PATIENCE} actions");
    Err(violation("liveness", text))
}

/// One check, and the reload if it asks for one: with a well database that must be enough.
fn check_once(world: &mut World, node: usize) -> Result<(), Violation> {
    let before = world.coverage.count(Corner::Current);
    world.step(Action::Check { node })?;
    finish(world, node)?;
    if world.coverage.count(Corner::Current) > before && world.nodes[node].is_idle() {
        return Ok(());
    }
    Err(violation("liveness", format!("node {node} checked, but is not current")))
}

fn audit_once(world: &mut World, node: usize, healthy: bool) -> Result<(), Violation> {
    let before = world.coverage.count(Corner::AuditSuspicious);
    world.step(Action::Verify { node })?;
    finish(world, node)?;
    if healthy && world.coverage.count(Corner::AuditSuspicious) > before {
        return Err(violation(
            "audits",
            format!("node {node} is right, but its audit suspects it"),
        ));
    }
    Ok(())
}

fn finish_foreign(world: &mut World) -> Result<(), Violation> {
    let Some(foreign) = &mut world.foreign else { return Ok(()) };
    let (database, coverage) = (&mut world.database, &mut world.coverage);
    // Twice: it may have been at the end of a round that began before the last change.
    let mut finish = || (0..PATIENCE).any(|_| foreign.step(database, coverage) == Some(true));
    if !(finish() && finish()) {
        return Err(violation("liveness", "the foreign node is never done".into()));
    }
    invariants::foreign_converged(foreign, database)
}
