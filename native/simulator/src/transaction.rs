//! Transactions of writers: a change of a domain and its event.

use crate::config::Domain;
use crate::database::Database;
use crate::records::{Change, Commit, Entry, Row, Transaction};
use domain_store::Status;

/// Seconds after which the database ends a transaction that is still open.
///
/// Assumption: less than `event_max_age`. Were an event younger than its id by more than that, a
/// cleaner could delete it before anybody saw it.
pub const LONGEST: i64 = 60;

impl Database {
    /// Begins a transaction; `false` if it would wait for another, or would change nothing.
    pub fn begin(&mut self, writer: usize, domain: Domain, change: Change, late: bool) -> bool {
        let rows = self.rows.get(domain).cloned().unwrap_or_default();
        // Without a key on the domain, two inserts of one domain do not wait for each other.
        let locks = !(self.duplicates && matches!(change, Change::Insert(_)));
        let waits = |flight: &Transaction| flight.domain == domain && flight.locks && locks;
        if self.flights[writer].is_some() || self.flights.iter().flatten().any(waits) {
            return false;
        }
        let Some(insert) = self.changed_rows(&rows, change) else { return false };
        let events = if matches!(change, Change::Replace(_)) { 2 } else { 1 };
        let ids: Vec<i64> = (0..events).map(|_| self.next_id(domain)).collect();
        if !late && ids.iter().any(|id| self.log.contains_key(id)) {
            return true; // the key is there already, as a dummy written across a failover: it fails
        }
        let remove = rows.iter().map(|row| row.id).collect();
        let since = self.now;
        let flight = Transaction { domain, ids, late, since, remove, insert, locks };
        self.flights[writer] = Some(flight);
        true
    }

    /// The rows of a domain after a change; `None` if nothing is to be changed.
    fn changed_rows(&mut self, rows: &[Row], change: Change) -> Option<Vec<Row>> {
        let newest = rows.iter().max_by_key(|row| row.id);
        let all = |change: &dyn Fn(&mut Row)| {
            let mut rows = rows.to_vec();
            rows.iter_mut().for_each(change);
            Some(rows)
        };
        let mut new = |host_type| {
            self.next_row += 1;
            Some(vec![Row { id: self.next_row, host_type, status: Status::Enabled }])
        };
        match (change, newest.map(|row| row.status)) {
            (Change::Insert(host_type), None) => new(host_type),
            (Change::Enable, Some(Status::Disabled)) => all(&|row| row.status = Status::Enabled),
            (Change::Disable, Some(Status::Enabled)) => all(&|row| row.status = Status::Disabled),
            (Change::MarkDeleting, Some(Status::Enabled | Status::Disabled)) => {
                all(&|row| row.status = Status::Deleting)
            }
            (Change::Delete, Some(_)) => Some(Vec::new()),
            (Change::SetHostType(host_type), Some(_)) => all(&|row| row.host_type = host_type),
            (Change::Replace(host_type), Some(_)) => new(host_type),
            _ => None,
        }
    }

    /// The id of the next event.
    ///
    /// Assumption, but for worlds of twins: after a failover no id is used again for the same domain,
    /// because the log would look as it was; that one is left out.
    fn next_id(&mut self, domain: Domain) -> i64 {
        while !self.twins && self.lost.contains(&(self.next_event, domain)) {
            self.next_event += 1;
        }
        let id = self.next_event;
        self.next_event += 1;
        let reused = self.lost.range((id, "")..(id + 1, "")).next().is_some();
        self.reused.0 += u64::from(reused);
        self.reused.1 += u64::from(self.lost.contains(&(id, domain)));
        id
    }

    /// Has a writer begun a transaction?
    pub fn is_in_flight(&self, writer: usize) -> bool {
        self.flights[writer].is_some()
    }

    /// Commits; returns the ids, or `None` if there is nothing to commit or it has to be rolled back.
    pub fn commit(&mut self, writer: usize) -> Option<Vec<i64>> {
        let flight = self.flights[writer].take()?;
        let Transaction { domain, ids, since, remove, insert, .. } = flight;
        if ids.iter().any(|id| self.log.contains_key(id) || self.cleaned.contains_key(id)) {
            return None; // the key is there already: a dummy came first
        }
        let rows = self.rows.entry(domain).or_default();
        let before = rows.clone();
        rows.retain(|row| !remove.contains(&row.id));
        rows.extend(insert);
        let entry = Entry { domain, since, step: self.step };
        self.log.extend(ids.iter().map(|id| (*id, entry)));
        self.change_noted(domain);
        self.committed(Commit::Write { domain, ids: ids.clone(), before });
        Some(ids)
    }

    /// Rolls back.
    pub fn abort(&mut self, writer: usize) -> bool {
        self.flights[writer].take().is_some()
    }

    /// Ends the transactions that have been open for too long, and returns how many.
    pub fn abort_old(&mut self) -> u64 {
        let is_old = |flight: &mut Transaction| flight.since + LONGEST < self.now;
        let old = self.flights.iter_mut().filter_map(|flight| flight.take_if(is_old));
        old.count() as u64
    }
}
