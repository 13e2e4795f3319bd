//! A database of one kind, by its pool, and how operations run on it.

use crate::Error;
use crate::dialect::Dialect;
use crate::pool::{Lease, Pool};
use sqlx::{Connection, SqlStr, Transaction};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How often an operation is tried that the database asks to repeat.
const TRIES: u32 = 10;

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

/// Runs an operation on a connection of the pool, and again if the database asks for it.
///
/// A macro, because the compiler does not see that the future of an async closure that borrows both the
/// connection and the values can go to another thread (it is `Send`).
macro_rules! run {
    ($database:expr, |$connection:ident| $operation:expr) => {
        crate::database::repeated($database.limit, || async {
            let mut lease = $database.pool.take().await?;
            let result = crate::pool::within($database.limit, async {
                let $connection = &mut **lease;
                $operation
            });
            let result = result.await?;
            crate::pool::give_back(lease);
            Ok(result)
        })
        .await
    };
}

/// Runs a transaction that writes, and again if the database asks for it. The operation says how it
/// [`End`]s.
macro_rules! transaction {
    ($database:expr, |$connection:ident| $operation:expr) => {
        crate::database::run!($database, |connection| {
            let mut transaction = crate::database::begin::<D>(connection).await?;
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

pub(crate) use {run, transaction};

/// Begins a transaction that writes.
pub(crate) async fn begin<D: Dialect>(
    connection: &mut D::Connection,
) -> Result<Transaction<'_, D>, sqlx::Error> {
    connection.begin_with(SqlStr::from_static(D::BEGIN)).await
}

/// Repeats what the database asks to repeat: at most [`TRIES`] times, and no more when the time limit
/// is over, as each try may have taken all of it.
pub(crate) async fn repeated<T, F: Future<Output = Result<T, Error>>>(
    limit: Duration,
    operation: impl Fn() -> F,
) -> Result<T, Error> {
    let begun = Instant::now();
    let mut attempt = 1;
    loop {
        match operation().await {
            Err(error) if error.asks_for_retry() && attempt < TRIES && begun.elapsed() < limit => {
                tokio::time::sleep(pause(attempt - 1)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// The pause before the next try: up to 10 ms, 20 ms, 40 ms …, at random, so that two transactions
/// that stopped each other do not meet again.
fn pause(attempt: u32) -> Duration {
    Duration::from_micros(fastrand::u64(0..=10_000 << attempt.min(6)))
}
