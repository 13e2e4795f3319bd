//! Reads all enabled domains, by one streaming query.

use crate::database::{Database, reading};
use crate::dialect::Dialect;
use crate::pool::{give_back, within};
use crate::statement::Sql;
use crate::{Enabled, Error};
use compact_str::CompactString;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The most rows that are taken together, of those that have come already.
pub(crate) const READY: usize = 256;

impl<D: Dialect> Database<D> {
    /// Sends what `enabled` makes of the rows of this statement.
    pub async fn load_by_query(
        &self,
        text: &'static str,
        batch: usize,
        to: mpsc::Sender<Vec<Enabled>>,
        mut enabled: impl FnMut(&D::Row) -> Result<Option<Enabled>, sqlx::Error>,
    ) -> Result<(), Error> {
        let mut lease = self.lease().await?;
        let mut scope = within(self.limit, reading(&mut lease)).await?;
        let mut rows = D::stream(scope.connection(), text).ready_chunks(READY);
        let mut next_batch = Vec::with_capacity(batch);
        loop {
            let next = timeout(self.limit, rows.next()).await;
            let Some(ready) = next.map_err(|_| Error::timeout(self.limit))? else { break };
            for row in ready {
                next_batch.extend(enabled(&row?)?);
                if next_batch.len() == batch {
                    let full = std::mem::replace(&mut next_batch, Vec::with_capacity(batch));
                    if to.send(full).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        drop(rows);
        within(self.limit, scope.end()).await?;
        give_back(lease);
        if !next_batch.is_empty() {
            // Nobody there to take it: nobody to tell either.
            let _ = to.send(next_batch).await;
        }
        Ok(())
    }
}

/// A row of a domain and its host type. Text that is not UTF-8 reads as the empty name.
pub(crate) fn enabled<D: Sql>(row: &D::Row) -> Result<Enabled, sqlx::Error> {
    let name = |column| {
        D::bytes(row, column).map(|name| CompactString::from_utf8(name).unwrap_or_default())
    };
    Ok((name(0)?, name(1)?))
}
