//! MySQL and MariaDB.
//!
//! MongooseIM's schema for them has neither a key nor an index on `domain_settings.domain`, so
//!
//! - a domain can have several rows: the newest one (of the largest id) counts (`duplicates.rs`), and
//!   what changes a domain changes all of its rows, or stock nodes would still find an enabled one;
//! - every look-up by name reads the whole table, unless somebody adds an index
//!   ([`Database::missing_index`]). So rows are found without locking, which would lock all that are
//!   read, and are then locked by their ids;
//! - there is nothing to lock for a domain that is to be inserted (`names.rs`);
//! - no index sorts names by their bytes: a page of a list reads the whole table, with one, too;
//! - names are compared here, as bytes: the columns' collations call `É` and `e`, or `a` and `a `,
//!   the same name, so a statement finds a superset.

mod duplicates;
mod names;
mod options;
mod unfit;

pub(crate) use options::{Options, options_of_server, options_of_url};

use crate::database::{Database, run};
use crate::dialect::{Dialect, ROWS};
use crate::pool::{Pool, give_back, within};
use crate::statement::{Sql, built, statement};
use crate::{Config, Error, Filter, Setting};
use sqlx::mysql::{MySqlConnectOptions, MySqlQueryResult};
use sqlx::{AssertSqlSafe, MySql, MySqlConnection};
use std::time::Duration;

const SCHEMA: &str = include_str!("../../../priv/schema/mysql.sql");
const INDEXES: &str = "SELECT COUNT(*) FROM information_schema.statistics \
     WHERE table_schema = DATABASE() AND table_name = 'domain_settings' \
     AND column_name = 'domain' AND seq_in_index = 1";
const CREATE_INDEX: &str = "CREATE INDEX i_domain_settings_domain ON domain_settings (domain)";

impl Dialect for MySql {
    const INSERT_NEW: [&'static str; 2] = ["INSERT IGNORE", ""];
    const UNLESS_THERE: &'static str = "";
    const BY_KEY: &'static str = " FORCE INDEX (PRIMARY)";
    /// The newest row of a domain first.
    const THEN_BY: &'static str = ", id DESC";
    const DELETE_EVENTS: &'static str =
        "DELETE FROM domain_events WHERE id < ? ORDER BY id LIMIT ?";
    /// Each such statement reads the whole table, if there is no index.
    const NAMES: usize = 10_000;
    const CLAIM_WRITES: bool = true;

    fn affected(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    /// As bytes of UTF-8, whatever the column's character set and collation.
    async fn domain_bytes(_connection: &mut MySqlConnection) -> Result<&'static str, sqlx::Error> {
        Ok("CAST(CONVERT(domain USING utf8mb4) AS BINARY)")
    }

    async fn lock_domain(
        connection: &mut MySqlConnection,
        domain: &str,
    ) -> Result<Vec<Setting>, sqlx::Error> {
        let id = |row: &_| MySql::integer(row, 0);
        let find = statement("SELECT id FROM domain_settings WHERE domain = ?").bind(domain);
        let mut rows = Vec::new();
        for id in Self::rows(connection, find, id).await? {
            let lock = built(format!("{ROWS} WHERE id = ? FOR UPDATE")).bind(id);
            rows.extend(Self::rows(connection, lock, Self::setting).await?);
        }
        // What the collation takes for the same name may be another.
        rows.retain(|row| row.domain == domain);
        Ok(rows)
    }

    async fn is_free(connection: &mut MySqlConnection, domain: &str) -> Result<bool, sqlx::Error> {
        names::lock_one(connection, domain).await?;
        Ok(Self::lock_domain(connection, domain).await?.is_empty())
    }

    async fn claim(
        connection: &mut MySqlConnection,
        domains: &[String],
    ) -> Result<(), sqlx::Error> {
        names::lock_all(connection, domains).await
    }

    async fn newest_of(
        connection: &mut MySqlConnection,
        rows: Vec<Setting>,
        filter: &Filter,
    ) -> Result<Vec<Setting>, sqlx::Error> {
        duplicates::newest_of(connection, rows, filter).await
    }
}

impl Database<MySql> {
    pub fn open(options: MySqlConnectOptions, config: &Config) -> Result<Self, Error> {
        let lock_wait = lock_wait(config.query_timeout);
        // A server that is not strict would write ? for a character that a column cannot hold. The
        // isolation level is the usual default: with SERIALIZABLE each read would lock what it reads.
        let session = format!(
            "SET SESSION innodb_lock_wait_timeout = {lock_wait}, \
             SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'); \
             SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
        );
        let pool = Pool::new(options, config, move |connection| {
            let session = sqlx::raw_sql(AssertSqlSafe(session.clone()));
            Box::pin(async move { session.execute(connection).await.map(|_| ()) })
        })?;
        Ok(Database::new(pool, config.query_timeout))
    }

    pub async fn create_schema(&self) -> Result<(), Error> {
        let mut lease = self.lease().await?;
        within(self.limit, sqlx::raw_sql(SCHEMA).execute(&mut **lease)).await?;
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
    pub async fn missing_index(&self) -> Result<Option<&'static str>, Error> {
        let indexes = run!(self, |connection| {
            MySql::rows(connection, statement(INDEXES), |row| MySql::integer(row, 0)).await
        });
        Ok((indexes? == [0]).then_some(CREATE_INDEX))
    }
}

/// How many seconds (whole ones only) the server lets a statement wait for a lock. Less than our
/// own limit, so that a transaction is repeated rather than left behind, waiting, on the server.
fn lock_wait(limit: Duration) -> u64 {
    (limit.as_secs() / 5).max(1)
}

#[cfg(test)]
mod tests {
    use super::lock_wait;
    use std::time::Duration;

    #[test]
    fn the_server_waits_for_a_lock_in_whole_seconds() {
        let waits = [300, 5_000, 14_900, 60_000].map(Duration::from_millis).map(lock_wait);
        assert_eq!(waits, [1, 1, 2, 12]);
    }
}
