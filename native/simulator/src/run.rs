//! A history: from a seed, or replayed.

use crate::action::Action;
use crate::config::Config;
use crate::coverage::{Corner, Coverage};
use crate::generator::Generator;
use crate::quiescence::calm_down;
use crate::violation::{Violation, violation};
use crate::world::World;
use fastrand::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A history and what came of it.
pub struct Run {
    /// The world.
    pub config: Config,
    /// What happened in it, until it calmed down. What was not possible is left out.
    pub actions: Vec<Action>,
    /// The invariant that was broken, if any.
    pub result: Result<(), Violation>,
    /// What was reached.
    pub coverage: Coverage,
    /// All actions, also of calming down.
    pub steps: u64,
    /// The same for the same run.
    pub digest: u64,
    story: Vec<String>,
}

/// Runs a seed.
pub fn seed(seed: u64) -> Run {
    let mut rng = Rng::with_seed(seed);
    let config = Config::new(&mut rng, seed);
    let mut generator = Generator::new(rng, &config);
    // So many draws may be impossible.
    let mut draws = config.actions * 4;
    run(World::new(&config), |world| {
        draws = draws.checked_sub(1)?;
        (world.done < world.config.actions).then(|| generator.next(world))
    })
}

/// Replays a history, or a part of one.
pub fn replay(config: &Config, actions: &[Action]) -> Run {
    let mut actions = actions.iter().copied();
    run(World::new(config), |_| actions.next())
}

/// Replays a history and prints what happened, also while all calms down.
pub fn story(config: &Config, actions: &[Action]) -> Vec<String> {
    let mut actions = actions.iter().copied();
    let world = World { story: Some(Vec::new()), ..World::new(config) };
    run(world, |_| actions.next()).story
}

fn run(mut world: World, mut next: impl FnMut(&World) -> Option<Action>) -> Run {
    let mut actions = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        while let Some(action) = next(&world) {
            actions.push(action);
            if world.step(action)? {
                world.done += 1;
            } else {
                actions.pop();
            }
        }
        calm_down(&mut world)
    }));
    let panicked = || Err(violation("no panic", "production's code panicked".into()));
    let (reused, twins) = world.database.reused;
    world.coverage.add(Corner::IdReused, reused);
    world.coverage.add(Corner::Twin, twins);
    world.coverage.add(Corner::Disturbed, u64::from(world.database.disturbed));
    Run {
        config: world.config,
        actions,
        result: result.unwrap_or_else(|_| panicked()),
        coverage: world.coverage,
        steps: world.database.step,
        digest: world.digest,
        story: world.story.unwrap_or_default(),
    }
}
