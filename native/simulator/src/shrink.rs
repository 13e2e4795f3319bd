//! Makes a history that breaks an invariant as short as it gets.

use crate::action::Action;
use crate::run::{Run, replay};
use std::time::{Duration, Instant};

/// Leaves out what is not needed to break the same invariant: halves first, single actions last, and
/// again until nothing more can be left out or the time is up.
pub fn shrink(run: Run, time: Duration) -> Run {
    let Err(violation) = &run.result else { return run };
    let (invariant, end) = (violation.invariant, Instant::now() + time);
    let mut best = run;
    let mut size = best.actions.len().div_ceil(2);
    while size > 0 && Instant::now() < end {
        let before = best.actions.len();
        let mut at = 0;
        while at < best.actions.len() && Instant::now() < end {
            let shorter = replay(&best.config, &without(&best.actions, at, size));
            let same = shorter.result.as_ref().is_err_and(|other| other.invariant == invariant);
            if same && shorter.actions.len() < best.actions.len() {
                best = shorter;
            } else {
                at += size;
            }
        }
        let shrunk = best.actions.len() < before;
        size = if size > 1 { size / 2 } else { usize::from(shrunk) };
    }
    best
}

fn without(actions: &[Action], at: usize, size: usize) -> Vec<Action> {
    let end = actions.len().min(at + size);
    [&actions[..at], &actions[end..]].concat()
}
