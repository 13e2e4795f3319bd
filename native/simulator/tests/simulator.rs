//! The simulator itself: a part of its seeds, and that its reports can be relied on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use simulator::mutants::MUTANTS;
use simulator::run::{Run, replay, seed};
use simulator::seeds::seeds;
use simulator::shrink::shrink;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_few_hundred_seeds_break_nothing() {
    let failed = seeds(0, 300).failed;
    assert_eq!(failed, None, "make sim SEED=… tells the story");
}

#[test]
fn a_seed_is_always_the_same_run() {
    for number in 0..20 {
        let (once, twice) = (seed(number), seed(number));
        assert_eq!(once.digest, twice.digest, "seed {number}");
        assert_eq!(once.steps, twice.steps, "seed {number}");
        assert_eq!(once.actions, twice.actions, "seed {number}");
    }
}

#[test]
fn a_history_replays() {
    for number in 0..20 {
        let run = seed(number);
        let again = replay(&run.config, &run.actions);
        assert_eq!(run.digest, again.digest, "seed {number}");
    }
}

/// A history in which somebody tampers with rows, in a world said to have nobody who does.
fn failing() -> Run {
    let tampered = (0..).map(seed).filter(|run| run.config.tampering);
    let mut replayed = tampered.map(|mut run| {
        run.config.tampering = false;
        replay(&run.config, &run.actions)
    });
    replayed.find(|run| run.result.is_err() && run.actions.len() > 50).unwrap()
}

#[test]
fn a_failing_history_shrinks_to_what_it_needs() {
    let long = failing();
    let (result, actions) = (long.result.clone(), long.actions.len());
    let short = shrink(long, Duration::from_secs(20));
    let (short_result, left) = (short.result.clone(), short.actions.len());
    assert_eq!(short_result.unwrap_err().invariant, result.unwrap_err().invariant);
    assert!(left < 10, "{left} of {actions} actions are left: {:?}", short.actions);
    assert!(replay(&short.config, &short.actions).result.is_err(), "it does not replay");
}

#[test]
fn every_mutant_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stale: Vec<String> = MUTANTS
        .iter()
        .filter_map(|mutant| {
            let source = std::fs::read_to_string(root.join(mutant.file)).unwrap();
            mutant.apply(&source).err().map(|stale| stale.to_string())
        })
        .collect();
    assert_eq!(stale, [""; 0]);
}
