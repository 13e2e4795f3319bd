//! MySQL and MariaDB.
//!
//! MongooseIM's schema for them has neither a key nor an index on `domain_settings.domain`, so
//!
//! - a domain can have several rows: the newest one (of the largest id) counts, and what changes a
//!   domain changes all of its rows, or stock nodes would still find an enabled one;
//! - every look-up by name reads the whole table, unless somebody adds an index
//!   ([`Database::missing_index`]). So rows are found without locking, which would lock all that are
//!   read, and are then locked by their ids;
//! - there is nothing to lock for a domain that is to be inserted. A row in `domain_admins`, where
//!   the domain is a key, stands for it: it is inserted, and deleted in the same transaction, so
//!   nobody sees it, but a second transaction that inserts it waits for the first to end. If the
//!   domain has an administrator there, that row is locked;
//! - no index sorts names by their bytes: a page of a list reads the whole table, with one, too;
//! - names are compared here, as bytes: the columns' collations call `É` and `e`, or `a` and `a `,
//!   the same name, so a statement finds a superset.

use crate::config::{parsed_url, sqlx_options, tls_of_url};
use crate::import::{import, import_without_arrays};
use crate::operations::{operations_without_arrays, repeated, shared_operations, text};
use crate::passwords::passwords;
use crate::pool::{Pool, give_back, within};
use crate::{Config, Enabled, Error, Filter, Server, Setting, Status, Tls, TlsMode};
use futures_util::StreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, Connection, MySql, MySqlConnection, QueryBuilder, Row};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::mpsc;

mod sql {
    pub const SCHEMA: &str = include_str!("../../../priv/schema/mysql.sql");
    pub const INDEXES: &str = "SELECT COUNT(*) FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = 'domain_settings' \
         AND column_name = 'domain' AND seq_in_index = 1";
    pub const CREATE_INDEX: &str =
        "CREATE INDEX i_domain_settings_domain ON domain_settings (domain)";
    pub const BEGIN: &str = "BEGIN";
    pub const EVENT_BOUNDS: &str = "SELECT MIN(id), MAX(id) FROM domain_events";
    pub const EVENTS: &str =
        "SELECT id, domain FROM domain_events WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?";
    pub const DELETE_EVENTS: &str = "DELETE FROM domain_events WHERE id < ? ORDER BY id LIMIT ?";
    pub const INSERT_EVENT: &str = "INSERT INTO domain_events (domain) VALUES (?)";
    pub const COUNT: &str =
        "SELECT COUNT(*) FROM (SELECT id FROM domain_settings LIMIT ?) AS some_rows";
    pub const PAGE: &str = "SELECT id, domain, host_type, status FROM domain_settings \
         WHERE id > ? AND status = COALESCE(?, status) ORDER BY id LIMIT ?";
    /// As bytes of UTF-8, whatever the column's character set and collation.
    pub const DOMAIN_BYTES: &str = "CAST(CONVERT(domain USING utf8mb4) AS BINARY)";
    /// The newest row of a domain first.
    pub const THEN_BY: &str = ", id DESC";
    pub const SETTINGS: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain IN (";
    /// The newest row of a domain first. Along the primary key, so there is nothing to sort.
    pub const ENABLED: &str =
        "SELECT domain, host_type, status FROM domain_settings ORDER BY id DESC";
    pub const INSERT_DOMAIN: &str =
        "INSERT INTO domain_settings (domain, host_type, status) VALUES (?, ?, 1)";
    pub const FIND_DOMAIN: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain = ?";
    pub const LOCK_ROW: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE id = ? FOR UPDATE";
    /// The one table in which the domain is a key.
    pub const LOCK_NAME: &str =
        "INSERT IGNORE INTO domain_admins (domain, pass_details) VALUES (?, '')";
    pub const UNDO_LOCK_NAME: &str =
        "DELETE FROM domain_admins WHERE domain = ? AND pass_details = ''";
    pub const ADMIN: &str = "SELECT domain, pass_details FROM domain_admins WHERE domain = ?";
    pub const LOCK_ADMIN: &str =
        "SELECT domain, pass_details FROM domain_admins WHERE domain = ? FOR UPDATE";
    pub const INSERT_ADMIN: &str = "INSERT INTO domain_admins (pass_details, domain) VALUES (?, ?)";
    pub const UPDATE_ADMIN: &str = "UPDATE domain_admins SET pass_details = ? WHERE domain = ?";
    pub const DELETE_ADMIN: &str = "DELETE FROM domain_admins WHERE domain = ?";
    /// Those of the columns for names that cannot hold all of Unicode.
    pub const CHARACTER_SETS: &str = "SELECT DISTINCT character_set_name \
         FROM information_schema.columns WHERE table_schema = DATABASE() \
         AND table_name IN ('domain_settings', 'domain_events', 'domain_admins') \
         AND column_name IN ('domain', 'host_type') AND character_set_name <> 'utf8mb4'";
    /// The same for many. A row that is there is locked (exclusively, so that two transactions which
    /// wait for it do not share it first and then stop each other) and left as it is.
    pub const LOCK_NAMES: &str = "INSERT INTO domain_admins (domain, pass_details) ";
    pub const LOCK_NAMES_END: &str =
        " ON DUPLICATE KEY UPDATE pass_details = domain_admins.pass_details";
    /// By its key, whatever the optimizer thinks: reading all of a small table would lock it all.
    pub const UNDO_LOCK_NAMES: &str = "DELETE domain_admins FROM domain_admins \
         FORCE INDEX (PRIMARY) WHERE pass_details = ";
    pub const ADD: &str = "INSERT INTO domain_settings (domain, host_type, status) ";
    /// By its key, too, like the next one.
    pub const LOCK_ROWS: &str = "SELECT id, domain, host_type, status FROM domain_settings \
         FORCE INDEX (PRIMARY) WHERE id IN (";
    pub const LOCK_ROWS_END: &str = ") ORDER BY id FOR UPDATE";
    pub const SET_STATUSES: &str = "UPDATE domain_settings FORCE INDEX (PRIMARY) SET status = ";
    pub const INSERT_EVENTS: &str = "INSERT INTO domain_events (domain) ";
    pub const SET_STATUS: &str = "UPDATE domain_settings SET status = ? WHERE id = ?";
    pub const DELETE_DOMAIN: &str = "DELETE FROM domain_settings WHERE id = ?";
    pub const SETTLE_GAPS: &str = "INSERT IGNORE INTO domain_events (id, domain) ";
}

/// The parameters of a URL that sqlx knows, but for the character set: names are UTF-8.
const URL_PARAMETERS: [&str; 10] = [
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "socket",
    "statement-cache-capacity",
];

/// How to connect, and what of it is about TLS.
pub(crate) type Options = (MySqlConnectOptions, Tls);

pub(crate) fn options_of_url(url: &str) -> Result<Options, Error> {
    let url = parsed_url(url, &URL_PARAMETERS)?;
    if !url.has_host() && !url.query_pairs().any(|(key, _)| key == "socket") {
        return Err(Error::bad_url("it names no host"));
    }
    if url.path().trim_start_matches('/').is_empty() {
        return Err(Error::bad_url("it names no database"));
    }
    let options = MySqlConnectOptions::from_str(url.as_str());
    let options = options.map_err(|error| Error::bad_url(error.to_string()))?;
    let mode = match options.get_ssl_mode() {
        MySqlSslMode::Disabled => TlsMode::Off,
        MySqlSslMode::Preferred => TlsMode::Preferred,
        MySqlSslMode::Required => TlsMode::Required,
        MySqlSslMode::VerifyCa => TlsMode::VerifyCa,
        MySqlSslMode::VerifyIdentity => TlsMode::VerifyFull,
    };
    let names = [&["ssl-ca", "sslca"][..], &["ssl-cert", "sslcert"], &["ssl-key", "sslkey"]];
    let tls = tls_of_url(&url, mode, names)?;
    Ok((options, tls))
}

pub(crate) fn options_of_server(server: &Server) -> Options {
    let mode = match server.tls.mode {
        TlsMode::Off => MySqlSslMode::Disabled,
        TlsMode::Preferred => MySqlSslMode::Preferred,
        TlsMode::Required => MySqlSslMode::Required,
        TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
        TlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
    };
    let new = MySqlConnectOptions::new();
    let options = sqlx_options!(server, new, mode, ssl_ca, ssl_ca_from_pem);
    (options, server.tls.clone())
}

/// The most names or ids in one statement; the protocol's own limit is 65,535 parameters.
const CHUNK: usize = 1_000;

/// A claim writes rows of `domain_admins`.
const LOOKS_FIRST: bool = true;

/// The rows that are read at a time, to find names that come twice.
const PAGE_OF_NAMES: u32 = 10_000;

/// A MySQL or MariaDB database, by its pool.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool<MySql>,
    limit: Duration,
}

shared_operations!(MySql, MySqlRow);
operations_without_arrays!(MySql);
import!(MySql);
import_without_arrays!(MySql);
passwords!(MySql);

impl Database {
    pub(crate) fn open(options: MySqlConnectOptions, config: &Config) -> Result<Self, Error> {
        let lock_wait = lock_wait(config.query_timeout);
        // A server that is not strict would write ? for a character that a column cannot hold.
        let session = format!(
            "SET SESSION innodb_lock_wait_timeout = {lock_wait}, \
             SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"
        );
        let pool = Pool::new(options, config, move |connection| {
            let session = sqlx::raw_sql(AssertSqlSafe(session.clone()));
            Box::pin(async move { session.execute(connection).await.map(|_| ()) })
        })?;
        Ok(Database { pool, limit: config.query_timeout })
    }

    pub(crate) async fn create_schema(&self) -> Result<(), Error> {
        let mut lease = self.lease().await?;
        within(self.limit, sqlx::raw_sql(sql::SCHEMA).execute(&mut **lease)).await?;
        give_back(lease);
        if let Some(statement) = self.missing_index().await? {
            let mut lease = self.lease().await?;
            // It reads the whole table, and waits for open transactions.
            let limit = self.limit * 60;
            within(limit, sqlx::raw_sql(statement).execute(&mut **lease)).await?;
            give_back(lease);
        }
        Ok(())
    }

    /// The statement that adds an index on `domain_settings.domain`, if there is none.
    pub(crate) async fn missing_index(&self) -> Result<Option<&'static str>, Error> {
        let mut lease = self.lease().await?;
        let count = sqlx::query_scalar(sql::INDEXES).fetch_one(&mut **lease);
        let indexes: i64 = within(self.limit, count).await?;
        give_back(lease);
        Ok((indexes == 0).then_some(sql::CREATE_INDEX))
    }

    /// May a row of this domain be inserted? Nobody else can insert one, by these functions, until the
    /// transaction ends.
    async fn is_free(connection: &mut MySqlConnection, domain: &str) -> Result<bool, sqlx::Error> {
        let lock = sqlx::query(sql::LOCK_NAME).bind(domain);
        let is_ours = lock.execute(&mut *connection).await?.rows_affected() == 1;
        let next = if is_ours { sql::UNDO_LOCK_NAME } else { sql::LOCK_ADMIN };
        sqlx::query(next).bind(domain).execute(&mut *connection).await?;
        Ok(Self::lock_rows(connection, domain).await?.is_empty())
    }

    /// The rows of a domain, which nobody else can change until the transaction ends.
    async fn lock_rows(
        connection: &mut MySqlConnection,
        domain: &str,
    ) -> Result<Vec<Setting>, sqlx::Error> {
        let found = sqlx::query(sql::FIND_DOMAIN).bind(domain).fetch_all(&mut *connection).await?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            let query = sqlx::query(sql::LOCK_ROW).bind(Self::setting(row)?.id);
            let locked = query.fetch_optional(&mut *connection).await?;
            rows.extend(locked.as_ref().map(Self::setting).transpose()?);
        }
        // What the collation takes for the same name may be another.
        rows.retain(|row| row.domain == domain);
        Ok(rows)
    }

    /// Nobody else can insert a row of these domains, by these functions, until the transaction ends.
    async fn claim(
        connection: &mut MySqlConnection,
        domains: &[String],
    ) -> Result<(), sqlx::Error> {
        // Tells the rows that are ours from those of administrators.
        let mark = format!("import {:032x}", fastrand::u128(..));
        for chunk in domains.chunks(CHUNK) {
            let mut lock = QueryBuilder::<MySql>::new(sql::LOCK_NAMES);
            lock.push_values(chunk, |mut values, domain| {
                values.push_bind(domain).push_bind(&mark);
            });
            lock.push(sql::LOCK_NAMES_END);
            let lock = lock.build().persistent(chunk.len() == CHUNK);
            lock.execute(&mut *connection).await?;
            let mut undo = QueryBuilder::<MySql>::new(sql::UNDO_LOCK_NAMES);
            undo.push_bind(&mark).push(" AND domain IN (");
            let mut names = undo.separated(", ");
            for domain in chunk {
                names.push_bind(domain);
            }
            undo.push(")");
            let undo = undo.build().persistent(chunk.len() == CHUNK);
            undo.execute(&mut *connection).await?;
        }
        Ok(())
    }

    pub(crate) async fn unfit<'a>(&self, names: Vec<&'a str>) -> Result<HashSet<&'a str>, Error> {
        let mut lease = self.lease().await?;
        let character_sets = sqlx::query(sql::CHARACTER_SETS).fetch_all(&mut **lease);
        let mut unfit = HashSet::new();
        for row in within(self.limit, character_sets).await? {
            let character_set = text!(row, 0);
            for name in &names {
                let there_and_back =
                    within(self.limit, Self::converted(&mut lease, name, &character_set)).await?;
                if there_and_back != name.as_bytes() {
                    unfit.insert(*name);
                }
            }
        }
        give_back(lease);
        Ok(unfit)
    }

    /// The name in this character set, as UTF-8 again: with ? for what it has not.
    async fn converted(
        connection: &mut MySqlConnection,
        name: &str,
        character_set: &str,
    ) -> Result<Vec<u8>, sqlx::Error> {
        // MySQL refuses to convert a mere parameter to what lacks a character of it.
        let mut query = QueryBuilder::<MySql>::new("SELECT CAST(CONVERT(CONVERT(CONCAT(");
        query.push_bind(name).push(") USING ").push(character_set);
        query.push(") USING utf8mb4) AS BINARY)");
        query.build().fetch_one(connection).await?.try_get_unchecked(0)
    }

    /// What sorts domains by bytes.
    async fn domain_bytes(
        &self,
        _connection: &mut MySqlConnection,
    ) -> Result<&'static str, sqlx::Error> {
        Ok(sql::DOMAIN_BYTES)
    }

    /// Of these rows, sorted by domain and the newest first, the newest of each domain. With a filter
    /// a newer one may be among those that it has left out; then the domain is left out, too.
    async fn newest_of(
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
        let found = Self::find(connection, &domains).await?;
        let newest = newest_ids(&found);
        rows.retain(|row| newest.contains(&row.id));
        Ok(rows)
    }

    pub(crate) async fn outdated(&self) -> Result<HashSet<i64>, Error> {
        let (mut seen, mut twice, mut after) = (Seen::default(), HashSet::new(), 0);
        loop {
            let rows = self.page(None, after, PAGE_OF_NAMES).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            twice.extend(rows.into_iter().map(|row| row.domain).filter(|it| !seen.is_new(it)));
        }
        let found = self.settings(&Vec::from_iter(twice)).await?;
        let newest = newest_ids(&found);
        Ok(found.iter().map(|row| row.id).filter(|id| !newest.contains(id)).collect())
    }

    pub(crate) async fn load(
        &self,
        batch: usize,
        to: mpsc::Sender<Vec<Enabled>>,
    ) -> Result<(), Error> {
        let mut seen = Seen::default();
        let enabled = |row: &MySqlRow| {
            let (domain, host_type) = Self::enabled(row)?;
            let status = Status::from_column(i64::from(row.try_get_unchecked::<i16, _>(2)?));
            let counts = seen.is_new(&domain);
            Ok((counts && status == Status::Enabled).then_some((domain, host_type)))
        };
        self.load_by_query(batch, to, enabled).await
    }
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

/// How many seconds (whole ones only) the server lets a statement wait for a lock. Less than our
/// own limit, so that a transaction is repeated rather than left behind, waiting, on the server.
fn lock_wait(limit: Duration) -> u64 {
    (limit.as_secs() / 5).max(1)
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
    use super::{Seen, lock_wait};
    use std::time::Duration;

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

    #[test]
    fn the_server_waits_for_a_lock_in_whole_seconds() {
        let waits = [300, 5_000, 14_900, 60_000].map(Duration::from_millis).map(lock_wait);
        assert_eq!(waits, [1, 1, 2, 12]);
    }
}
