//! Many seeds, on all processors.

use crate::coverage::Coverage;
use crate::run::seed;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What all of them came to.
#[derive(Default)]
pub struct Total {
    /// What was reached.
    pub coverage: Coverage,
    /// All actions.
    pub steps: u64,
    /// The smallest seed that broke an invariant; the same in each run.
    pub failed: Option<u64>,
}

impl Total {
    fn add(&mut self, other: &Total) {
        self.coverage.merge(&other.coverage);
        self.steps += other.steps;
        self.failed = [self.failed, other.failed].into_iter().flatten().min();
    }
}

/// Runs so many seeds, until one breaks an invariant.
pub fn seeds(from: u64, count: u64) -> Total {
    let (next, stop, total) = (AtomicU64::new(from), AtomicBool::new(false), Mutex::default());
    let work = || {
        let mut mine = Total::default();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= from.saturating_add(count) {
                break;
            }
            let run = seed(number);
            mine.coverage.merge(&run.coverage);
            mine.steps += run.steps;
            if run.result.is_err() {
                mine.failed = Some(number);
                // The smaller ones have all begun, and come to their end.
                stop.store(true, Ordering::Relaxed);
            }
        }
        let mut total: std::sync::MutexGuard<'_, Total> =
            total.lock().unwrap_or_else(PoisonError::into_inner);
        total.add(&mine);
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}
