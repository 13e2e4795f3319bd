//! The simulated database: the event log and the rows of domains, as committed.
//!
//! Every method is one statement and sees what is committed at its moment. The ids of events are
//! handed out when a transaction begins (`transaction.rs`), so others see them in any order. What
//! befalls the whole database is in `disaster.rs`.

use crate::config::{Config, Domain, HostType, STABLE, TAMPERED};
use crate::records::{Commit, Entry, Row, Transaction};
use crate::violation::{Violation, violation};
use domain_store::{Enabled, Event, Setting, Status};
use std::collections::{BTreeMap, BTreeSet};

/// How many commits a replica may be behind.
const REPLICA_BEHIND: usize = 6;

/// The database.
pub struct Database {
    /// Seconds since the beginning of the world.
    pub now: i64,
    /// Counts the actions of the world.
    pub step: u64,
    /// Counts the failovers.
    pub era: u32,
    pub(crate) duplicates: bool,
    pub(crate) twins: bool,
    pub(crate) max_age: i64,
    pub(crate) log: BTreeMap<i64, Entry>,
    /// The ids of events that were deleted, and the step at which each had first come.
    pub(crate) cleaned: BTreeMap<i64, u64>,
    pub(crate) rows: BTreeMap<Domain, Vec<Row>>,
    pub(crate) next_event: i64,
    pub(crate) next_row: i64,
    /// The transactions in flight, by writer.
    pub(crate) flights: Vec<Option<Transaction>>,
    /// The newest commits, the newest last.
    pub(crate) commits: Vec<Commit>,
    /// What cleaners noted: when, and the newest id then.
    pub(crate) notes: Vec<(i64, i64)>,
    /// Events that failovers lost.
    pub(crate) lost: BTreeSet<(i64, Domain)>,
    /// Was anything written behind deleted events or ahead of the sequence, or may it be? Then real
    /// gaps are no more distinguished from deleted events.
    pub disturbed: bool,
    /// Ids used again after a failover, and how many of them for the same domain.
    pub reused: (u64, u64),
    /// The step at which a domain changed last.
    changed: BTreeMap<Domain, u64>,
}

impl Database {
    /// With the stable domains, and an empty log.
    pub fn new(config: &Config) -> Self {
        let domains = STABLE.into_iter().chain(TAMPERED);
        let row = |id| Row { id, host_type: "h1", status: Status::Enabled };
        Database {
            now: 0,
            step: 0,
            era: 0,
            duplicates: config.duplicates,
            twins: config.twins,
            max_age: config.max_age,
            log: BTreeMap::new(),
            cleaned: BTreeMap::new(),
            rows: domains.zip(1..).map(|(domain, id)| (domain, vec![row(id)])).collect(),
            next_event: 1,
            next_row: 100,
            flights: (0..config.writers).map(|_| None).collect(),
            commits: Vec::new(),
            notes: Vec::new(),
            lost: BTreeSet::new(),
            disturbed: false,
            reused: (0, 0),
            changed: BTreeMap::new(),
        }
    }

    /// The oldest and the newest event id.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        Some((*self.log.first_key_value()?.0, *self.log.last_key_value()?.0))
    }

    /// The first events of a range of ids.
    pub fn events(&self, from: i64, upto: i64, limit: usize) -> Vec<Event> {
        if from > upto {
            return Vec::new();
        }
        let event = |(id, entry): (&i64, &Entry)| Event { id: *id, domain: entry.domain.into() };
        self.log.range(from..=upto).take(limit).map(event).collect()
    }

    /// All rows of these domains.
    pub fn settings(&self, domains: &[String]) -> Vec<Setting> {
        let rows = |(domain, rows): (&Domain, &Vec<Row>)| {
            let setting = |row: &Row| Setting {
                id: row.id,
                domain: (*domain).to_owned(),
                host_type: row.host_type.to_owned(),
                status: row.status,
            };
            rows.iter().map(setting).collect::<Vec<_>>()
        };
        let wanted = |(domain, _): &(&Domain, _)| domains.iter().any(|name| name == *domain);
        self.rows.iter().filter(wanted).flat_map(rows).collect()
    }

    /// All enabled domains, the newest first.
    pub fn enabled(&self) -> Vec<Enabled> {
        let newest = |(domain, _): (&Domain, _)| Some((self.row(domain)?, *domain));
        let mut rows: Vec<(Row, Domain)> = self.rows.iter().filter_map(newest).collect();
        rows.retain(|(row, _)| row.status == Status::Enabled);
        rows.sort_by_key(|(row, _)| std::cmp::Reverse(row.id));
        rows.into_iter().map(|(row, domain)| (domain.into(), row.host_type.into())).collect()
    }

    /// Rows by id, for who reads pages.
    pub fn page(&self, after: i64, limit: usize) -> Vec<(Domain, Row)> {
        let of_domain = |(domain, rows): (&Domain, &Vec<Row>)| {
            rows.iter().map(|row| (*domain, *row)).collect::<Vec<_>>()
        };
        let mut rows: Vec<(Domain, Row)> = self.rows.iter().flat_map(of_domain).collect();
        rows.retain(|(_, row)| row.id > after);
        rows.sort_by_key(|(_, row)| row.id);
        rows.truncate(limit);
        rows
    }

    /// The row that counts.
    pub fn row(&self, domain: &str) -> Option<Row> {
        self.rows.get(domain)?.iter().max_by_key(|row| row.id).copied()
    }

    /// The host type by which a domain routes on a node that allows these.
    pub fn routes(&self, domain: &str, allowed: &[HostType]) -> Option<HostType> {
        let row = self.row(domain).filter(|row| row.status == Status::Enabled)?;
        allowed.contains(&row.host_type).then_some(row.host_type)
    }

    /// Was there a transaction in flight that inserted one of these ids?
    pub fn is_locked(&self, ids: &[i64]) -> bool {
        let inserted = self.flights.iter().flatten().filter(|flight| !flight.late);
        inserted.flat_map(|flight| &flight.ids).any(|id| ids.binary_search(id).is_ok())
    }

    /// Inserts dummies where there is no event. Not with an id that [`Self::is_locked`].
    pub fn settle(&mut self, ids: &[i64]) -> u64 {
        let missing: Vec<i64> =
            ids.iter().copied().filter(|id| !self.log.contains_key(id)).collect();
        // Between reading and this came a cleaning or a failover: what is missing from here to the
        // oldest event will be taken for gaps, and ids ahead of the sequence are gone.
        let oldest = self.bounds().map_or(i64::MIN, |(oldest, _)| oldest);
        let regular = oldest..self.next_event;
        self.disturbed |= missing.iter().any(|id| !regular.contains(id));
        let dummy = Entry { domain: "", since: self.now, step: self.step };
        self.log.extend(missing.iter().map(|id| (*id, dummy)));
        let count = missing.len() as u64;
        self.committed(Commit::Dummies(missing));
        count
    }

    /// A cleaner notes the newest id.
    pub fn note(&mut self) -> bool {
        let newest = self.bounds().map(|(_, newest)| newest);
        self.notes.extend(newest.map(|id| (self.now, id)));
        newest.is_some()
    }

    /// A cleaner deletes the oldest events below an id that was noted long enough ago.
    pub fn clean(&mut self, limit: usize) -> Result<bool, Violation> {
        let due = |(at, _): &(i64, i64)| at + self.max_age <= self.now;
        let Some(note) = self.notes.iter().position(due) else { return Ok(false) };
        let noted = self.notes[note].1;
        let ids: Vec<i64> = self.log.range(..noted).map(|(id, _)| *id).take(limit).collect();
        let is_last = ids.len() < limit;
        if is_last {
            self.notes.remove(note);
        }
        for (id, entry) in ids.iter().filter_map(|id| Some((id, self.log.get(id)?))) {
            let is_young = self.now - entry.since < self.max_age && !entry.domain.is_empty();
            if is_young && !self.disturbed {
                let age = self.now - entry.since;
                return Err(violation("I8 cleaning", format!("event {id} is only {age} s old")));
            }
        }
        Ok(self.delete(ids) || is_last)
    }

    pub(crate) fn delete(&mut self, ids: Vec<i64>) -> bool {
        let gone = ids.iter().filter_map(|id| Some((*id, self.log.remove(id)?)));
        let gone: Vec<(i64, Entry)> = gone.collect();
        for (id, entry) in &gone {
            self.cleaned.entry(*id).or_insert(entry.step);
        }
        if !ids.is_empty() {
            self.committed(Commit::Cleaned(gone));
        }
        !ids.is_empty()
    }

    /// Are all ids of the range known: is or was there an event or a dummy?
    pub fn is_known(&self, mut ids: std::ops::RangeInclusive<i64>) -> bool {
        if ids.end() - ids.start() < 100 {
            return ids.all(|id| self.log.contains_key(&id) || self.cleaned.contains_key(&id));
        }
        let deleted = self.cleaned.range(ids.clone()).filter(|(id, _)| !self.log.contains_key(id));
        let known = self.log.range(ids.clone()).count() + deleted.count();
        known as i64 == ids.end() - ids.start() + 1
    }

    /// Is there no event of this id, though there was one at a step, or before it?
    pub fn was_cleaned(&self, id: i64, step: u64) -> bool {
        !self.log.contains_key(&id) && self.cleaned.get(&id).is_some_and(|came| *came <= step)
    }

    /// The domain of events.
    pub fn domain(&self, ids: &[i64]) -> Option<Domain> {
        ids.iter().find_map(|id| self.log.get(id)).map(|entry| entry.domain)
    }

    /// The step at which a domain changed last.
    pub fn changed(&self, domain: Domain) -> u64 {
        self.changed.get(domain).copied().unwrap_or_default()
    }

    /// Did a failover lose a change of the domain?
    pub fn has_lost(&self, domain: Domain) -> bool {
        self.lost.iter().any(|(_, lost)| *lost == domain)
    }

    pub(crate) fn change_noted(&mut self, domain: Domain) {
        self.changed.insert(domain, self.step);
    }

    pub(crate) fn committed(&mut self, commit: Commit) {
        self.commits.push(commit);
        if self.commits.len() > REPLICA_BEHIND {
            self.commits.remove(0);
        }
    }
}
