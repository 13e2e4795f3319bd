//! What befalls the whole database: failovers, holes, truncation, changes without an event.

use crate::config::Domain;
use crate::database::Database;
use crate::records::Commit;
use domain_store::Status;

/// A transaction that a failover lost.
#[derive(Debug)]
pub struct Lost {
    /// The ids of its events.
    pub ids: Vec<i64>,
    /// The domain.
    pub domain: Domain,
}

impl Database {
    /// Fails over to a replica that has not received the newest commits, and continues with ids that
    /// `skipped` follow the newest one there. `None` if that is not possible now.
    pub fn fail_over(&mut self, commits: usize, skipped: i64) -> Option<Vec<Lost>> {
        let from = self.commits.len().checked_sub(commits.max(1))?;
        let mut lost = Vec::new();
        for commit in self.commits.drain(from..).rev().collect::<Vec<_>>() {
            lost.extend(self.undo(commit));
        }
        self.flights.iter_mut().for_each(|flight| *flight = None);
        let newest = self.log.keys().next_back().max(self.cleaned.keys().next_back());
        let newest = newest.copied().unwrap_or_default();
        self.next_event = newest + 1 + skipped;
        self.era += 1;
        // Assumption: cleaners forget what they noted and the replica does not know.
        self.notes.retain(|(_, id)| *id <= newest);
        Some(lost)
    }

    fn undo(&mut self, commit: Commit) -> Option<Lost> {
        match commit {
            Commit::Write { domain, ids, before } => {
                self.forget(&ids);
                self.lost.extend(ids.iter().map(|id| (*id, domain)));
                self.rows.insert(domain, before);
                self.change_noted(domain);
                return Some(Lost { ids, domain });
            }
            Commit::Dummies(ids) => self.forget(&ids),
            Commit::Cleaned(events) => {
                self.cleaned
                    .retain(|id, _| events.binary_search_by_key(id, |(id, _)| *id).is_err());
                self.log.extend(events);
            }
        }
        None
    }

    fn forget(&mut self, ids: &[i64]) {
        self.log.retain(|id, _| ids.binary_search(id).is_err());
    }

    /// The sequence jumps ahead.
    pub fn jump(&mut self, ids: i64) {
        self.next_event += ids;
    }

    /// An operator deletes all but the newest events.
    pub fn truncate(&mut self, keep: usize) -> bool {
        // What is in flight may have smaller ids than what is deleted now.
        self.disturbed |= self.flights.iter().any(Option::is_some);
        let count = self.log.len().saturating_sub(keep.max(1));
        let ids = self.log.keys().take(count).copied().collect();
        self.delete(ids)
    }

    /// A row changes without an event.
    pub fn tamper(&mut self, domain: Domain) {
        for row in self.rows.get_mut(domain).into_iter().flatten() {
            row.status = match row.status {
                Status::Enabled => Status::Disabled,
                _ => Status::Enabled,
            };
        }
        self.change_noted(domain);
    }
}
