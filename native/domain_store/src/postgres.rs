//! PostgreSQL, and CockroachDB by the same protocol.
//!
//! A pooler such as PgBouncer may stand between, and give each transaction another session: so nothing is
//! kept in a session (`Peer::HAS_SESSION`), which takes two to four messages more for an operation. Each
//! transaction says its isolation level, too, as the server's default may be another one.
//!
//! CockroachDB (22.2 and newer) is served by its documentation, and is not run in the tests. It has
//! a schema of its own (its `BIGSERIAL` gives huge ids in no order), older versions have no `COPY`
//! of a query, and any statement or `COMMIT` may ask for a repetition (SQLSTATE 40001). Its reads
//! wait for a transaction in flight that has written what they read.

mod collation;
mod copy;
mod options;
mod unfit;

pub(crate) use options::{Options, options_of_server, options_of_url};

use crate::database::Database;
use crate::dialect::Dialect;
use crate::peer::Peer;
use crate::pool::{Pool, give_back, within};
use crate::statement::Sql;
use crate::{Config, Error, Row, Setting, Status};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgQueryResult};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _};
use std::collections::HashSet;
use std::time::Duration;

/// The statements with arrays.
mod sql {
    pub const FIND: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain = ANY($1)";
    pub const LOCK_ROWS: &str = "SELECT id, domain, host_type, status FROM domain_settings \
         WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    /// `unnest` gives the rows in the order of the arrays.
    pub const ADD: &str = "INSERT INTO domain_settings (domain, host_type, status) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[]) \
         ON CONFLICT (domain) DO NOTHING RETURNING domain";
    pub const SET_STATUS: &str = "UPDATE domain_settings SET status = $1 WHERE id = ANY($2)";
    pub const INSERT_EVENTS: &str = "INSERT INTO domain_events (domain) \
         SELECT domain FROM unnest($1::text[]) WITH ORDINALITY AS event (domain, place) \
         ORDER BY place";
    pub const SETTLE: &str = "INSERT INTO domain_events (id, domain) \
         SELECT id, '' FROM unnest($1::bigint[]) AS gap(id) ON CONFLICT DO NOTHING";
}

const SCHEMA: &str = include_str!("../../../priv/schema/postgres.sql");
const COCKROACHDB_SCHEMA: &str = include_str!("../../../priv/schema/cockroachdb.sql");

/// Lists are arrays here: one parameter, one statement, however many values.
impl Dialect for Postgres {
    /// Each statement sees what others have committed before it. With a stricter level any of them may
    /// fail because of others.
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED";
    const MOST_GAPS: usize = usize::MAX;
    const MANY_NAMES: usize = 1_000;

    fn affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    async fn domain_bytes(connection: &mut PgConnection) -> Result<&'static str, sqlx::Error> {
        collation::domain_bytes(connection).await
    }

    async fn find(
        connection: &mut PgConnection,
        domains: &[String],
    ) -> Result<Vec<Setting>, sqlx::Error> {
        if domains.is_empty() {
            return Ok(Vec::new());
        }
        let query = query(sql::FIND).bind(domains);
        query.fetch(connection).map(|row| Self::setting(&row?)).try_collect().await
    }

    async fn lock_rows(
        connection: &mut PgConnection,
        ids: &[i64],
    ) -> Result<Vec<Setting>, sqlx::Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let query = query(sql::LOCK_ROWS).bind(ids);
        query.fetch(connection).map(|row| Self::setting(&row?)).try_collect().await
    }

    async fn add(connection: &mut PgConnection, rows: &[&Row]) -> Result<Vec<String>, sqlx::Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let domains: Vec<&str> = rows.iter().map(|row| row.domain.as_str()).collect();
        let host_types: Vec<&str> = rows.iter().map(|row| row.host_type.as_str()).collect();
        let statuses: Vec<i16> = rows.iter().map(|row| row.status().to_column()).collect();
        let query = query(sql::ADD).bind(&domains).bind(host_types).bind(statuses);
        let mut added = HashSet::new();
        for row in query.fetch_all(connection).await? {
            added.insert(Self::text(&row, 0)?);
        }
        let taken = domains.into_iter().filter(|domain| !added.contains(*domain));
        Ok(taken.map(str::to_owned).collect())
    }

    async fn set_status(
        connection: &mut PgConnection,
        ids: &[i64],
        status: Status,
    ) -> Result<(), sqlx::Error> {
        if !ids.is_empty() {
            let query = query(sql::SET_STATUS).bind(status.to_column()).bind(ids);
            query.execute(connection).await?;
        }
        Ok(())
    }

    async fn insert_events(
        connection: &mut PgConnection,
        domains: &[&str],
    ) -> Result<(), sqlx::Error> {
        if !domains.is_empty() {
            query(sql::INSERT_EVENTS).bind(domains).execute(connection).await?;
        }
        Ok(())
    }

    async fn settle(
        connection: &mut PgConnection,
        ids: &[i64],
        limit: Duration,
    ) -> Result<u64, sqlx::Error> {
        // So that the server, too, gives up waiting for a transaction in flight when we do.
        let lock_wait = (limit * 9 / 10).as_millis().max(1);
        let limit_lock_wait = AssertSqlSafe(format!("SET LOCAL lock_timeout = '{lock_wait}ms'"));
        sqlx::raw_sql(limit_lock_wait).execute(&mut *connection).await?;
        Ok(query(sql::SETTLE).bind(ids).execute(connection).await?.rows_affected())
    }
}

/// A statement without a name.
fn query(text: &'static str) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(text).persistent(Postgres::HAS_SESSION)
}

async fn version(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("SELECT version()").fetch_one(connection).await?.try_get(0)
}

impl Database<Postgres> {
    pub fn open(options: PgConnectOptions, config: &Config) -> Result<Self, Error> {
        // It is only for floating-point numbers, and PgBouncer refuses who sends it.
        let options = options.extra_float_digits(None);
        let pool = Pool::new(options, config, |_| Box::pin(async { Ok(()) }))?;
        Ok(Database::new(pool, config.query_timeout))
    }

    pub async fn create_schema(&self) -> Result<(), Error> {
        let mut lease = self.lease().await?;
        if within(self.limit, version(&mut lease)).await?.starts_with("CockroachDB") {
            // One by one: it cannot do every combination of them in one transaction.
            for statement in COCKROACHDB_SCHEMA.split(';') {
                within(self.limit, sqlx::raw_sql(statement).execute(&mut **lease)).await?;
            }
        } else {
            within(self.limit, sqlx::raw_sql(SCHEMA).execute(&mut **lease)).await?;
        }
        give_back(lease);
        Ok(())
    }
}
