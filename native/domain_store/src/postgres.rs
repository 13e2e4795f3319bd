//! PostgreSQL, and CockroachDB by the same protocol.
//!
//! A pooler such as PgBouncer may stand between, and give each transaction another session. So nothing is
//! kept in a session: each operation is a transaction, and its statements have no name in it (two of
//! our connections would use the same names). That takes two to four messages more for an operation.
//! Each transaction says its isolation level, too, as the server's default may be another one.
//!
//! CockroachDB (22.2 and newer) is served by its documentation, and is not run in the tests. It has
//! a schema of its own (its `BIGSERIAL` gives huge ids in no order), older versions have no `COPY`
//! of a query, and any statement or `COMMIT` may ask for a repetition (SQLSTATE 40001). Its reads
//! wait for a transaction in flight that has written what they read.

use crate::config::{options_of, parsed_url, sqlx_options, tls_of_url};
use crate::import::import;
use crate::operations::{READY, operations_by_key, reading, shared_operations, text};
use crate::passwords::passwords;
use crate::pool::{Pool, give_back, within};
use crate::{Config, Enabled, Error, Server, Setting, Status, Tls, TlsMode};
use compact_str::CompactString;
use futures_util::StreamExt;
use memchr::memchr;
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row, Transaction};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

mod sql {
    pub const SCHEMA: &str = include_str!("../../../priv/schema/postgres.sql");
    pub const COCKROACHDB_SCHEMA: &str = include_str!("../../../priv/schema/cockroachdb.sql");
    pub const VERSION: &str = "SELECT version()";
    /// Each statement sees what others have committed before it. With a stricter level any of them may
    /// fail because of others.
    pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
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
    /// Twice as fast as `convert_to(domain, 'UTF8')`, and an index with this collation serves.
    pub const DOMAIN_BYTES: &str = "domain COLLATE \"C\"";
    /// Whose rules sort the column, by which name: its own collation or the database's. PostgreSQL
    /// before 15 has no column `datlocprovider`: the C library's rules, always.
    pub const COLLATION: &str = "SELECT \
         CASE collprovider WHEN 'd' THEN COALESCE(to_jsonb(d) ->> 'datlocprovider', 'c') \
             ELSE collprovider::text END, \
         COALESCE(CASE collprovider WHEN 'd' THEN datcollate ELSE collcollate END::text, '') \
         FROM pg_attribute JOIN pg_collation AS c ON c.oid = attcollation \
         JOIN pg_database AS d ON datname = current_database() \
         WHERE attrelid = 'domain_settings'::regclass AND attname = 'domain'";
    pub const SETTINGS: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain = ANY($1)";
    pub const ENABLED: &str = "SELECT domain, host_type FROM domain_settings WHERE status = 1";
    /// `COPY` gives rows half as fast again as a query does.
    pub const COPY_ENABLED: &str =
        "COPY (SELECT domain, host_type FROM domain_settings WHERE status = 1) TO STDOUT";
    pub const INSERT_DOMAIN: &str = "INSERT INTO domain_settings (domain, host_type, status) \
         VALUES ($1, $2, 1) ON CONFLICT (domain) DO NOTHING";
    pub const LOCK_DOMAIN: &str =
        "SELECT id, domain, host_type, status FROM domain_settings WHERE domain = $1 FOR UPDATE";
    pub const SET_STATUS: &str = "UPDATE domain_settings SET status = $1 WHERE id = $2";
    pub const DELETE_DOMAIN: &str = "DELETE FROM domain_settings WHERE id = $1";
    pub const ADMIN: &str = "SELECT domain, pass_details FROM domain_admins WHERE domain = $1";
    pub const LOCK_ADMIN: &str =
        "SELECT domain, pass_details FROM domain_admins WHERE domain = $1 FOR UPDATE";
    pub const INSERT_ADMIN: &str =
        "INSERT INTO domain_admins (pass_details, domain) VALUES ($1, $2)";
    pub const UPDATE_ADMIN: &str = "UPDATE domain_admins SET pass_details = $1 WHERE domain = $2";
    pub const DELETE_ADMIN: &str = "DELETE FROM domain_admins WHERE domain = $1";
    pub const ENCODING: &str = "SHOW server_encoding";
    pub const ECHO: &str = "SELECT $1::text";
    /// `unnest` gives the rows in the order of the arrays.
    pub const ADD: &str = "INSERT INTO domain_settings (domain, host_type, status) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[]) \
         ON CONFLICT (domain) DO NOTHING RETURNING domain";
    pub const LOCK_ROWS: &str = "SELECT id, domain, host_type, status FROM domain_settings \
         WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    pub const SET_STATUSES: &str = "UPDATE domain_settings SET status = $1 WHERE id = ANY($2)";
    pub const INSERT_EVENTS: &str = "INSERT INTO domain_events (domain) \
         SELECT domain FROM unnest($1::text[]) WITH ORDINALITY AS event (domain, place) \
         ORDER BY place";
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

/// How to connect, and what of it is about TLS.
pub(crate) type Options = (PgConnectOptions, Tls);

pub(crate) fn options_of_url(url: &str) -> Result<Options, Error> {
    let url = parsed_url(url, &URL_PARAMETERS, &["host", "hostaddr"])?;
    let mut options: PgConnectOptions = options_of(&url)?;
    if let Some(address) = &url.ipv6_address {
        options = options.host(address);
    }
    let mode = match options.get_ssl_mode() {
        PgSslMode::Disable | PgSslMode::Allow => TlsMode::Off,
        PgSslMode::Prefer => TlsMode::Preferred,
        PgSslMode::Require => TlsMode::Required,
        PgSslMode::VerifyCa => TlsMode::VerifyCa,
        PgSslMode::VerifyFull => TlsMode::VerifyFull,
    };
    let tls = tls_of_url(&url.url, mode, [&["sslrootcert"], &["sslcert"], &["sslkey"]])?;
    Ok((options, tls))
}

pub(crate) fn options_of_server(server: &Server) -> Result<Options, Error> {
    check_environment(server)?;
    let mode = match server.tls.mode {
        TlsMode::Off => PgSslMode::Disable,
        TlsMode::Preferred => PgSslMode::Prefer,
        TlsMode::Required => PgSslMode::Require,
        TlsMode::VerifyCa => PgSslMode::VerifyCa,
        TlsMode::VerifyFull => PgSslMode::VerifyFull,
    };
    let new = PgConnectOptions::new_without_pgpass();
    let options = sqlx_options!(server, new, mode, ssl_root_cert, ssl_root_cert_from_pem);
    Ok((options, server.tls.clone()))
}

/// sqlx takes what is not configured from libpq's variables, and cannot be told not to.
fn check_environment(server: &Server) -> Result<(), Error> {
    let leaks = |variable: &&&str| std::env::var_os(variable).is_some();
    let mut variables = vec!["PGOPTIONS"];
    if server.tls.client.is_none() {
        variables.extend(["PGSSLCERT", "PGSSLKEY"]);
    }
    if server.password.is_empty() {
        variables.push("PGPASSWORD");
    }
    match variables.iter().find(leaks) {
        Some(variable) => Err(Error::bad_option(format!(
            "the environment variable {variable} would change the connection to the database: \
             start the node without it"
        ))),
        None => Ok(()),
    }
}

/// The width of the columns for names.
const LONGEST_NAME: usize = 250;

/// Other sessions may have statements of the same names, and a pooler may give us those.
const PREPARED: bool = false;

/// So many names are looked for by two connections.
const MANY_NAMES: usize = 1_000;

/// The most ids in one statement: as many as there may be.
const CHUNK: usize = usize::MAX;

/// A claim is nothing here.
const LOOKS_FIRST: bool = false;

/// A PostgreSQL database, by its pool.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool<Postgres>,
    limit: Duration,
    domain_bytes: Arc<OnceLock<&'static str>>,
}

shared_operations!(Postgres, PgRow);
operations_by_key!(Postgres);
import!(Postgres);
passwords!(Postgres);

impl Database {
    pub(crate) fn open(options: PgConnectOptions, config: &Config) -> Result<Self, Error> {
        // It is only for floating-point numbers, and PgBouncer refuses who sends it.
        let options = options.extra_float_digits(None);
        let pool = Pool::new(options, config, |_| Box::pin(async { Ok(()) }))?;
        Ok(Database { pool, limit: config.query_timeout, domain_bytes: Arc::default() })
    }

    pub(crate) async fn create_schema(&self) -> Result<(), Error> {
        let mut lease = self.lease().await?;
        if within(self.limit, Self::version(&mut lease)).await?.starts_with("CockroachDB") {
            // One by one: it cannot do every combination of them in one transaction.
            for statement in sql::COCKROACHDB_SCHEMA.split(';') {
                within(self.limit, sqlx::raw_sql(statement).execute(&mut **lease)).await?;
            }
        } else {
            within(self.limit, sqlx::raw_sql(sql::SCHEMA).execute(&mut **lease)).await?;
        }
        give_back(lease);
        Ok(())
    }

    async fn begin_reading(
        connection: &mut PgConnection,
    ) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        connection.begin_with(sql::BEGIN).await
    }

    async fn end_reading(transaction: Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
        transaction.commit().await
    }

    async fn version(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
        sqlx::raw_sql(sql::VERSION).fetch_one(connection).await?.try_get(0)
    }

    pub(crate) async fn settings(&self, domains: &[String]) -> Result<Vec<Setting>, Error> {
        if domains.len() < MANY_NAMES {
            return self.settings_at_once(domains).await;
        }
        // The server looks for one half while we read the other.
        let (one, other) = domains.split_at(domains.len() / 2);
        let (one, other) = (self.settings_at_once(one), self.settings_at_once(other));
        let (mut settings, more) = tokio::try_join!(one, other)?;
        settings.extend(more);
        Ok(settings)
    }

    async fn settings_at_once(&self, domains: &[String]) -> Result<Vec<Setting>, Error> {
        reading!(self, connection => Self::find(&mut connection, domains))
    }

    async fn find(
        connection: &mut PgConnection,
        domains: &[String],
    ) -> Result<Vec<Setting>, sqlx::Error> {
        if domains.is_empty() {
            return Ok(Vec::new());
        }
        let query = Self::query(sql::SETTINGS).bind(domains);
        query.fetch_all(connection).await?.iter().map(Self::setting).collect()
    }

    pub(crate) async fn unfit<'a>(&self, names: Vec<&'a str>) -> Result<HashSet<&'a str>, Error> {
        let mut lease = self.lease().await?;
        let encoding = sqlx::raw_sql(sql::ENCODING).fetch_one(&mut **lease);
        let encoding: String = within(self.limit, encoding).await?.try_get(0)?;
        let mut unfit = HashSet::new();
        for name in names {
            let fits = match encoding.as_str() {
                "UTF8" => true,
                // It takes any bytes, and its columns count them.
                "SQL_ASCII" => name.len() <= LONGEST_NAME,
                _ => within(self.limit, Self::is_known(&mut lease, name)).await?,
            };
            if !fits {
                unfit.insert(name);
            }
        }
        give_back(lease);
        Ok(unfit)
    }

    /// Has the server's encoding all characters of the text?
    async fn is_known(connection: &mut PgConnection, text: &str) -> Result<bool, sqlx::Error> {
        let mut transaction = connection.begin_with(sql::BEGIN).await?;
        let is_known = match Self::query(sql::ECHO).bind(text).fetch_one(&mut *transaction).await {
            Ok(_) => true,
            // "Untranslatable character", "character not in repertoire".
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| code == "22P05" || code == "22021") =>
            {
                false
            }
            Err(error) => return Err(error),
        };
        transaction.rollback().await?;
        Ok(is_known)
    }

    /// What sorts domains by bytes. If the column does so by itself its index serves, and a page takes
    /// less than a millisecond, not hundreds. Looked up once.
    async fn domain_bytes(
        &self,
        connection: &mut PgConnection,
    ) -> Result<&'static str, sqlx::Error> {
        if let Some(known) = self.domain_bytes.get() {
            return Ok(known);
        }
        // CockroachDB's texts are sorted by bytes, if they have no collation, as here.
        let mut by_itself = Self::version(&mut *connection).await?.starts_with("CockroachDB");
        if !by_itself {
            let row = Self::query(sql::COLLATION).fetch_one(connection).await?;
            by_itself = is_order_of_bytes(row.try_get_unchecked(0)?, row.try_get_unchecked(1)?);
        }
        let found = if by_itself { "domain" } else { sql::DOMAIN_BYTES };
        Ok(self.domain_bytes.get_or_init(|| found))
    }

    /// Returns the domains that somebody else has added meanwhile.
    async fn add(
        connection: &mut PgConnection,
        rows: &[&crate::Row],
    ) -> Result<Vec<String>, sqlx::Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let domains: Vec<&str> = rows.iter().map(|row| row.domain.as_str()).collect();
        let host_types: Vec<&str> = rows.iter().map(|row| row.host_type.as_str()).collect();
        let statuses: Vec<i16> = rows.iter().map(|row| row.status().to_column()).collect();
        let query = Self::query(sql::ADD).bind(&domains).bind(host_types).bind(statuses);
        let added = query.fetch_all(connection).await?;
        let added: HashSet<String> =
            added.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let taken = domains.into_iter().filter(|domain| !added.contains(*domain));
        Ok(taken.map(str::to_owned).collect())
    }

    async fn lock(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<Setting>, sqlx::Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let query = Self::query(sql::LOCK_ROWS).bind(ids);
        query.fetch_all(connection).await?.iter().map(Self::setting).collect()
    }

    async fn set_statuses(
        connection: &mut PgConnection,
        ids: &[i64],
        status: Status,
    ) -> Result<(), sqlx::Error> {
        if !ids.is_empty() {
            let query = Self::query(sql::SET_STATUSES).bind(status.to_column()).bind(ids);
            query.execute(connection).await?;
        }
        Ok(())
    }

    async fn insert_events(
        connection: &mut PgConnection,
        domains: &[&str],
    ) -> Result<(), sqlx::Error> {
        if !domains.is_empty() {
            Self::query(sql::INSERT_EVENTS).bind(domains).execute(connection).await?;
        }
        Ok(())
    }

    async fn try_settle_gaps(&self, ids: &[i64]) -> Result<u64, Error> {
        let mut lease = self.lease().await?;
        // So that the server, too, gives up waiting for a transaction in flight when we do.
        let lock_wait = (self.limit * 9 / 10).as_millis().max(1);
        let limit_lock_wait = AssertSqlSafe(format!("SET LOCAL lock_timeout = '{lock_wait}ms'"));
        let inserted = within(self.limit, async {
            let mut transaction = lease.begin_with(sql::BEGIN).await?;
            sqlx::raw_sql(limit_lock_wait).execute(&mut *transaction).await?;
            let result = Self::query(sql::SETTLE_GAPS).bind(ids).execute(&mut *transaction).await?;
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
        if self.load_by_copy(batch, &to).await? {
            return Ok(());
        }
        self.load_by_query(batch, to, |row| Self::enabled(row).map(Some)).await
    }

    /// Returns whether the database can do this.
    async fn load_by_copy(
        &self,
        batch: usize,
        to: &mpsc::Sender<Vec<Enabled>>,
    ) -> Result<bool, Error> {
        let mut lease = self.lease().await?;
        let mut reading = within(self.limit, Self::begin_reading(&mut lease)).await?;
        let copy = timeout(self.limit, reading.copy_out_raw(sql::COPY_ENABLED)).await;
        let mut chunks = match copy.map_err(|_| Error::timeout(self.limit))? {
            // A message per row: what has come already is taken together.
            Ok(chunks) => chunks.ready_chunks(READY),
            Err(error) if is_refusal_to_copy(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut rows = CopyRows::default();
        loop {
            let next = timeout(self.limit, chunks.next()).await;
            let Some(ready) = next.map_err(|_| Error::timeout(self.limit))? else { break };
            for chunk in ready {
                rows.push(&chunk?);
                if rows.enabled.len() >= batch && to.send(rows.take()).await.is_err() {
                    return Ok(true);
                }
            }
        }
        drop(chunks);
        within(self.limit, Self::end_reading(reading)).await?;
        give_back(lease);
        if !rows.enabled.is_empty() {
            // Nobody there to take it: nobody to tell either.
            let _ = to.send(rows.take()).await;
        }
        Ok(true)
    }
}

/// By the manual of PostgreSQL ("Locale Providers"): its own locales (`b`) all sort by code points,
/// which in UTF-8 is by bytes; of the C library's (`c`) these do.
fn is_order_of_bytes(provider: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "");
    provider == "b" || provider == "c" && ["c", "posix", "c.utf8"].contains(&name.as_str())
}

/// An older CockroachDB has no `COPY` of a query: "feature not supported" or "syntax error".
fn is_refusal_to_copy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "0A000" || code == "42601")
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
        while let Some(end) = memchr(b'\n', chunk) {
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
    let tab = memchr(b'\t', line)?;
    Some((column(&line[..tab]), column(&line[tab + 1..])))
}

/// Text that is not UTF-8 reads as the empty name, as everywhere.
fn column(escaped: &[u8]) -> CompactString {
    if memchr(b'\\', escaped).is_none() {
        return CompactString::from_utf8(escaped).unwrap_or_default();
    }
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
    CompactString::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{CopyRows, Database, is_order_of_bytes, is_refusal_to_copy, options_of_url, sql};
    use crate::Config;
    use test_database::TestDatabase;
    use tokio::sync::mpsc;

    #[test]
    fn copied_rows_are_found_wherever_the_messages_end() {
        let text = b"one.example\ttype1\nback\\\\slash\\t.example\ttype\\n2\n";
        for cut in 0..=text.len() {
            let mut rows = CopyRows::default();
            rows.push(&text[..cut]);
            rows.push(&text[cut..]);
            let expected = [("one.example", "type1"), ("back\\slash\t.example", "type\n2")];
            assert_eq!(rows.take(), expected.map(|(a, b)| (a.into(), b.into())));
        }
    }

    /// The way of a CockroachDB that has no `COPY` of a query.
    #[tokio::test]
    async fn without_copy_a_query_loads_the_same() {
        let db = TestDatabase::postgres().await;
        for n in 0..25 {
            db.store.insert_domain(&format!("d{n:02}.example"), "type1").await.unwrap();
        }
        db.store.set_status("d03.example", false).await.unwrap();
        let (options, _) = options_of_url(&db.url).unwrap();
        let database = Database::open(options, &Config::new(&db.url)).unwrap();
        let (to, mut from) = mpsc::channel(10);
        database.load_by_query(10, to, |row| Database::enabled(row).map(Some)).await.unwrap();
        let mut by_query = Vec::new();
        while let Some(batch) = from.recv().await {
            assert!(batch.len() <= 10);
            by_query.extend(batch);
        }
        let (to, mut from) = mpsc::channel(10);
        assert!(database.load_by_copy(1_000, &to).await.unwrap());
        let mut by_copy = from.recv().await.unwrap();
        by_copy.sort();
        by_query.sort();
        assert_eq!(by_query.len(), 24);
        assert_eq!(by_query, by_copy);
    }

    #[test]
    fn the_collations_that_sort_by_bytes_are_known() {
        for (provider, name, expected) in [
            ("c", "C", true),
            ("c", "POSIX", true),
            ("c", "C.UTF-8", true),
            ("c", "C.utf8", true),
            ("c", "en_US.UTF-8", false),
            ("c", "", false),
            ("b", "en_US.UTF-8", true),
            // The name is for what ICU does not do.
            ("i", "C", false),
        ] {
            assert_eq!(is_order_of_bytes(provider, name), expected, "{provider} {name}");
        }
    }

    #[tokio::test]
    async fn the_index_serves_where_it_sorts_by_bytes() {
        let server = TestDatabase::empty_postgres().await;
        let natural = "LOCALE_PROVIDER icu ICU_LOCALE 'en'";
        let c = "ALTER TABLE domain_settings ALTER domain TYPE VARCHAR(250) COLLATE \"C\"";
        let cases = [
            ("c", "LOCALE 'C'", "", "domain"),
            ("natural", natural, "", sql::DOMAIN_BYTES),
            // ICU's, whatever the C library's collation is.
            ("mixed", "LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en'", "", sql::DOMAIN_BYTES),
            ("column", natural, c, "domain"),
        ];
        for (name, locale, statement, expected) in cases {
            let url = format!("{}_{name}", server.url);
            let name = url.rsplit_once('/').unwrap().1;
            server.execute(&format!("CREATE DATABASE {name} TEMPLATE template0 {locale}")).await;
            let (options, _) = options_of_url(&url).unwrap();
            let database = Database::open(options, &Config::new(&url)).unwrap();
            database.create_schema().await.unwrap();
            let mut connection = database.lease().await.unwrap();
            sqlx::raw_sql(statement).execute(&mut **connection).await.unwrap();
            for _ in 0..2 {
                let found = database.domain_bytes(&mut connection).await.unwrap();
                assert_eq!(found, expected, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_to_copy_is_told_from_other_errors() {
        let db = TestDatabase::postgres().await;
        let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
        for (statement, expected) in [
            ("COPY (SELECT FROM TO STDOUT", true),
            ("COPY (SELECT domain FROM domain_settings) TO STDOUT", false),
            ("COPY (SELECT domain FROM no_such_table) TO STDOUT", false),
        ] {
            let mut connection = pool.acquire().await.unwrap();
            let refused = match connection.copy_out_raw(statement).await {
                Ok(_) => false,
                Err(error) => is_refusal_to_copy(&error),
            };
            assert_eq!(refused, expected, "{statement}");
            connection.detach();
        }
    }
}
