//! SQLite: the embedded default, one file.
//!
//! Write-ahead logging, so that readers and the one writer do not wait for each other. Transactions
//! that write begin with the write lock (`BEGIN IMMEDIATE`): upgrading a read lock could fail.

mod options;

pub(crate) use options::options_of_url;

use crate::database::Database;
use crate::dialect::Dialect;
use crate::load::enabled;
use crate::pool::{Pool, give_back};
use crate::{Config, Enabled, Error};
use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteQueryResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

const SCHEMA: &str = include_str!("../../../priv/schema/sqlite.sql");
const TABLES: &str = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' \
     AND name IN ('domain_settings', 'domain_events', 'domain_admins')";
const ENABLED: &str = "SELECT domain, host_type FROM domain_settings WHERE status = 1";

impl Dialect for Sqlite {
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    /// There is one writer at a time.
    const FOR_UPDATE: &'static str = "";

    fn affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }
}

impl Database<Sqlite> {
    pub fn open(options: SqliteConnectOptions, config: &Config) -> Result<Self, Error> {
        let looked = Arc::new(AtomicBool::new(false));
        let pool = Pool::new(options, config, move |connection| {
            let looked = looked.clone();
            Box::pin(async move {
                // The embedded database makes its own tables, with the first connection: tables
                // that vanish later are an error. It looks first: looking needs no right to write.
                if looked.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let tables: i64 = sqlx::query_scalar(TABLES).fetch_one(&mut *connection).await?;
                if tables < 3 {
                    sqlx::raw_sql(SCHEMA).execute(connection).await?;
                }
                looked.store(true, Ordering::Relaxed);
                Ok(())
            })
        })?;
        Ok(Database::new(pool, config.query_timeout))
    }

    pub async fn create_schema(&self) -> Result<(), Error> {
        // Connecting has done it.
        give_back(self.lease().await?);
        Ok(())
    }

    pub async fn load(&self, batch: usize, to: mpsc::Sender<Vec<Enabled>>) -> Result<(), Error> {
        self.load_by_query(ENABLED, batch, to, |row| enabled::<Sqlite>(row).map(Some)).await
    }
}
