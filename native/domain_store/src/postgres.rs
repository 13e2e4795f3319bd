//! PostgreSQL, and CockroachDB by the same protocol.
//!
//! No parameters are set for the session, so that a pooler such as PgBouncer may stand between.

use crate::lease::{give_back, within};
use crate::operations::{repeated, shared_operations, text};
use crate::{Config, Enabled, Error, Setting};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{Connection, PgPool, Postgres, Row};
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

mod sql {
    pub const SCHEMA: &str = include_str!("../../../priv/schema/postgres.sql");
    pub const BEGIN: &str = "BEGIN";
    pub const EVENT_BOUNDS: &str = "SELECT MIN(id), MAX(id) FROM domain_events";
    pub const EVENTS: &str =
        "SELECT id, domain FROM domain_events WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3";
    pub const DELETE_EVENTS: &str = "DELETE FROM domain_events WHERE id IN \
         (SELECT id FROM domain_events WHERE id < $1 ORDER BY id LIMIT $2)";
    pub const INSERT_EVENT: &str = "INSERT INTO domain_events (domain) VALUES ($1)";
    pub const PAGE: &str = "SELECT id, domain, host_type, status FROM domain_settings \
         WHERE id > $1 AND ($2::smallint IS NULL OR status = $2) ORDER BY id LIMIT $3";
    pub const SETTINGS: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain = ANY($1)";
    /// `COPY` gives rows half as fast again as a query does.
    pub const ENABLED: &str =
        "COPY (SELECT domain, host_type FROM domain_settings WHERE status = 1) TO STDOUT";
    pub const INSERT_DOMAIN: &str = "INSERT INTO domain_settings (domain, host_type, status) \
         VALUES ($1, $2, 1) ON CONFLICT (domain) DO NOTHING";
    pub const LOCK_DOMAIN: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain = $1 FOR UPDATE";
    pub const SET_STATUS: &str = "UPDATE domain_settings SET status = $1 WHERE domain = $2";
    pub const DELETE_DOMAIN: &str =
        "DELETE FROM domain_settings WHERE domain = $1 AND host_type = $2 AND status = 2";
    /// So that the server, too, gives up waiting for a transaction in flight when we do.
    pub const LIMIT_LOCK_WAIT: &str = "SELECT set_config('lock_timeout', $1, true)";
    pub const SETTLE_GAPS: &str = "INSERT INTO domain_events (id, domain) \
         SELECT id, '' FROM unnest($1::bigint[]) AS gap(id) ON CONFLICT DO NOTHING";
}

/// The parameters of a URL that sqlx knows.
const URL_PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// A PostgreSQL database, by its pool.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    limit: Duration,
}

shared_operations!(Postgres, PgRow);

impl Database {
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let bad = |error: sqlx::Error| Error::bad_url(error.to_string());
        let url = config.parsed_url(&URL_PARAMETERS)?;
        if !url.has_host() && !url.query_pairs().any(|(key, _)| key.starts_with("host")) {
            return Err(Error::bad_url("it names no host"));
        }
        let options = PgConnectOptions::from_str(url.as_str()).map_err(bad)?;
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.query_timeout)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options);
        Ok(Database { pool, limit: config.query_timeout })
    }

    pub(crate) async fn create_schema(&self) -> Result<(), Error> {
        let mut lease = self.lease().await?;
        within(self.limit, sqlx::raw_sql(sql::SCHEMA).execute(&mut **lease)).await?;
        give_back(lease);
        Ok(())
    }

    pub(crate) async fn settings(&self, domains: &[String]) -> Result<Vec<Setting>, Error> {
        let mut lease = self.lease().await?;
        let query = sqlx::query(sql::SETTINGS).bind(domains);
        let rows = within(self.limit, query.fetch_all(&mut **lease)).await?;
        give_back(lease);
        Ok(rows.iter().map(Self::setting).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn settle_gaps(&self, ids: &[i64]) -> Result<u64, Error> {
        repeated!(self.try_settle_gaps(ids))
    }

    async fn try_settle_gaps(&self, ids: &[i64]) -> Result<u64, Error> {
        let mut lease = self.lease().await?;
        let lock_wait = format!("{}ms", (self.limit * 9 / 10).as_millis().max(1));
        let inserted = within(self.limit, async {
            let mut transaction = lease.begin_with(sql::BEGIN).await?;
            sqlx::query(sql::LIMIT_LOCK_WAIT).bind(lock_wait).execute(&mut *transaction).await?;
            let result = sqlx::query(sql::SETTLE_GAPS).bind(ids).execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(result.rows_affected())
        })
        .await?;
        give_back(lease);
        Ok(inserted)
    }

    pub(crate) async fn load(
        &self,
        batch: usize,
        to: mpsc::Sender<Vec<Enabled>>,
    ) -> Result<(), Error> {
        let mut lease = self.lease().await?;
        let mut chunks = within(self.limit, lease.copy_out_raw(sql::ENABLED)).await?;
        let mut rows = CopyRows::default();
        loop {
            let next = timeout(self.limit, chunks.try_next()).await;
            let Some(chunk) = next.map_err(|_| Error::timeout(self.limit))?? else { break };
            rows.push(&chunk);
            if rows.enabled.len() >= batch && to.send(rows.take()).await.is_err() {
                return Ok(());
            }
        }
        drop(chunks);
        give_back(lease);
        if !rows.enabled.is_empty() {
            // Nobody there to take it: nobody to tell either.
            let _ = to.send(rows.take()).await;
        }
        Ok(())
    }
}

/// Takes apart the text format of `COPY`: lines of two columns with a tab between, backslash escapes
/// (PostgreSQL's manual, COPY, "Text Format"). A message may end anywhere in a line.
#[derive(Default)]
struct CopyRows {
    enabled: Vec<Enabled>,
    partial: Vec<u8>,
}

impl CopyRows {
    fn push(&mut self, mut chunk: &[u8]) {
        while let Some(end) = chunk.iter().position(|&byte| byte == b'\n') {
            if self.partial.is_empty() {
                self.enabled.extend(row(&chunk[..end]));
            } else {
                self.partial.extend_from_slice(&chunk[..end]);
                self.enabled.extend(row(&self.partial));
                self.partial.clear();
            }
            chunk = &chunk[end + 1..];
        }
        self.partial.extend_from_slice(chunk);
    }

    fn take(&mut self) -> Vec<Enabled> {
        let capacity = self.enabled.len();
        std::mem::replace(&mut self.enabled, Vec::with_capacity(capacity))
    }
}

fn row(line: &[u8]) -> Option<Enabled> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    Some((column(&line[..tab]), column(&line[tab + 1..])))
}

fn column(escaped: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut escaped = escaped.iter();
    while let Some(&byte) = escaped.next() {
        bytes.push(match byte {
            b'\\' => match escaped.next() {
                Some(b'b') => 0x08,
                Some(b'f') => 0x0c,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 0x0b,
                Some(&other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::CopyRows;

    #[test]
    fn copied_rows_are_found_wherever_the_messages_end() {
        let text = b"one.example\ttype1\nback\\\\slash\\t.example\ttype\\n2\n";
        for cut in 0..=text.len() {
            let mut rows = CopyRows::default();
            rows.push(&text[..cut]);
            rows.push(&text[cut..]);
            let expected = [("one.example", "type1"), ("back\\slash\t.example", "type\n2")];
            assert_eq!(rows.take(), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        }
    }
}
