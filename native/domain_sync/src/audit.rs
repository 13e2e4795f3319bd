//! Does the table have what the database says? No I/O here, too.
//!
//! An audit is one pass over all enabled rows while the node goes on following: a [`Comparison`]
//! looks each row up in the table. What differs is only suspect, because the table may just not have
//! come to an event. The next check, at its end, looks at the suspects again and [`judge`]s: a domain
//! whose row differs from the table, though no event names it that is not applied yet, proves that
//! the table is wrong.
//!
//! Judged are the domains that follow the database, and those that should. Domains that other callers
//! inserted are left alone, and so are static ones.

use domain_store::{Event, Setting, Status};
use domain_table::{Name, Table, check_text};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The most domains that one audit suspects. It needs a single one to find the table wrong.
pub const SUSPECTS: usize = 1_000;

/// The first pass: rows against the table.
pub struct Comparison<'a, S> {
    table: &'a Table<S>,
    /// Domains that follow the database and have a row.
    found: usize,
    suspects: Vec<String>,
}

impl<'a, S: Clone + Eq + Hash> Comparison<'a, S> {
    /// Begins.
    pub fn new(table: &'a Table<S>) -> Self {
        Comparison { table, found: 0, suspects: Vec::new() }
    }

    /// Compares an enabled row, the only one of its domain.
    pub fn row(&mut self, domain: Name, host_type: &str) {
        if self.table.follows(domain.as_bytes()) {
            self.found += 1;
        }
        if differs(self.table, &domain, Some(host_type)) && self.suspects.len() < SUSPECTS {
            self.suspects.push(domain.into());
        }
    }

    /// The suspects among the rows; and, if the table seems to have domains without a row, the
    /// search for them, which needs another pass.
    pub fn end(self) -> (Vec<String>, Option<Search>) {
        let more = self.table.followed_len() > self.found;
        let search = more.then(|| Search {
            without_row: self.table.followed().into_iter().map(|(domain, _)| domain).collect(),
        });
        (self.suspects, search)
    }
}

/// The second pass, only when it is needed: which domains of the table have no row?
pub struct Search {
    without_row: HashSet<Name>,
}

impl Search {
    /// This domain has an enabled row.
    pub fn row(&mut self, domain: &str) {
        self.without_row.remove(domain);
    }

    /// The suspects.
    pub fn end(self) -> Vec<String> {
        self.without_row.into_iter().take(SUSPECTS).map(String::from).collect()
    }
}

/// A domain for which the table is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The domain.
    pub domain: String,
    /// Its host type in the table.
    pub in_table: Option<Name>,
    /// Its host type in the database, if it is enabled there.
    pub in_database: Option<String>,
}

/// Looks at suspects again, when the table has all changes up to the position.
///
/// `settings` are their rows as they are now; `pending` are the events after the position, read
/// later than the rows: what such an event names will be looked at anyway.
pub fn judge<S: Clone + Eq + Hash>(
    table: &Table<S>,
    suspects: Vec<String>,
    settings: Vec<Setting>,
    pending: &[Event],
) -> Vec<Difference> {
    let pending: HashSet<&str> = pending.iter().map(|event| event.domain.as_str()).collect();
    let rows = newest_rows(settings);
    let judged = suspects.into_iter().filter(|domain| !pending.contains(domain.as_str()));
    let difference = |domain: String| {
        let row = rows.get(&domain).filter(|row| row.status == Status::Enabled);
        let in_database = row.map(|row| row.host_type.clone());
        differs(table, &domain, in_database.as_deref()).then(|| Difference {
            in_table: table.host_type(domain.as_bytes()).cloned(),
            in_database,
            domain,
        })
    };
    judged.filter_map(difference).collect()
}

/// Of several rows for one domain (MySQL has no key on it) the one with the newest id counts.
pub(crate) fn newest_rows(settings: Vec<Setting>) -> HashMap<String, Setting> {
    let mut rows: HashMap<String, Setting> = HashMap::with_capacity(settings.len());
    for row in settings {
        let newer = rows.get(&row.domain).is_none_or(|other| other.id < row.id);
        if newer {
            rows.insert(row.domain.clone(), row);
        }
    }
    rows
}

/// Does the table have something else than the database says?
fn differs<S: Clone + Eq + Hash>(table: &Table<S>, domain: &str, host_type: Option<&str>) -> bool {
    let in_table = table.host_type(domain.as_bytes());
    if in_table.is_some() && !table.follows(domain.as_bytes()) {
        return false; // static, or inserted by somebody else
    }
    let routes = |host_type: &&str| {
        check_text(domain).is_ok() && table.is_host_type_allowed(host_type.as_bytes())
    };
    in_table.map(Name::as_str) != host_type.filter(routes)
}
