//! The database: rows of domains and of events, in and out.
//!
//! It knows MongooseIM's three tables, and the SQL of each database. It knows nothing of routing
//! tables, positions or Erlang, and it has no policy: which rows to read, and what they mean, is for
//! `domain_sync` and for the callers.
//!
//! The operations are written once (`operations.rs`, `import.rs`, `passwords.rs`, `load.rs`) for every
//! [`Dialect`](dialect::Dialect), the trait that says in what the databases differ. What is special to
//! one is in its folder (`sqlite`, `postgres`, `mysql`).
//!
//! Every operation has a time limit ([`Config::query_timeout`]). A connection on which an operation
//! did not end properly is closed, not put back into the pool: the other side may be hanging.
//! Writes are transactions; one that the database asks to repeat (serialization failure, deadlock,
//! busy) is repeated.

mod config;
mod database;
mod dialect;
mod error;
mod import;
mod load;
mod mysql;
mod operations;
mod passwords;
mod peer;
mod pool;
mod postgres;
mod retry;
mod sqlite;
mod statement;
mod tls;

pub use config::{Config, Driver, Endpoint, Server};
pub use error::{Error, ErrorKind};
pub use import::{Outcome, Row};
pub use tls::{Client, Pem, Tls, TlsMode};

use compact_str::CompactString;
use database::Database;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{MySql, Postgres, Sqlite};
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The status of a domain, as `domain_settings.status` holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0: known, but does not route.
    Disabled,
    /// 1: routes.
    Enabled,
    /// 2: is being removed; never routes again.
    Deleting,
}

impl Status {
    pub(crate) fn to_column(self) -> i16 {
        match self {
            Status::Disabled => 0,
            Status::Enabled => 1,
            Status::Deleting => 2,
        }
    }

    /// A number that is none of the three does not route either.
    pub(crate) fn from_column(status: i16) -> Self {
        match status {
            1 => Status::Enabled,
            2 => Status::Deleting,
            _ => Status::Disabled,
        }
    }
}

/// A row of `domain_settings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The row's id: pages are read by it.
    pub id: i64,
    /// The domain.
    pub domain: String,
    /// Its host type.
    pub host_type: String,
    /// Its status.
    pub status: Status,
}

/// Which rows [`Store::list`] gives: all by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this host type.
    pub host_type: Option<String>,
    /// Only those with this status.
    pub status: Option<Status>,
}

/// A row of `domain_events`: "look at this domain again".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log. Handed out before the commit.
    pub id: i64,
    /// The domain; empty in a dummy, the row that settles a gap.
    pub domain: String,
}

/// An enabled domain and its host type. There may be millions, so names of up to 24 bytes are no
/// allocations.
pub type Enabled = (CompactString, CompactString);

/// What [`Store::insert_domain`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insert {
    /// The domain is new and enabled.
    Inserted,
    /// It is there already, as this row; nothing changed.
    Exists(Setting),
}

/// What [`Store::set_status`] and [`Store::mark_deleting`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The domain has the status now, or had it before.
    Done,
    /// There is no such domain.
    NotFound,
    /// It has this other host type; nothing changed.
    WrongHostType(String),
    /// It is marked for deletion; nothing changed.
    Deleting,
}

/// How many connections there are, by [`Store::connections`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// So many are open.
    pub open: u32,
    /// So many of them are not in use.
    pub idle: u32,
    /// So many may be open: [`Config::max_connections`].
    pub most: u32,
}

/// An operation, to be awaited. Boxed here, so that the code behind it is compiled once, with this
/// crate, and not again with each crate that awaits it.
pub type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A database, by its pool of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// An SQLite file.
    Sqlite(Arc<Database<Sqlite>>),
    /// PostgreSQL, or CockroachDB, which speaks its protocol.
    Postgres(Arc<Database<Postgres>>),
    /// MySQL or MariaDB.
    Mysql(Arc<Database<MySql>>),
}

/// Calls the method of the same name on the database behind the store.
macro_rules! on_database {
    ($store:expr, $database:ident => $call:expr) => {
        match &$store.0 {
            Kind::Sqlite($database) => $call,
            Kind::Postgres($database) => $call,
            Kind::Mysql($database) => $call,
        }
    };
}

impl Store {
    /// Prepares a pool; connects only when the first operation needs it. Must be called inside a
    /// tokio runtime.
    ///
    /// Errors: [`ErrorKind::BadUrl`], [`ErrorKind::UnknownScheme`], and [`ErrorKind::BadOption`] if a
    /// file for TLS is missing or wrong.
    pub fn open(config: &Config) -> Result<Store, Error> {
        use config::Scheme;
        match &config.endpoint {
            Endpoint::Url(url) => match config::scheme(url)? {
                Scheme::Sqlite => Self::sqlite(sqlite::options_of_url(url, config)?, config),
                Scheme::Postgres => Self::postgres(postgres::options_of_url(url)?, config),
                Scheme::Mysql => Self::mysql(mysql::options_of_url(url)?, config),
            },
            Endpoint::Server(server) => match server.driver {
                Driver::Postgres => Self::postgres(postgres::options_of_server(server)?, config),
                Driver::Mysql => Self::mysql(mysql::options_of_server(server), config),
            },
        }
    }

    fn sqlite(options: SqliteConnectOptions, config: &Config) -> Result<Store, Error> {
        Ok(Store(Kind::Sqlite(Arc::new(Database::<Sqlite>::open(options, config)?))))
    }

    fn postgres((options, tls): postgres::Options, config: &Config) -> Result<Store, Error> {
        tls.check()?;
        Ok(Store(Kind::Postgres(Arc::new(Database::<Postgres>::open(options, config)?))))
    }

    fn mysql((options, tls): mysql::Options, config: &Config) -> Result<Store, Error> {
        tls.check()?;
        Ok(Store(Kind::Mysql(Arc::new(Database::<MySql>::open(options, config)?))))
    }

    /// `sqlite`, `postgres` (CockroachDB as well) or `mysql` (MariaDB as well).
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Kind::Sqlite(_) => "sqlite",
            Kind::Postgres(_) => "postgres",
            Kind::Mysql(_) => "mysql",
        }
    }

    /// The connections of the pool, at this moment.
    pub fn connections(&self) -> Connections {
        on_database!(self, database => database.connections())
    }

    /// Closes all connections, as soon as their operations end.
    pub async fn close(&self) {
        on_database!(self, database => database.close().await)
    }

    /// Creates the tables that are missing and, on MySQL, the index: see [`Self::missing_index`].
    pub fn create_schema(&self) -> Operation<'_, ()> {
        on_database!(self, database => Box::pin(database.create_schema()))
    }

    /// The statement that adds an index on `domain_settings.domain`, if there is none. That is only
    /// on MySQL, whose schema in MongooseIM has none; everything works without it, but slowly: to
    /// find a domain the whole table is read.
    pub fn missing_index(&self) -> Operation<'_, Option<&'static str>> {
        match &self.0 {
            Kind::Mysql(database) => Box::pin(database.missing_index()),
            Kind::Sqlite(_) | Kind::Postgres(_) => Box::pin(async { Ok(None) }),
        }
    }

    /// The oldest and the newest event id, or `None` if the log is empty.
    pub fn event_bounds(&self) -> Operation<'_, Option<(i64, i64)>> {
        on_database!(self, database => Box::pin(database.event_bounds()))
    }

    /// The first `limit` events with ids of `from` to `upto`, by id.
    pub fn events(&self, from: i64, upto: i64, limit: u32) -> Operation<'_, Vec<Event>> {
        on_database!(self, database => Box::pin(database.events(from, upto, limit)))
    }

    /// The rows of these domains, in no order. Domains without a row are left out. On MySQL a domain
    /// may have several: the one with the newest id counts.
    pub fn settings<'a>(&'a self, domains: &'a [String]) -> Operation<'a, Vec<Setting>> {
        on_database!(self, database => Box::pin(database.settings(domains)))
    }

    /// Inserts a dummy event for every id that has none, and returns how many it inserted. Waits for
    /// transactions in flight that have inserted an event with one of the ids: if they take longer
    /// than the time limit, that is [`ErrorKind::Timeout`].
    pub fn settle_gaps<'a>(&'a self, ids: &'a [i64]) -> Operation<'a, u64> {
        on_database!(self, database => Box::pin(database.settle_gaps(ids)))
    }

    /// Sends all enabled domains, of one moment in time, in batches of `batch`. Ends early, with
    /// `Ok`, when the receiver is gone. The time limit is for each wait for the database.
    pub fn load(&self, batch: usize, to: mpsc::Sender<Vec<Enabled>>) -> Operation<'_, ()> {
        on_database!(self, database => Box::pin(database.load(batch, to)))
    }

    /// Deletes the oldest events with ids below `id`, at most `limit`, and returns how many.
    pub fn delete_events_below(&self, id: i64, limit: u32) -> Operation<'_, u64> {
        on_database!(self, database => Box::pin(database.delete_events_below(id, limit)))
    }

    /// Inserts an enabled domain and its event.
    pub fn insert_domain<'a>(
        &'a self,
        domain: &'a str,
        host_type: &'a str,
    ) -> Operation<'a, Insert> {
        on_database!(self, database => Box::pin(database.insert_domain(domain, host_type)))
    }

    /// Enables or disables a domain, with an event if that changes anything.
    pub fn set_status<'a>(&'a self, domain: &'a str, enabled: bool) -> Operation<'a, Change> {
        let status = if enabled { Status::Enabled } else { Status::Disabled };
        on_database!(self, database => Box::pin(database.change(domain, None, status)))
    }

    /// Marks a domain for deletion, with an event if it was not marked before.
    pub fn mark_deleting<'a>(
        &'a self,
        domain: &'a str,
        host_type: &'a str,
    ) -> Operation<'a, Change> {
        let host_type = Some(host_type);
        on_database!(self, database => {
            Box::pin(database.change(domain, host_type, Status::Deleting))
        })
    }

    /// Deletes the row of a domain that is marked for deletion, with an event. Returns whether there
    /// was one. Other rows of the domain (on MySQL) stay; without one its password goes, too.
    pub fn delete_domain<'a>(&'a self, domain: &'a str, host_type: &'a str) -> Operation<'a, bool> {
        on_database!(self, database => Box::pin(database.delete_domain(domain, host_type)))
    }

    /// Keeps this of the password of a domain's administrator, in place of what was kept. Returns
    /// whether the domain is there, and not marked for deletion; a static one needs no row.
    pub fn set_password<'a>(
        &'a self,
        domain: &'a str,
        details: &'a str,
        is_static: bool,
    ) -> Operation<'a, bool> {
        on_database!(self, database => {
            Box::pin(database.set_password(domain, details, is_static))
        })
    }

    /// Forgets the password of a domain's administrator. Returns whether there was one.
    pub fn delete_password<'a>(&'a self, domain: &'a str) -> Operation<'a, bool> {
        on_database!(self, database => Box::pin(database.delete_password(domain)))
    }

    /// What is kept of the password of a domain's administrator.
    pub fn password<'a>(&'a self, domain: &'a str) -> Operation<'a, Option<String>> {
        on_database!(self, database => Box::pin(database.password(domain)))
    }

    /// Those of the names that the database cannot hold, because its character set has not all of
    /// their characters. Asks it only if a name is not ASCII.
    pub fn unfit<'a>(&'a self, names: &'a [&'a str]) -> Operation<'a, HashSet<&'a str>> {
        Box::pin(async move {
            let names: Vec<&str> = names.iter().copied().filter(|name| !name.is_ascii()).collect();
            match &self.0 {
                Kind::Postgres(database) if !names.is_empty() => database.unfit(&names).await,
                Kind::Mysql(database) if !names.is_empty() => database.unfit(&names).await,
                _ => Ok(HashSet::new()),
            }
        })
    }

    /// The row of a domain.
    pub fn select_domain<'a>(&'a self, domain: &'a str) -> Operation<'a, Option<Setting>> {
        Box::pin(async move {
            let rows = self.settings(&[domain.to_owned()]).await?;
            Ok(operations::newest(rows))
        })
    }

    /// The first `limit` rows with ids above `after`, by id; with a status, only such rows.
    pub fn page(
        &self,
        status: Option<Status>,
        after: i64,
        limit: u32,
    ) -> Operation<'_, Vec<Setting>> {
        on_database!(self, database => Box::pin(database.page(status, after, limit)))
    }

    /// How many rows there are; if there are more than `most`, that, and no more are looked at.
    pub fn count(&self, most: u32) -> Operation<'_, u32> {
        on_database!(self, database => Box::pin(database.count(most)))
    }

    /// The ids of the rows that do not count, because a newer one has the same domain. Only MySQL can
    /// have such rows, and is read once from end to end.
    pub fn outdated(&self) -> Operation<'_, HashSet<i64>> {
        match &self.0 {
            Kind::Mysql(database) => Box::pin(database.outdated()),
            Kind::Sqlite(_) | Kind::Postgres(_) => Box::pin(async { Ok(HashSet::new()) }),
        }
    }

    /// The first `limit` rows with a domain greater than `after`, sorted by domain, by bytes. Fewer
    /// than `limit`: there are no more. On MySQL a domain may have several rows: it comes with the one
    /// that has the newest id, if that one passes the filter.
    ///
    /// Where the database cannot sort by bytes along an index (on MySQL, and on PostgreSQL unless its
    /// collation is `C` or `C.UTF-8`) every page reads the whole table, so take large ones.
    pub fn list<'a>(
        &'a self,
        filter: &'a Filter,
        after: &'a str,
        limit: u32,
    ) -> Operation<'a, Vec<Setting>> {
        on_database!(self, database => Box::pin(database.list(filter, after, limit)))
    }

    /// Adds these domains, or sets their status, in one transaction, with one event for each that is
    /// added or changed, by ids in the order of the rows. Returns what became of each row, in the same
    /// order; with `dry_run`, what would, and writes nothing.
    ///
    /// A domain may come only once (else it is an error: split the rows), in up to about 1,000 rows,
    /// so that the transaction ends within the time limit and holds up nobody else for long.
    pub fn import<'a>(&'a self, rows: &'a [Row], dry_run: bool) -> Operation<'a, Vec<Outcome>> {
        on_database!(self, database => Box::pin(database.import(rows, dry_run)))
    }
}
