//! A node that follows the contract with other code (I9): plain, slow and careful.
//!
//! It reads pages of events joined with rows, fills gaps one id at a time, reloads whenever the log
//! does not begin and end as it should, and knows nothing of tails.

use crate::config::{Domain, HostType, NodeConfig};
use crate::coverage::{Corner, Coverage};
use crate::database::Database;
use std::collections::BTreeMap;

/// Rows in a page.
const ROWS: usize = 4;
/// Events in a page; many, for the sake of holes full of dummies.
const EVENTS: usize = 1_000;
/// Gaps filled in one action, each by a statement of its own.
const FILL: usize = 5_000;

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Walks the log before a load: from, to.
    Walk(i64, i64),
    /// Reads rows behind this id.
    Rows(i64),
    /// Reads events.
    Events,
}

/// The node.
pub struct Foreign {
    config: NodeConfig,
    /// Its table of dynamic domains.
    pub table: BTreeMap<Domain, HostType>,
    loading: BTreeMap<Domain, HostType>,
    /// The oldest and the newest id it has applied; `None`: it must load.
    position: Option<(i64, i64)>,
    stage: Stage,
}

impl Foreign {
    /// A node that has loaded nothing yet.
    pub fn new(config: &NodeConfig) -> Self {
        let (table, loading) = (BTreeMap::new(), BTreeMap::new());
        Foreign { config: config.clone(), table, loading, position: None, stage: Stage::Idle }
    }

    /// Its operator restarts it: it has no way to notice a failover.
    pub fn restart(&mut self) {
        (self.position, self.stage) = (None, Stage::Idle);
        self.loading.clear();
    }

    /// The database does not answer.
    pub fn give_up(&mut self) {
        match self.stage {
            Stage::Walk(..) | Stage::Rows(_) => self.restart(),
            Stage::Idle | Stage::Events => self.stage = Stage::Idle,
        }
    }

    /// What it should have.
    pub fn expected(&self, database: &Database) -> BTreeMap<Domain, HostType> {
        let routes = |domain: &Domain| {
            let is_static = self.config.statics.iter().any(|(name, _)| name == domain);
            let host_type = database.routes(domain, &self.config.allowed)?;
            (!is_static).then_some((*domain, host_type))
        };
        database.rows.keys().filter_map(routes).collect()
    }

    /// Does a statement. `Some(true)` when it has everything up to the newest event, `None` when it
    /// waits for a transaction in flight.
    pub fn step(&mut self, database: &mut Database, coverage: &mut Coverage) -> Option<bool> {
        match self.stage {
            Stage::Idle => self.begin(database, coverage),
            Stage::Walk(from, to) => return self.walk(from, to, database, coverage),
            Stage::Rows(after) => return Some(self.read_rows(after, database)),
            Stage::Events => return self.read_events(database, coverage),
        }
        Some(false)
    }

    fn begin(&mut self, database: &Database, coverage: &mut Coverage) {
        let bounds = database.bounds();
        self.stage = match (self.position, bounds) {
            (Some((floor, newest)), Some((oldest, last)))
                if floor <= oldest && oldest <= newest && newest <= last =>
            {
                Stage::Events
            }
            (None, Some((oldest, last))) => Stage::Walk(oldest, last),
            (None, None) => Stage::Rows(0),
            _ => {
                coverage.hit(Corner::ForeignReload);
                self.position = None;
                return self.begin(database, coverage);
            }
        };
    }

    fn walk(
        &mut self,
        from: i64,
        to: i64,
        database: &mut Database,
        coverage: &mut Coverage,
    ) -> Option<bool> {
        if database.bounds().is_none_or(|(oldest, _)| oldest > from) {
            self.restart(); // cleaned meanwhile
            return Some(false);
        }
        let missing = (from..=to).filter(|id| !database.log.contains_key(id)).take(FILL);
        for id in missing.collect::<Vec<_>>() {
            fill(id, database, coverage)?;
        }
        if database.log.range(from..=to).count() as i64 == to - from + 1 {
            self.position = Some((from, to));
            self.stage = Stage::Rows(0);
        }
        Some(false)
    }

    fn read_rows(&mut self, after: i64, database: &Database) -> bool {
        let rows = database.page(after, ROWS);
        let Some((_, last)) = rows.last() else {
            self.table = std::mem::take(&mut self.loading);
            self.stage = Stage::Idle;
            // Over an empty log it is at no position that it would go on from.
            self.position.get_or_insert((1, 0));
            return database.bounds().is_none();
        };
        self.stage = Stage::Rows(last.id);
        for (domain, _) in rows {
            let mut table = std::mem::take(&mut self.loading);
            self.judge(domain, database, &mut table);
            self.loading = table;
        }
        false
    }

    fn read_events(&mut self, database: &mut Database, coverage: &mut Coverage) -> Option<bool> {
        let Some((floor, newest)) = self.position else {
            self.restart();
            return Some(false);
        };
        if database.bounds().is_none_or(|(oldest, _)| oldest > newest) {
            self.stage = Stage::Idle; // out of date
            return Some(false);
        }
        let page = database.events(newest + 1, i64::MAX, EVENTS);
        for (event, expected) in page.iter().zip(newest + 1..) {
            if event.id != expected {
                for id in (expected..event.id).take(FILL) {
                    fill(id, database, coverage)?;
                }
                return Some(false);
            }
            if let Some((domain, _)) = database.rows.get_key_value(&*event.domain) {
                let (domain, mut table) = (*domain, std::mem::take(&mut self.table));
                self.judge(domain, database, &mut table);
                self.table = table;
            }
            self.position = Some((floor, event.id));
        }
        if page.is_empty() {
            self.stage = Stage::Idle;
        }
        Some(page.is_empty())
    }

    fn judge(&self, domain: Domain, database: &Database, table: &mut BTreeMap<Domain, HostType>) {
        if self.config.statics.iter().any(|(name, _)| *name == domain) {
            return;
        }
        match database.routes(domain, &self.config.allowed) {
            Some(host_type) => table.insert(domain, host_type),
            None => table.remove(domain),
        };
    }
}

/// A dummy, unless the event is there; `None` if a transaction in flight has inserted it.
fn fill(id: i64, database: &mut Database, coverage: &mut Coverage) -> Option<()> {
    if database.is_locked(&[id]) {
        return None;
    }
    if !database.log.contains_key(&id) {
        coverage.add(Corner::ForeignDummy, database.settle(&[id]));
    }
    Some(())
}
