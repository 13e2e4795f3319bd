//! What the simulator knows about a run of production's driver, and what it may write (I4).

use crate::database::Database;
use crate::violation::{Violation, violation};
use domain_store::Enabled;
use domain_sync::position::Position;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// What the simulator knows about a run.
pub struct Facts {
    /// The step at which it began.
    pub step: u64,
    /// The era of the database then.
    pub era: u32,
    /// When it began.
    pub began: i64,
    /// When it asked the database last.
    pub asked: i64,
    /// The ids that the position covered when it began.
    pub covered: Option<RangeInclusive<i64>>,
    /// Was it a load?
    pub is_load: bool,
    /// The newest id in the log then.
    pub newest: Option<i64>,
    /// The smallest and the largest id it has read.
    pub read: Option<(i64, i64)>,
    /// The step at which it read events last.
    pub read_at: u64,
    /// Was the position older than the oldest event when it first read the bounds?
    pub out_of_date: Option<bool>,
    /// Rows of a load that it has not fetched.
    pub rows: VecDeque<Enabled>,
}

impl Facts {
    /// Those of a run that begins now.
    pub fn new(database: &Database, position: Option<&Position>) -> Self {
        Facts {
            step: database.step,
            era: database.era,
            began: database.now,
            asked: database.now,
            covered: position.and_then(Position::ids),
            is_load: position.is_none(),
            newest: database.bounds().map(|(_, newest)| newest),
            read: None,
            read_at: 0,
            out_of_date: None,
            rows: VecDeque::new(),
        }
    }

    /// It has read these.
    pub fn has_read(&mut self, ids: impl IntoIterator<Item = i64>) {
        for id in ids {
            let (low, high) = self.read.unwrap_or((id, id));
            self.read = Some((low.min(id), high.max(id)));
        }
    }

    /// A check is about to write dummies (I4).
    ///
    /// Assumption: what came for a missing id after the read that missed it is not deleted before the
    /// check settles it, milliseconds later; if an operator does just that, a dummy comes below the
    /// oldest event, and does no harm. What had come before that read must never get a dummy.
    pub fn may_settle(&self, database: &Database, ids: &[i64]) -> Result<(), Violation> {
        if self.out_of_date == Some(true) {
            let text =
                format!("the position {:?} was out of date, but {ids:?} written", self.covered);
            return Err(violation("I4 damage to the log", text));
        }
        let (low, high) = self.read.unwrap_or_default();
        if let Some(id) = ids.iter().find(|id| **id <= low || **id >= high) {
            let text = format!("dummy {id} is not between {low} and {high}, which were read");
            return Err(violation("I4 damage to the log", text));
        }
        let same_log = self.era == database.era && !database.disturbed;
        let resurrected = |id: &&i64| same_log && database.was_cleaned(**id, self.read_at);
        match ids.iter().find(resurrected) {
            Some(id) => {
                let text = format!("dummy {id} where there was an event, now cleaned");
                Err(violation("I4 damage to the log", text))
            }
            None => Ok(()),
        }
    }
}
