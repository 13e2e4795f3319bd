//! How far the node is behind the event log, now and over the last minutes.

use crate::node::Snapshot;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples of the lag are taken so often, and so many are kept: 15 minutes.
pub const SAMPLE: Duration = Duration::from_secs(5);
const SAMPLES: usize = 180;

/// How far the node is behind.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
pub struct Lag {
    /// Events that are known and not applied yet.
    pub lag: Option<u64>,
    /// 0, or seconds since the node was last known to be current.
    pub lag_seconds: Option<f64>,
}

impl Lag {
    pub const UNKNOWN: Lag = Lag { lag: None, lag_seconds: None };

    pub fn of(snapshot: &Snapshot) -> Lag {
        let Some(position) = snapshot.position else { return Lag::UNKNOWN };
        let behind = snapshot.newest_event.map_or(0, |newest| newest.saturating_sub(position));
        let lag = u64::try_from(behind).unwrap_or(0);
        let is_current = lag == 0 && !snapshot.failing;
        let lag_seconds = if is_current { Some(0.0) } else { snapshot.seconds_since_check };
        Lag { lag: Some(lag), lag_seconds }
    }
}

/// The lag over the last minutes.
#[derive(Default)]
pub struct History(Mutex<VecDeque<(Instant, Lag)>>);

impl History {
    pub fn add(&self, lag: Lag) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((Instant::now(), lag));
    }

    /// Oldest first: how long ago each was taken.
    pub fn samples(&self) -> Vec<(Duration, Lag)> {
        self.0.lock().iter().map(|(at, lag)| (at.elapsed(), *lag)).collect()
    }
}
