//! `simulator seeds N [FROM]`: runs N seeds, and says what was reached.
//! `simulator seed K`: runs one seed.
//!
//! The exit code is 1 if an invariant was broken; then the shortest history that breaks it is printed.

use simulator::run::{Run, seed, story};
use simulator::shrink::shrink;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a failing history is shrunk.
const SHRINKING: Duration = Duration::from_secs(10);
/// How many actions of calming down are shown.
const CALM_SHOWN: usize = 20;
/// From so many seeds on, each corner must have been reached.
const ALL_CORNERS: u64 = 2_000;

fn main() -> ExitCode {
    // A panic of production's code is reported like any other failure.
    std::panic::set_hook(Box::new(|_| ()));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map_or(Some(0), |text| text.parse::<u64>().ok());
    let ended = match (arguments.first().map(String::as_str), number(1), number(2)) {
        (Some("seeds"), Some(count), Some(from)) => seeds(from, count),
        (Some("seed"), Some(number), _) => one(number),
        _ => {
            eprintln!("usage: simulator seeds N [FROM] | simulator seed K");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) => ExitCode::from(2),
    }
}

fn seeds(from: u64, count: u64) -> io::Result<bool> {
    let began = Instant::now();
    let total = simulator::seeds::seeds(from, count);
    if let Some(number) = total.failed {
        return one(number);
    }
    let mut out = io::stdout();
    let (steps, seconds) = (total.steps, began.elapsed().as_secs_f32());
    writeln!(out, "{}", total.coverage)?;
    writeln!(out, "{count} seeds, 0 violations, {steps} steps, {seconds:.1} s")?;
    let missed = total.coverage.missed();
    if count >= ALL_CORNERS && !missed.is_empty() {
        writeln!(out, "never reached: {}", missed.join("; "))?;
        return Ok(false);
    }
    Ok(true)
}

fn one(number: u64) -> io::Result<bool> {
    let run = seed(number);
    let mut out = io::stdout();
    let Err(violation) = &run.result else {
        writeln!(out, "{}", run.coverage)?;
        writeln!(
            out,
            "seed {number}: no violation, {} steps, digest {:016x}",
            run.steps, run.digest
        )?;
        return Ok(true);
    };
    writeln!(out, "seed {number}: {} broken", violation.invariant)?;
    let all = run.actions.len();
    let short = shrink(run, SHRINKING);
    report(&mut out, &short, all)?;
    writeln!(out, "replay: make sim SEED={number}")?;
    Ok(false)
}

fn report(out: &mut impl Write, run: &Run, all: usize) -> io::Result<()> {
    writeln!(out, "\n{:?}\n", run.config)?;
    writeln!(out, "{} of {all} actions:", run.actions.len())?;
    let story = story(&run.config, &run.actions);
    let (history, calm) = story.split_at(run.actions.len().min(story.len()));
    for (at, action) in history.iter().enumerate() {
        writeln!(out, "{at:4} {action}")?;
    }
    writeln!(out, "     then all calms down, and at last:")?;
    for action in &calm[calm.len().saturating_sub(CALM_SHOWN)..] {
        writeln!(out, "     {action}")?;
    }
    if let Err(violation) = &run.result {
        writeln!(out, "\n{}: {}", violation.invariant, violation.text)?;
    }
    Ok(())
}
