//! SQLite: the embedded default, one file.
//!
//! Write-ahead logging, so that readers and the one writer do not wait for each other. Transactions
//! that write begin with the write lock (`BEGIN IMMEDIATE`): upgrading a read lock could fail.

use crate::error::reason;
use crate::import::{import, import_without_arrays};
use crate::operations::{
    operations_by_key, operations_without_arrays, read_without_transaction, reading,
    shared_operations, text,
};
use crate::passwords::passwords;
use crate::pool::{Pool, give_back, within};
use crate::{Config, Enabled, Error};
use futures_util::StreamExt;
use sqlx::sqlite::SqliteSynchronous;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow};
use sqlx::{Connection, Row, Sqlite, SqliteConnection};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

mod sql {
    pub const SCHEMA: &str = include_str!("../../../priv/schema/sqlite.sql");
    pub const TABLES: &str = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' \
         AND name IN ('domain_settings', 'domain_events', 'domain_admins')";
    pub const BEGIN: &str = "BEGIN IMMEDIATE";
    pub const EVENT_BOUNDS: &str = "SELECT MIN(id), MAX(id) FROM domain_events";
    pub const EVENTS: &str =
        "SELECT id, domain FROM domain_events WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3";
    pub const DELETE_EVENTS: &str = "DELETE FROM domain_events WHERE id IN \
         (SELECT id FROM domain_events WHERE id < $1 ORDER BY id LIMIT $2)";
    pub const INSERT_EVENT: &str = "INSERT INTO domain_events (domain) VALUES ($1)";
    pub const COUNT: &str =
        "SELECT COUNT(*) FROM (SELECT id FROM domain_settings LIMIT $1) AS some_rows";
    pub const PAGE: &str = "SELECT id, domain, host_type, status FROM domain_settings \
         WHERE id > $1 AND status = COALESCE($2, status) ORDER BY id LIMIT $3";
    pub const THEN_BY: &str = "";
    pub const SETTINGS: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain IN (";
    pub const ENABLED: &str = "SELECT domain, host_type FROM domain_settings WHERE status = 1";
    pub const INSERT_DOMAIN: &str = "INSERT INTO domain_settings (domain, host_type, status) \
         VALUES ($1, $2, 1) ON CONFLICT (domain) DO NOTHING";
    pub const LOCK_DOMAIN: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain = $1";
    pub const SET_STATUS: &str = "UPDATE domain_settings SET status = $1 WHERE id = $2";
    pub const DELETE_DOMAIN: &str = "DELETE FROM domain_settings WHERE id = $1";
    pub const ADMIN: &str = "SELECT domain, pass_details FROM domain_admins WHERE domain = $1";
    pub const LOCK_ADMIN: &str = ADMIN;
    pub const INSERT_ADMIN: &str =
        "INSERT INTO domain_admins (pass_details, domain) VALUES ($1, $2)";
    pub const UPDATE_ADMIN: &str = "UPDATE domain_admins SET pass_details = $1 WHERE domain = $2";
    pub const DELETE_ADMIN: &str = "DELETE FROM domain_admins WHERE domain = $1";
    pub const ADD: &str = "INSERT INTO domain_settings (domain, host_type, status) ";
    pub const LOCK_ROWS: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE id IN (";
    /// There is one writer at a time.
    pub const LOCK_ROWS_END: &str = ")";
    pub const SET_STATUSES: &str = "UPDATE domain_settings SET status = ";
    pub const INSERT_EVENTS: &str = "INSERT INTO domain_events (domain) ";
    pub const SETTLE_GAPS: &str = "INSERT OR IGNORE INTO domain_events (id, domain) ";
}

/// The most names or ids in one statement; SQLite's own limit is 32,766 parameters.
const CHUNK: usize = 1_000;

/// Statements are kept.
const PREPARED: bool = true;

/// A claim is nothing here.
const LOOKS_FIRST: bool = false;

/// An SQLite file, by its pool.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool<Sqlite>,
    limit: Duration,
}

shared_operations!(Sqlite, SqliteRow);
operations_by_key!(Sqlite);
operations_without_arrays!(Sqlite);
read_without_transaction!(Sqlite);
import!(Sqlite);
import_without_arrays!(Sqlite);
passwords!(Sqlite);

impl Database {
    pub(crate) fn open(url: &str, config: &Config) -> Result<Self, Error> {
        let bad = |error: sqlx::Error| Error::bad_url(reason(&error));
        let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
        if path.is_empty() || path.starts_with('?') {
            return Err(Error::bad_url("it names no file: use sqlite:path/to/file"));
        }
        if path.starts_with(":memory:") || path.contains("mode=memory") {
            return Err(Error::bad_url("an in-memory database cannot be shared: name a file"));
        }
        let mut options = SqliteConnectOptions::from_str(url)
            .map_err(bad)?
            .busy_timeout(config.query_timeout)
            // What was committed is there after a loss of power, too.
            .synchronous(SqliteSynchronous::Full);
        // With a mode in the URL the file is opened just as it says.
        if !path.contains("mode=") {
            options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        }
        let looked = Arc::new(AtomicBool::new(false));
        let pool = Pool::new(options, config, move |connection| {
            let looked = looked.clone();
            Box::pin(async move {
                // The embedded database makes its own tables, with the first connection: tables
                // that vanish later are an error. It looks first: looking needs no right to write.
                if looked.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let tables: i64 =
                    sqlx::query_scalar(sql::TABLES).fetch_one(&mut *connection).await?;
                if tables < 3 {
                    sqlx::raw_sql(sql::SCHEMA).execute(connection).await?;
                }
                looked.store(true, Ordering::Relaxed);
                Ok(())
            })
        })?;
        Ok(Database { pool, limit: config.query_timeout })
    }

    pub(crate) async fn create_schema(&self) -> Result<(), Error> {
        // Connecting has done it.
        give_back(self.lease().await?);
        Ok(())
    }

    /// What sorts domains by bytes: the column itself, its collation is `BINARY`.
    async fn domain_bytes(
        &self,
        _connection: &mut SqliteConnection,
    ) -> Result<&'static str, sqlx::Error> {
        Ok("domain")
    }

    pub(crate) async fn load(
        &self,
        batch: usize,
        to: mpsc::Sender<Vec<Enabled>>,
    ) -> Result<(), Error> {
        self.load_by_query(batch, to, |row| Self::enabled(row).map(Some)).await
    }
}
