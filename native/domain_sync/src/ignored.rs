//! Rows and events of the database that were ignored: counted by kind, for the log.

use domain_table::Name;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Why a row or an event of the database was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An enabled domain is static here, by the same host type.
    StaticInDb,
    /// A domain that is enabled no more is static here.
    StaticWasInDb,
    /// An enabled domain is static here, by another host type.
    DifferentHostType,
    /// The host type is not allowed here.
    UnknownHostType,
    /// No domain can be called so, or no host type; or the domain can never route, because its name is
    /// not in the form of nameprep. (The latter is in the table all the same, as in MongooseIM.)
    InvalidName,
}

/// One ignored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredRow {
    /// The domain.
    pub domain: String,
    /// The host type that it has in the table.
    pub core_host_type: Option<Name>,
    /// The host type that it has in the database; empty if it has none.
    pub db_host_type: String,
}

/// What was ignored in one check or load, by kind: a count and the first ten.
#[derive(Default)]
pub struct Ignored(Mutex<BTreeMap<Kind, (u64, Vec<IgnoredRow>)>>);

impl Ignored {
    const KEPT: usize = 10;

    pub(crate) fn count(
        &self,
        kind: Kind,
        domain: &str,
        core_host_type: Option<&Name>,
        db_host_type: &str,
    ) {
        let mut kinds = self.0.lock();
        let (count, first) = kinds.entry(kind).or_default();
        *count += 1;
        if first.len() < Self::KEPT {
            first.push(IgnoredRow {
                domain: domain.to_owned(),
                core_host_type: core_host_type.cloned(),
                db_host_type: db_host_type.to_owned(),
            });
        }
    }

    /// Takes out what was counted so far.
    pub fn take(&self) -> BTreeMap<Kind, (u64, Vec<IgnoredRow>)> {
        std::mem::take(&mut self.0.lock())
    }
}
