//! A database of one kind, by its pool, and how operations run on it.

use crate::Error;
use crate::dialect::Dialect;
use crate::pool::{Lease, Pool};
use crate::retry::repeated;
use sqlx::{Connection, SqlStr, Transaction};
use std::sync::OnceLock;
use std::time::Duration;

/// A database, by its pool.
#[derive(Debug)]
pub(crate) struct Database<D: Dialect> {
    pub pool: Pool<D>,
    /// The time limit of an operation.
    pub limit: Duration,
    /// See [`Dialect::domain_bytes`].
    pub domain_bytes: OnceLock<&'static str>,
}

/// How a transaction ends, and what it found.
pub(crate) enum End<T> {
    Commit(T),
    /// There was nothing to write.
    Rollback(T),
}

impl<D: Dialect> Database<D> {
    pub fn new(pool: Pool<D>, limit: Duration) -> Self {
        Database { pool, limit, domain_bytes: OnceLock::new() }
    }

    /// A connection of the pool.
    pub async fn lease(&self) -> Result<Lease<D>, Error> {
        // SQLite is busy, at once, for whoever opens a new file while another does.
        repeated(self.limit, || self.pool.take()).await
    }
}

/// What an operation runs in that writes nothing, or by a single statement.
pub(crate) enum Scope<'c, D: Dialect> {
    /// Where a connection has no session of its own.
    Transaction(Transaction<'c, D>),
    Session(&'c mut D::Connection),
}

impl<'c, D: Dialect> Scope<'c, D> {
    pub async fn begin(connection: &'c mut D::Connection) -> Result<Self, sqlx::Error> {
        Ok(match D::HAS_SESSION {
            true => Scope::Session(connection),
            false => Scope::Transaction(begin::<D>(connection).await?),
        })
    }

    pub fn connection(&mut self) -> &mut D::Connection {
        match self {
            Scope::Transaction(transaction) => transaction,
            Scope::Session(connection) => connection,
        }
    }

    pub async fn end(self) -> Result<(), sqlx::Error> {
        match self {
            Scope::Transaction(transaction) => transaction.commit().await,
            Scope::Session(_) => Ok(()),
        }
    }
}

/// Begins to read by a connection of the pool.
pub(crate) async fn reading<D: Dialect>(lease: &mut Lease<D>) -> Result<Scope<'_, D>, sqlx::Error> {
    Scope::begin(&mut ***lease).await
}

/// Runs an operation on a connection of the pool, and again if the database asks for it.
///
/// A macro, because the compiler does not see that the future of an async closure that borrows both the
/// connection and the values can go to another thread (it is `Send`).
macro_rules! on_lease {
    ($database:expr, |$lease:ident| $operation:expr) => {
        crate::retry::repeated($database.limit, || async {
            let mut $lease = $database.pool.take().await?;
            let result = crate::pool::within($database.limit, async { $operation }).await?;
            crate::pool::give_back($lease);
            Ok(result)
        })
        .await
    };
}

/// Runs an operation that writes nothing, or by a single statement; and again if the database asks for
/// it.
macro_rules! run {
    ($database:expr, |$connection:ident| $operation:expr) => {
        crate::database::on_lease!($database, |lease| {
            let mut scope = crate::database::reading(&mut lease).await?;
            let $connection = scope.connection();
            let found: Result<_, sqlx::Error> = async { $operation }.await;
            let found = found?;
            scope.end().await?;
            Ok(found)
        })
    };
}

/// Runs a transaction that writes, and again if the database asks for it. The operation says how it
/// [`End`]s.
macro_rules! transaction {
    ($database:expr, |$connection:ident| $operation:expr) => {
        crate::database::on_lease!($database, |lease| {
            let mut transaction = crate::database::begin::<D>(&mut lease).await?;
            let $connection = &mut *transaction;
            let end: Result<_, sqlx::Error> = async { $operation }.await;
            match end? {
                crate::database::End::Commit(found) => transaction.commit().await.map(|()| found),
                crate::database::End::Rollback(found) => {
                    transaction.rollback().await.map(|()| found)
                }
            }
        })
    };
}

pub(crate) use {on_lease, run, transaction};

/// Begins a transaction that writes.
pub(crate) async fn begin<D: Dialect>(
    connection: &mut D::Connection,
) -> Result<Transaction<'_, D>, sqlx::Error> {
    connection.begin_with(SqlStr::from_static(D::BEGIN)).await
}
