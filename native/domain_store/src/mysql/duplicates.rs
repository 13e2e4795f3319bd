//! Domains that have several rows, as the domain is no key on MySQL: the newest one counts.

use crate::database::Database;
use crate::dialect::Dialect;
use crate::load::enabled;
use crate::statement::Sql;
use crate::{Enabled, Error, Filter, Setting, Status};
use sqlx::{MySql, MySqlConnection};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use tokio::sync::mpsc;

/// The newest row of a domain first. Along the primary key, so there is nothing to sort.
const ROWS: &str = "SELECT domain, host_type, status FROM domain_settings ORDER BY id DESC";

/// The rows that are read at a time, to find names that come twice.
const PAGE: u32 = 10_000;

impl Database<MySql> {
    pub async fn load(&self, batch: usize, to: mpsc::Sender<Vec<Enabled>>) -> Result<(), Error> {
        let mut seen = Seen::default();
        let enabled = |row: &_| {
            let (domain, host_type) = enabled::<MySql>(row)?;
            let is_enabled = MySql::status(row, 2)? == Status::Enabled;
            let counts = seen.is_new(&domain);
            Ok((counts && is_enabled).then_some((domain, host_type)))
        };
        self.load_by_query(ROWS, batch, to, enabled).await
    }

    pub async fn outdated(&self) -> Result<HashSet<i64>, Error> {
        let (mut seen, mut twice, mut after) = (Seen::default(), HashSet::new(), 0);
        loop {
            let rows = self.page(None, after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            twice.extend(rows.into_iter().map(|row| row.domain).filter(|it| !seen.is_new(it)));
        }
        let found = self.settings(&Vec::from_iter(twice)).await?;
        let newest = newest_ids(&found);
        Ok(found.iter().map(|row| row.id).filter(|id| !newest.contains(id)).collect())
    }
}

/// Of these rows, sorted by domain and the newest first, the newest of each domain. With a filter a
/// newer one may be among those that it has left out; then the domain is left out, too.
pub(super) async fn newest_of(
    connection: &mut MySqlConnection,
    mut rows: Vec<Setting>,
    filter: &Filter,
) -> Result<Vec<Setting>, sqlx::Error> {
    rows.dedup_by(|row, newer| row.domain == newer.domain);
    if *filter == Filter::default() {
        return Ok(rows);
    }
    let wanted = filter.host_type.as_ref();
    rows.retain(|row| wanted.is_none_or(|wanted| row.host_type == *wanted));
    let domains: Vec<String> = rows.iter().map(|row| row.domain.clone()).collect();
    let found = MySql::find(connection, &domains).await?;
    let newest = newest_ids(&found);
    rows.retain(|row| newest.contains(&row.id));
    Ok(rows)
}

/// The newest row of each domain.
fn newest_ids(rows: &[Setting]) -> HashSet<i64> {
    let mut newest = HashMap::with_capacity(rows.len());
    for row in rows {
        let id = newest.entry(&row.domain).or_insert(row.id);
        *id = row.id.max(*id);
    }
    newest.into_values().collect()
}

/// The names seen so far, by hashes of 128 bits rather than themselves: 16 bytes each.
///
/// That two of 10⁷ names have the same hash, and one is taken for seen, has a probability of about
/// (10⁷)² / 2¹²⁹ ≈ 10⁻²⁵. The key is random, so nobody can choose such names.
#[derive(Default)]
struct Seen {
    key: RandomState,
    hashes: HashSet<u128, foldhash::fast::RandomState>,
}

impl Seen {
    /// Was the name not seen before? Now it is.
    fn is_new(&mut self, name: &str) -> bool {
        let half = |half: u8| u128::from(self.key.hash_one((half, name)));
        self.hashes.insert(half(0) << 64 | half(1))
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn a_name_is_new_only_once() {
        let mut seen = Seen::default();
        let names = || (0..100_000).map(|n| format!("d{n}.example"));
        assert!(names().all(|name| seen.is_new(&name)));
        assert!(!names().any(|name| seen.is_new(&name)));
        assert!(seen.is_new("é") && seen.is_new("e") && seen.is_new("e ") && seen.is_new(""));
    }

    #[test]
    fn the_halves_of_a_hash_are_not_the_same() {
        let mut seen = Seen::default();
        seen.is_new("a.example");
        let hash = *seen.hashes.iter().next().unwrap();
        assert_ne!(hash >> 64, hash & u128::from(u64::MAX));
    }
}
