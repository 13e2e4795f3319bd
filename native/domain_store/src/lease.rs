//! A connection, borrowed for one operation.

use crate::Error;
use scopeguard::ScopeGuard;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use std::time::Duration;
use tokio::time::timeout;

/// A connection of the pool. Dropped in the middle of things (an error, a time-out, a cancelled
/// task) it is closed: putting it back would wait for the answer that is outstanding, and hold its
/// place in the pool meanwhile. [`give_back`] puts it back.
pub(crate) type Lease<DB> = ScopeGuard<PoolConnection<DB>, fn(PoolConnection<DB>)>;

/// Takes a connection out of the pool, or opens one, within the pool's own time limit.
pub(crate) async fn take<DB: Database>(pool: &Pool<DB>) -> Result<Lease<DB>, Error> {
    let connection = pool.acquire().await?;
    Ok(scopeguard::guard(connection, |connection| drop(connection.detach())))
}

/// Puts a connection back into its pool, after an operation that ended well.
pub(crate) fn give_back<DB: Database>(lease: Lease<DB>) {
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
