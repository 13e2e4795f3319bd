//! One check of the log, or one load: a state machine without I/O.
//!
//! [`start`] gives the first [`Step`]. Each step says what to do (its public fields) and takes the
//! result by its method `answer`, which gives the next step, until [`Step::Finished`]. A failure ends
//! the check: whoever runs it drops the step and starts again later, from the position of the last
//! batch that was applied.
//!
//! Why the steps are as they are:
//!
//! - Ids are handed out before the commit, so a missing id may still appear. Ids missing between ids
//!   that were seen are settled ([`SettleGaps`]) before the position passes them (I3). What comes
//!   behind a gap is applied at once all the same: an event only says "look at this domain again",
//!   and looking twice does no harm; so a transaction that stays open holds up nobody else.
//! - The oldest id can fall, too: what appears below the covered ids is walked like the rest, but
//!   only after a look at covered events: in another log those ids would not be gaps (I4, I11).
//! - Every page begins with events that are covered already. They must be the same as before; then
//!   the ids between them and the next ones are gaps, and not events cleaned away (I4), and the log is
//!   the one that was followed so far (I11).
//! - A load first settles the log as it finds it, and then reads all domains: whatever those events
//!   announced is then among them.

use crate::audit::newest_rows;
use crate::batch::Change;
use crate::position::{Covered, Position, Recognition, TAIL};
use domain_store::{Event, Setting, Status};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// The most events in a page.
pub const PAGE: u32 = 50_000;
/// The most ids that one statement settles.
pub const GAPS: usize = 10_000;
/// How often a check begins anew without getting any further: the log is changing under it.
const ROUNDS: u32 = 5;
/// A position stays trustworthy for at least this long, however short `event_max_age` is: four times
/// the 30 s between two checks.
const MIN_TRUST: Duration = Duration::from_secs(120);

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Read the oldest and the newest event id.
    ReadBounds(ReadBounds),
    /// Read events.
    ReadEvents(ReadEvents),
    /// Insert dummies where there is no event.
    SettleGaps(SettleGaps),
    /// Read the rows of domains.
    ReadSettings(ReadSettings),
    /// Apply changes to the table.
    Apply(Apply),
    /// Read all enabled domains, apply them to the table, remove all others.
    Load(Load),
    /// Nothing more to do.
    Finished(Outcome),
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The table has all changes up to the newest event.
    Current,
    /// All domains were loaded.
    Loaded,
    /// Everything must be loaded again; nothing was written to the log.
    Reload(Reason),
    /// The log changed under the check; try again later.
    Unsettled,
}

/// Why everything must be loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The events after the position have been cleaned away.
    TooOld,
    /// The log lost events that had been seen.
    WentBackwards,
}

/// Starts a check that goes on from a position, or a load if there is none.
///
/// `max_age` is the age from which on events are cleaned away.
pub fn start(position: Option<Position>, now: SystemTime, max_age: Duration) -> Step {
    if let Some(Position { confirmed, .. }) = &position {
        // Events may have come and been cleaned away again since. An empty log cannot tell, and
        // neither can one in which they came below the covered ids.
        let age = now.duration_since(*confirmed).unwrap_or_default();
        if age >= max_age.max(MIN_TRUST) {
            return Step::Finished(Outcome::Reload(Reason::TooOld));
        }
    }
    let task = if position.is_some() { Task::Follow } else { Task::Load };
    let covered = position.and_then(|position| position.covered);
    Walk { task, covered, now, rounds: 0 }.read_bounds()
}

/// What is known in the middle of a check.
#[derive(Debug)]
struct Walk {
    task: Task,
    covered: Option<Covered>,
    now: SystemTime,
    rounds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Load,
    Follow,
}

/// What to do after the changes of a page are applied.
#[derive(Debug)]
enum Next {
    Settle(Vec<i64>),
    ReadUpto(i64),
    ReadBounds,
    End,
}

impl Walk {
    fn position(&self) -> Position {
        Position { covered: self.covered.clone(), confirmed: self.now }
    }

    fn end(self) -> Step {
        match self.task {
            Task::Follow => Step::Finished(Outcome::Current),
            Task::Load => Step::Load(Load { position: self.position() }),
        }
    }

    /// The log is not the one that was followed so far. A load just begins anew, later.
    fn lost(self, reason: Reason) -> Step {
        Step::Finished(match self.task {
            Task::Follow => Outcome::Reload(reason),
            Task::Load => Outcome::Unsettled,
        })
    }

    fn again(mut self) -> Step {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Step::Finished(Outcome::Unsettled);
        }
        self.read_bounds()
    }

    fn read_bounds(self) -> Step {
        Step::ReadBounds(ReadBounds { is_recognised: false, walk: self })
    }

    /// Reads on from what is covered. The covered events at the start of the page do not count as
    /// part of it.
    fn read_upto(self, upto: i64, oldest: i64) -> Step {
        let from = self.covered.as_ref().map_or(oldest, Covered::tail_start);
        Step::ReadEvents(ReadEvents {
            from,
            upto,
            limit: PAGE + TAIL as u32,
            part: Part::Above,
            walk: self,
        })
    }

    /// A page of new events is covered as far as `self.covered` says; the domains are to be looked at.
    fn read_settings_of(self, events: &[Event], next: Next) -> Step {
        let mut seen = HashSet::new();
        let named = events.iter().map(|event| &event.domain);
        let domains: Vec<String> =
            named.filter(|domain| !domain.is_empty() && seen.insert(*domain)).cloned().collect();
        match self.task {
            Task::Load => self.go_on(next),
            Task::Follow if domains.is_empty() => Step::Apply(Apply {
                changes: Vec::new(),
                position: self.position(),
                next,
                walk: self,
            }),
            Task::Follow => Step::ReadSettings(ReadSettings { domains, next, walk: self }),
        }
    }

    fn go_on(self, next: Next) -> Step {
        match next {
            Next::Settle(ids) => Step::SettleGaps(SettleGaps { ids, walk: self }),
            Next::ReadUpto(upto) => self.read_upto(upto, upto),
            Next::ReadBounds => self.read_bounds(),
            Next::End => self.end(),
        }
    }
}

/// See [`Step::ReadBounds`].
#[derive(Debug)]
pub struct ReadBounds {
    /// Has the log just been seen to be the one that was followed so far?
    is_recognised: bool,
    walk: Walk,
}

impl ReadBounds {
    /// The oldest and the newest id, or `None` if the log is empty.
    pub fn answer(self, bounds: Option<(i64, i64)>) -> Step {
        let ReadBounds { is_recognised, walk } = self;
        match (&walk.covered, bounds) {
            (None, None) => walk.end(),
            (None, Some((oldest, newest))) => walk.read_upto(newest, oldest),
            (Some(_), None) => walk.lost(Reason::WentBackwards),
            (Some(covered), Some((_, newest))) if newest < covered.newest => {
                walk.lost(Reason::WentBackwards)
            }
            (Some(covered), Some((oldest, _))) if oldest > covered.newest => {
                walk.lost(Reason::TooOld)
            }
            (Some(covered), Some((oldest, _))) if oldest < covered.floor => {
                if !is_recognised {
                    let (from, upto) = (covered.tail_start(), covered.newest);
                    let limit = TAIL as u32;
                    return Step::ReadEvents(ReadEvents {
                        from,
                        upto,
                        limit,
                        part: Part::Tail,
                        walk,
                    });
                }
                let floor = covered.floor;
                // By ranges of ids, downwards, so that the covered ids stay in one piece.
                let from = oldest.max(floor.saturating_sub(i64::from(PAGE)));
                let (upto, limit) = (floor - 1, PAGE);
                let part = Part::Below { floor: from, is_oldest: from == oldest };
                Step::ReadEvents(ReadEvents { from, upto, limit, part, walk })
            }
            (Some(_), Some((oldest, newest))) => walk.read_upto(newest, oldest),
        }
    }
}

/// See [`Step::ReadEvents`].
#[derive(Debug)]
pub struct ReadEvents {
    /// The first id.
    pub from: i64,
    /// The last id.
    pub upto: i64,
    /// The most events.
    pub limit: u32,
    part: Part,
    walk: Walk,
}

/// Which events of the log a page has.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// The newest covered ones, only to recognise the log.
    Tail,
    /// Some below the covered ones. The floor will be the first id; is that the oldest event?
    Below { floor: i64, is_oldest: bool },
    /// The newest covered ones and what follows.
    Above,
}

impl ReadEvents {
    /// The events, by id.
    pub fn answer(self, events: Vec<Event>) -> Step {
        match self.part {
            Part::Tail => self.tail(&events),
            Part::Below { floor, is_oldest } => self.below(floor, is_oldest, &events),
            Part::Above => self.above(&events),
        }
    }

    fn tail(self, events: &[Event]) -> Step {
        let walk = self.walk;
        match walk.covered.as_ref().map(|covered| covered.recognise(events)) {
            Some(Recognition::Gone) => walk.lost(Reason::TooOld),
            Some(Recognition::Differs) => walk.lost(Reason::WentBackwards),
            Some(Recognition::Same(_)) | None => {
                Step::ReadBounds(ReadBounds { is_recognised: true, walk })
            }
        }
    }

    fn below(self, floor: i64, is_oldest: bool, events: &[Event]) -> Step {
        let ReadEvents { upto, mut walk, .. } = self;
        if is_oldest && events.first().is_none_or(|first| first.id != floor) {
            return walk.again(); // deleted meanwhile, and so may be what is missing behind it
        }
        let present: HashSet<i64> = events.iter().map(|event| event.id).collect();
        let gaps: Vec<i64> = (floor..=upto).filter(|id| !present.contains(id)).collect();
        if gaps.is_empty() {
            if let Some(covered) = &mut walk.covered {
                covered.extend_down(floor, events);
            }
            walk.rounds = 0;
            walk.read_settings_of(events, Next::ReadBounds)
        } else {
            walk.read_settings_of(events, Next::Settle(gaps))
        }
    }

    fn above(self, events: &[Event]) -> Step {
        let ReadEvents { upto, limit, mut walk, .. } = self;
        let full = events.len() >= limit as usize;
        let (mut covered, new) = match walk.covered.take() {
            Some(covered) => match covered.recognise(events) {
                Recognition::Same(known) => (covered, &events[known..]),
                Recognition::Gone => return walk.lost(Reason::TooOld),
                Recognition::Differs => return walk.lost(Reason::WentBackwards),
            },
            None => match events.first() {
                // The floor is the first event seen; its domain is to be looked at like the rest.
                Some(first) => (Covered::starting_at(first.clone()), events),
                None => return walk.again(),
            },
        };
        if new.is_empty() {
            // If the bounds said more, it has been deleted meanwhile: look again.
            let reached = covered.newest >= upto;
            walk.covered = Some(covered);
            return if reached { walk.end() } else { walk.again() };
        }
        let before = covered.newest;
        let gaps = cover(&mut covered, new);
        if covered.newest > before {
            walk.rounds = 0;
        }
        let done = covered.newest >= upto || !full;
        walk.covered = Some(covered);
        let next = match (gaps.is_empty(), done) {
            (false, _) => Next::Settle(gaps),
            (true, false) => Next::ReadUpto(upto),
            (true, true) => Next::End,
        };
        walk.read_settings_of(new, next)
    }
}

/// Covers the events up to the first gap, and returns the ids missing there and behind, at most
/// [`GAPS`].
fn cover(covered: &mut Covered, events: &[Event]) -> Vec<i64> {
    let mut gaps = Vec::new();
    let mut last = covered.newest;
    for event in events {
        let room = GAPS - gaps.len();
        gaps.extend((last.saturating_add(1)..event.id).take(room));
        if gaps.is_empty() && event.id > covered.newest {
            covered.extend(event.clone());
        }
        last = event.id;
    }
    gaps
}

/// See [`Step::SettleGaps`].
#[derive(Debug)]
pub struct SettleGaps {
    /// The ids that have no event.
    pub ids: Vec<i64>,
    walk: Walk,
}

impl SettleGaps {
    /// Each of the ids has an event now, or it has a dummy.
    pub fn answer(self) -> Step {
        self.walk.again()
    }
}

/// See [`Step::ReadSettings`].
#[derive(Debug)]
pub struct ReadSettings {
    /// The domains, each once.
    pub domains: Vec<String>,
    next: Next,
    walk: Walk,
}

impl ReadSettings {
    /// The rows of the domains that have one, in any order. Of several rows for one domain (MySQL
    /// has no key on it) the one with the newest id counts.
    pub fn answer(self, settings: Vec<Setting>) -> Step {
        let ReadSettings { domains, next, walk } = self;
        let mut rows = newest_rows(settings);
        let change = |domain: String| match rows.remove(&domain) {
            Some(Setting { host_type, status: Status::Enabled, .. }) => {
                Change::Put { domain: domain.into(), host_type: host_type.into() }
            }
            _ => Change::Remove { domain: domain.into() },
        };
        let changes = domains.into_iter().map(change).collect();
        Step::Apply(Apply { changes, position: walk.position(), next, walk })
    }
}

/// See [`Step::Apply`].
#[derive(Debug)]
pub struct Apply {
    /// The changes, one per domain.
    pub changes: Vec<Change>,
    /// Where the table stands when they are applied.
    pub position: Position,
    next: Next,
    walk: Walk,
}

impl Apply {
    /// The changes are on their way, in order.
    pub fn answer(self) -> Step {
        self.walk.go_on(self.next)
    }
}

/// See [`Step::Load`].
#[derive(Debug)]
pub struct Load {
    /// Where the table stands when everything is applied.
    pub position: Position,
}

impl Load {
    /// All changes are on their way, in order.
    pub fn answer(self) -> Step {
        Step::Finished(Outcome::Loaded)
    }
}
