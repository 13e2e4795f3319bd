//! A pool of connections, and a connection that is borrowed for one operation.
//!
//! By `deadpool` and not by sqlx's own pool, which
//!
//! - goes on trying until the time limit is over when the server refuses connections, and then
//!   cannot say why;
//! - takes a connection back by a task, so that the next operation opens another one meanwhile;
//! - closes every connection that is idle for long, unless it is to hold some from the start on.
//!
//! Here a refusal is an error at once, and of the connections that are idle one stays open: what
//! comes after a quiet time need not wait for TCP, TLS and the login.
//!
//! A connection to a server that cannot be written any more is not used again: after a failover the
//! server's name leads to another one. If it does not yet, each operation has a connection of its own.

use crate::peer::{OptionsOf, Peer};
use crate::{Config, Connections, Error};
use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, WeakPool};
use deadpool::managed::{RecycleError, RecycleResult};
use futures_util::future::BoxFuture;
use scopeguard::ScopeGuard;
use sqlx::{ConnectOptions, Connection};
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The longest time to say goodbye to a server.
const GOODBYE: Duration = Duration::from_secs(2);

/// What is done with each new connection.
type Prepare<C> =
    Box<dyn for<'c> Fn(&'c mut C) -> BoxFuture<'c, Result<(), sqlx::Error>> + Send + Sync>;

/// A pool of connections.
pub(crate) struct Pool<DB: Peer> {
    connections: managed::Pool<Manager<DB>>,
    most: u32,
    limit: Duration,
    closed: watch::Sender<bool>,
}

pub(crate) struct Manager<DB: Peer> {
    options: OptionsOf<DB>,
    prepare: Prepare<DB::Connection>,
}

impl<DB: Peer> managed::Manager for Manager<DB> {
    type Type = DB::Connection;
    type Error = Error;

    async fn create(&self) -> Result<DB::Connection, Error> {
        let no_connection = |error| Error::connecting(DB::address(&self.options), error);
        let mut connection = self.options.connect().await.map_err(no_connection)?;
        (self.prepare)(&mut connection).await?;
        Ok(connection)
    }

    async fn recycle(
        &self,
        connection: &mut DB::Connection,
        _metrics: &Metrics,
    ) -> RecycleResult<Error> {
        // Or the server may have closed it.
        match DB::is_writable(connection).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RecycleError::message("the server has become read-only")),
            Err(error) => Err(RecycleError::Backend(error.into())),
        }
    }
}

/// A connection, borrowed for one operation. Dropped in the middle of things (an error, a time-out, a
/// cancelled task) it is closed: putting it back would hand an answer that is outstanding to the
/// next operation. [`give_back`] puts it back.
pub(crate) type Lease<DB> = ScopeGuard<Object<Manager<DB>>, fn(Object<Manager<DB>>)>;

impl<DB: Peer> Pool<DB> {
    /// A pool without connections: they are opened when they are needed. Must be called inside a
    /// tokio runtime.
    pub fn new(
        options: OptionsOf<DB>,
        config: &Config,
        prepare: impl for<'c> Fn(&'c mut DB::Connection) -> BoxFuture<'c, Result<(), sqlx::Error>>
        + Send
        + Sync
        + 'static,
    ) -> Result<Self, Error> {
        let connections = managed::Pool::builder(Manager { options, prepare: Box::new(prepare) })
            .max_size(config.max_connections as usize)
            // So that those which are not needed become idle.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| Error::bad_option(error.to_string()))?;
        let closed = watch::Sender::new(false);
        tokio::spawn(close_idle(connections.weak(), closed.subscribe(), config.idle_timeout));
        let (most, limit) = (config.max_connections, config.query_timeout);
        Ok(Pool { connections, most, limit, closed })
    }

    /// Takes a connection out of the pool, or opens one, within the time limit.
    pub async fn take(&self) -> Result<Lease<DB>, Error> {
        let connection = match timeout(self.limit, self.connections.get()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(PoolError::Backend(error))) => return Err(error),
            Ok(Err(PoolError::Closed)) => return Err(sqlx::Error::PoolClosed.into()),
            Ok(Err(_)) | Err(_) => return Err(sqlx::Error::PoolTimedOut.into()),
        };
        Ok(scopeguard::guard(connection, |connection| drop(Object::take(connection))))
    }

    /// Closes all connections, as soon as their operations end.
    pub async fn close(&self) {
        let idle = self.connections.retain(|_, _| false).removed;
        self.connections.close();
        self.closed.send_replace(true);
        say_goodbye(idle).await;
    }

    /// The connections at this moment.
    pub fn connections(&self) -> Connections {
        let status = self.connections.status();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Connections { open: count(status.size), idle: count(status.available), most: self.most }
    }
}

/// Puts a connection back into its pool, after an operation that ended well.
pub(crate) fn give_back<DB: Peer>(lease: Lease<DB>) {
    drop(ScopeGuard::into_inner(lease));
}

/// Runs an operation with a time limit.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    match timeout(limit, operation).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Error::timeout(limit)),
    }
}

/// Closes connections that have not been used for so long, but never the last one, until the pool is
/// closed or nobody has it any more.
async fn close_idle<DB: Peer>(
    pool: WeakPool<Manager<DB>>,
    mut closed: watch::Receiver<bool>,
    idle_timeout: Duration,
) {
    while timeout(idle_timeout, closed.wait_for(|closed| *closed)).await.is_err() {
        let Some(pool) = pool.upgrade() else { return };
        let mut spare = pool.status().size.saturating_sub(1);
        let idle = pool.retain(|_, metrics| {
            let is_needed = spare == 0 || metrics.last_used() < idle_timeout;
            spare -= usize::from(!is_needed);
            is_needed
        });
        drop(pool);
        say_goodbye(idle.removed).await;
    }
}

async fn say_goodbye<C: Connection>(connections: Vec<C>) {
    for connection in connections {
        // One that is not closed in good order is closed all the same.
        let _ = timeout(GOODBYE, connection.close()).await;
    }
}

// Derived, it would ask the same of `DB`.
impl<DB: Peer> fmt::Debug for Pool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connections().fmt(f)
    }
}
