//! The operations that are the same for every database but for the text of their SQL.
//!
//! Written once, as macros: a generic over `sqlx::Database` would need a page of bounds on every
//! function. Each database's file brings a module `sql` with the statements and its own `Database`.

use crate::{Setting, Status};

/// The most rows of a load that are taken together, of those that have come already.
pub(crate) const READY: usize = 256;

/// The beginning of a statement that reads some of the rows.
pub(crate) const ROWS: &str = "SELECT id, domain, host_type, status FROM domain_settings WHERE ";

/// The row that counts of all rows of a domain.
pub(crate) fn newest(rows: Vec<Setting>) -> Option<Setting> {
    rows.into_iter().max_by_key(|row| row.id)
}

/// The ids of the rows that a change to this status changes: a mark for deletion stays, also on a row
/// that does not count any more.
pub(crate) fn to_change(rows: &[Setting], status: Status) -> Vec<i64> {
    let unchanged = [status, Status::Deleting];
    let rows = rows.iter().filter(|row| !unchanged.contains(&row.status));
    rows.map(|row| row.id).collect()
}

/// Reads by a connection of the pool; repeated when the database asks for it.
macro_rules! reading {
    ($self:ident, $connection:ident => $reading:expr) => {
        crate::retry::repeated($self.limit, || async {
            let mut lease = $self.lease().await?;
            let found = within($self.limit, async {
                #[allow(unused_mut)] // only a transaction needs it
                let mut $connection = Self::begin_reading(&mut lease).await?;
                let found = $reading.await?;
                Self::end_reading($connection).await?;
                Ok(found)
            })
            .await?;
            give_back(lease);
            Ok(found)
        })
        .await
    };
}

/// Reads a text column. Text that is not UTF-8 reads as the empty name, which no domain has: one bad
/// row must not keep all others from being read.
macro_rules! text {
    ($row:expr, $column:expr) => {
        String::from_utf8($row.try_get_unchecked::<Vec<u8>, _>($column)?).unwrap_or_default()
    };
}

/// Implements the shared operations on the type `Database` of a database's file, which has `pool`
/// and `limit`. The file brings `try_settle_gaps` for one chunk of ids, and the constants `CHUNK` and
/// `PREPARED`.
macro_rules! shared_operations {
    ($sqlx:ty, $row:ty) => {
        impl Database {
            async fn lease(&self) -> Result<crate::pool::Lease<$sqlx>, crate::Error> {
                // SQLite is busy, at once, for whoever opens a new file while another does.
                crate::retry::repeated(self.limit, || self.pool.take()).await
            }

            /// A statement of ours. It is kept prepared where [`PREPARED`] says so.
            fn query(
                statement: &'static str,
            ) -> sqlx::query::Query<'static, $sqlx, <$sqlx as sqlx::Database>::Arguments> {
                sqlx::query(statement).persistent(PREPARED)
            }

            pub(crate) async fn close(&self) {
                self.pool.close().await;
            }

            pub(crate) fn connections(&self) -> crate::Connections {
                self.pool.connections()
            }

            pub(crate) async fn event_bounds(&self) -> Result<Option<(i64, i64)>, crate::Error> {
                let row = reading!(self, connection => {
                    Self::query(sql::EVENT_BOUNDS).fetch_one(&mut *connection)
                })?;
                let oldest: Option<i64> = row.try_get_unchecked(0)?;
                let newest: Option<i64> = row.try_get_unchecked(1)?;
                Ok(oldest.zip(newest))
            }

            pub(crate) async fn events(
                &self,
                from: i64,
                upto: i64,
                limit: u32,
            ) -> Result<Vec<crate::Event>, crate::Error> {
                let rows = reading!(self, connection => {
                    let query = Self::query(sql::EVENTS).bind(from).bind(upto);
                    query.bind(i64::from(limit)).fetch_all(&mut *connection)
                })?;
                let event = |row: &$row| -> Result<_, sqlx::Error> {
                    Ok(crate::Event { id: row.try_get_unchecked(0)?, domain: text!(row, 1) })
                };
                Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
            }

            pub(crate) async fn settle_gaps(&self, ids: &[i64]) -> Result<u64, crate::Error> {
                let mut inserted = 0;
                for chunk in ids.chunks(CHUNK) {
                    inserted += crate::retry::repeated(self.limit, || self.try_settle_gaps(chunk)).await?;
                }
                Ok(inserted)
            }

            pub(crate) async fn delete_events_below(
                &self,
                id: i64,
                limit: u32,
            ) -> Result<u64, crate::Error> {
                crate::retry::repeated(self.limit, || self.try_delete_events_below(id, limit)).await
            }

            async fn try_delete_events_below(
                &self,
                id: i64,
                limit: u32,
            ) -> Result<u64, crate::Error> {
                let mut lease = self.lease().await?;
                let deleted = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    let delete = Self::query(sql::DELETE_EVENTS).bind(id).bind(i64::from(limit));
                    let result = delete.execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(result.rows_affected())
                })
                .await?;
                give_back(lease);
                Ok(deleted)
            }

            pub(crate) async fn page(
                &self,
                status: Option<crate::Status>,
                after: i64,
                limit: u32,
            ) -> Result<Vec<crate::Setting>, crate::Error> {
                let status = status.map(crate::Status::to_column);
                let rows = reading!(self, connection => {
                    let query = Self::query(sql::PAGE).bind(after).bind(status);
                    query.bind(i64::from(limit)).fetch_all(&mut *connection)
                })?;
                Ok(rows.iter().map(Self::setting).collect::<Result<_, _>>()?)
            }

            pub(crate) async fn count(&self, most: u32) -> Result<u32, crate::Error> {
                let row = reading!(self, connection => {
                    Self::query(sql::COUNT).bind(i64::from(most)).fetch_one(&mut *connection)
                })?;
                let count: i64 = row.try_get_unchecked(0)?;
                Ok(u32::try_from(count).unwrap_or(most))
            }

            pub(crate) async fn list(
                &self,
                filter: &crate::Filter,
                after: &str,
                limit: u32,
            ) -> Result<Vec<crate::Setting>, crate::Error> {
                crate::retry::repeated(self.limit, || self.try_list(filter, after, limit)).await
            }

            async fn try_list(
                &self,
                filter: &crate::Filter,
                after: &str,
                limit: u32,
            ) -> Result<Vec<crate::Setting>, crate::Error> {
                let mut lease = self.lease().await?;
                #[allow(unused_mut)]
                let mut reading = within(self.limit, Self::begin_reading(&mut lease)).await?;
                let key = within(self.limit, self.domain_bytes(&mut reading)).await?;
                let wanted = limit as usize;
                let (mut page, mut after, mut limit) = (Vec::new(), after.to_owned(), limit);
                while page.len() < wanted {
                    let rows = Self::rows_after(&mut reading, key, filter, &after, limit);
                    let mut rows = within(self.limit, rows).await?;
                    let is_last = rows.len() < limit as usize;
                    // Text that is not UTF-8: behind an empty name the list would begin again.
                    rows.retain(|row| !row.domain.is_empty());
                    match rows.last() {
                        Some(last) => after.clone_from(&last.domain),
                        // Nothing else: no name to go on behind, so take more.
                        None => limit = limit.saturating_mul(2),
                    }
                    let newest = Self::newest_of(&mut reading, rows, filter);
                    page.extend(within(self.limit, newest).await?);
                    if is_last {
                        break;
                    }
                }
                within(self.limit, Self::end_reading(reading)).await?;
                give_back(lease);
                page.truncate(wanted);
                Ok(page)
            }

            /// The first rows with a domain after this one by `key`, sorted by it. The statement is
            /// planned anew with its values each time: the best plan depends on them.
            async fn rows_after(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                key: &str,
                filter: &crate::Filter,
                after: &str,
                limit: u32,
            ) -> Result<Vec<crate::Setting>, sqlx::Error> {
                let mut query = sqlx::QueryBuilder::<$sqlx>::new(crate::operations::ROWS);
                if let Some(host_type) = &filter.host_type {
                    query.push("host_type = ").push_bind(host_type).push(" AND ");
                }
                if let Some(status) = filter.status {
                    query.push("status = ").push_bind(status.to_column()).push(" AND ");
                }
                query.push(key).push(" > ").push_bind(after);
                query.push(" ORDER BY ").push(key).push(sql::THEN_BY);
                query.push(" LIMIT ").push_bind(i64::from(limit));
                let query = query.build().persistent(false);
                query.fetch_all(connection).await?.iter().map(Self::setting).collect()
            }

            pub(crate) async fn insert_domain(
                &self,
                domain: &str,
                host_type: &str,
            ) -> Result<crate::Insert, crate::Error> {
                crate::retry::repeated(self.limit, || self.try_insert_domain(domain, host_type)).await
            }

            async fn try_insert_domain(
                &self,
                domain: &str,
                host_type: &str,
            ) -> Result<crate::Insert, crate::Error> {
                let mut lease = self.lease().await?;
                let found = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    loop {
                        let insert = Self::query(sql::INSERT_DOMAIN).bind(domain).bind(host_type);
                        if Self::is_free(&mut transaction, domain).await?
                            && insert.execute(&mut *transaction).await?.rows_affected() == 1
                        {
                            Self::insert_event(&mut transaction, domain).await?;
                            transaction.commit().await?;
                            return Ok(crate::Insert::Inserted);
                        }
                        let rows = Self::lock_rows(&mut transaction, domain).await?;
                        if let Some(row) = crate::operations::newest(rows) {
                            transaction.rollback().await?;
                            return Ok(crate::Insert::Exists(row));
                        }
                        // It went away between the two statements.
                    }
                })
                .await?;
                give_back(lease);
                Ok(found)
            }

            pub(crate) async fn change(
                &self,
                domain: &str,
                host_type: Option<&str>,
                status: crate::Status,
            ) -> Result<crate::Change, crate::Error> {
                crate::retry::repeated(self.limit, || self.try_change(domain, host_type, status)).await
            }

            async fn try_change(
                &self,
                domain: &str,
                host_type: Option<&str>,
                status: crate::Status,
            ) -> Result<crate::Change, crate::Error> {
                let mut lease = self.lease().await?;
                let found = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    let rows = Self::lock_rows(&mut transaction, domain).await?;
                    let marked = crate::Status::Deleting;
                    let to_change = crate::operations::to_change(&rows, status);
                    let found = match crate::operations::newest(rows) {
                        None => crate::Change::NotFound,
                        Some(row) if host_type.is_some_and(|wanted| wanted != row.host_type) => {
                            crate::Change::WrongHostType(row.host_type)
                        }
                        Some(row) if row.status == marked && status != marked => {
                            crate::Change::Deleting
                        }
                        Some(_) if to_change.is_empty() => crate::Change::Done,
                        Some(_) => {
                            for id in to_change {
                                let update = Self::query(sql::SET_STATUS);
                                let update = update.bind(status.to_column()).bind(id);
                                update.execute(&mut *transaction).await?;
                            }
                            Self::insert_event(&mut transaction, domain).await?;
                            transaction.commit().await?;
                            return Ok(crate::Change::Done);
                        }
                    };
                    transaction.rollback().await?;
                    Ok(found)
                })
                .await?;
                give_back(lease);
                Ok(found)
            }

            pub(crate) async fn delete_domain(
                &self,
                domain: &str,
                host_type: &str,
            ) -> Result<bool, crate::Error> {
                crate::retry::repeated(self.limit, || self.try_delete_domain(domain, host_type)).await
            }

            async fn try_delete_domain(
                &self,
                domain: &str,
                host_type: &str,
            ) -> Result<bool, crate::Error> {
                let mut lease = self.lease().await?;
                let found = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    let rows = Self::lock_rows(&mut transaction, domain).await?;
                    let (rows, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| {
                        row.status == crate::Status::Deleting && row.host_type == host_type
                    });
                    for row in &rows {
                        let delete = Self::query(sql::DELETE_DOMAIN).bind(row.id);
                        delete.execute(&mut *transaction).await?;
                    }
                    if !rows.is_empty() {
                        Self::insert_event(&mut transaction, domain).await?;
                    }
                    if others.is_empty() {
                        Self::delete_admin(&mut transaction, domain).await?;
                    }
                    transaction.commit().await?;
                    Ok(!rows.is_empty())
                })
                .await?;
                give_back(lease);
                Ok(found)
            }

            async fn insert_event(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                domain: &str,
            ) -> Result<(), sqlx::Error> {
                Self::query(sql::INSERT_EVENT).bind(domain).execute(connection).await?;
                Ok(())
            }

            fn setting(row: &$row) -> Result<crate::Setting, sqlx::Error> {
                Ok(crate::Setting {
                    id: row.try_get_unchecked(0)?,
                    domain: text!(row, 1),
                    host_type: text!(row, 2),
                    status: crate::Status::from_column(i64::from(
                        row.try_get_unchecked::<i16, _>(3)?,
                    )),
                })
            }

            /// Sends what `enabled` makes of the rows of `sql::ENABLED`, one streaming query.
            async fn load_by_query(
                &self,
                batch: usize,
                to: tokio::sync::mpsc::Sender<Vec<crate::Enabled>>,
                mut enabled: impl FnMut(&$row) -> Result<Option<crate::Enabled>, sqlx::Error>,
            ) -> Result<(), crate::Error> {
                let mut lease = self.lease().await?;
                #[allow(unused_mut)]
                let mut reading = within(self.limit, Self::begin_reading(&mut lease)).await?;
                let rows = Self::query(sql::ENABLED).fetch(&mut *reading);
                let mut rows = rows.ready_chunks(crate::operations::READY);
                let mut next_batch = Vec::with_capacity(batch);
                loop {
                    let next = tokio::time::timeout(self.limit, rows.next()).await;
                    let next = next.map_err(|_| crate::Error::timeout(self.limit))?;
                    let Some(ready) = next else { break };
                    for row in ready {
                        next_batch.extend(enabled(&row?)?);
                        if next_batch.len() == batch {
                            let next = Vec::with_capacity(batch);
                            let full = std::mem::replace(&mut next_batch, next);
                            if to.send(full).await.is_err() {
                                return Ok(());
                            }
                        }
                    }
                }
                drop(rows);
                within(self.limit, Self::end_reading(reading)).await?;
                give_back(lease);
                if !next_batch.is_empty() {
                    // Nobody there to take it: nobody to tell either.
                    let _ = to.send(next_batch).await;
                }
                Ok(())
            }

            fn enabled(row: &$row) -> Result<crate::Enabled, sqlx::Error> {
                let name = |column: usize| {
                    let bytes = row.try_get_unchecked::<&[u8], _>(column)?;
                    Ok::<_, sqlx::Error>(
                        compact_str::CompactString::from_utf8(bytes).unwrap_or_default(),
                    )
                };
                Ok((name(0)?, name(1)?))
            }
        }
    };
}

/// Implements, on the type `Database`, what is simple where the domain is a key of its table.
macro_rules! operations_by_key {
    ($sqlx:ty) => {
        impl Database {
            /// May a row of this domain be inserted? The database itself refuses a second one.
            async fn is_free(
                _connection: &mut <$sqlx as sqlx::Database>::Connection,
                _domain: &str,
            ) -> Result<bool, sqlx::Error> {
                Ok(true)
            }

            /// There are none: the domain is a key.
            pub(crate) async fn outdated(
                &self,
            ) -> Result<std::collections::HashSet<i64>, crate::Error> {
                Ok(std::collections::HashSet::new())
            }

            /// Of these rows the newest of each domain: there are no others.
            async fn newest_of(
                _connection: &mut <$sqlx as sqlx::Database>::Connection,
                rows: Vec<crate::Setting>,
                _filter: &crate::Filter,
            ) -> Result<Vec<crate::Setting>, sqlx::Error> {
                Ok(rows)
            }

            /// Nobody else can insert a row of these domains, or the database refuses it.
            async fn claim(
                _connection: &mut <$sqlx as sqlx::Database>::Connection,
                _domains: &[String],
            ) -> Result<(), sqlx::Error> {
                Ok(())
            }

            /// The rows of a domain, which nobody else can change until the transaction ends.
            async fn lock_rows(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                domain: &str,
            ) -> Result<Vec<crate::Setting>, sqlx::Error> {
                let query = Self::query(sql::LOCK_DOMAIN).bind(domain);
                query.fetch_all(connection).await?.iter().map(Self::setting).collect()
            }
        }
    };
}

/// Implements, on the type `Database`, that reading takes no transaction.
macro_rules! read_without_transaction {
    ($sqlx:ty) => {
        impl Database {
            async fn begin_reading(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
            ) -> Result<&mut <$sqlx as sqlx::Database>::Connection, sqlx::Error> {
                Ok(connection)
            }

            async fn end_reading(
                _connection: &mut <$sqlx as sqlx::Database>::Connection,
            ) -> Result<(), sqlx::Error> {
                Ok(())
            }
        }
    };
}

/// Implements, on the type `Database`, what takes a statement with a parameter per name or id where
/// the database has no arrays: `sql::SETTINGS` and `sql::SETTLE_GAPS` are their beginnings.
macro_rules! operations_without_arrays {
    ($sqlx:ty) => {
        impl Database {
            pub(crate) async fn settings(
                &self,
                domains: &[String],
            ) -> Result<Vec<crate::Setting>, crate::Error> {
                let mut settings = Vec::with_capacity(domains.len());
                for chunk in domains.chunks(CHUNK) {
                    let found = reading!(self, connection => Self::find(&mut *connection, chunk));
                    settings.extend(found?);
                }
                Ok(settings)
            }

            /// All rows of these domains.
            async fn find(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                domains: &[String],
            ) -> Result<Vec<crate::Setting>, sqlx::Error> {
                let mut settings = Vec::with_capacity(domains.len());
                for chunk in domains.chunks(CHUNK) {
                    let mut query = sqlx::QueryBuilder::<$sqlx>::new(sql::SETTINGS);
                    let mut names = query.separated(", ");
                    for domain in chunk {
                        names.push_bind(domain);
                    }
                    query.push(")");
                    let rows = query.build().fetch_all(&mut *connection).await?;
                    // What MySQL's collation takes for the same name may be another.
                    let asked: std::collections::HashSet<&String> = chunk.iter().collect();
                    for row in &rows {
                        let setting = Self::setting(row)?;
                        if asked.contains(&setting.domain) {
                            settings.push(setting);
                        }
                    }
                }
                Ok(settings)
            }

            async fn try_settle_gaps(&self, ids: &[i64]) -> Result<u64, crate::Error> {
                let mut lease = self.lease().await?;
                let mut query = sqlx::QueryBuilder::<$sqlx>::new(sql::SETTLE_GAPS);
                query.push_values(ids, |mut row, id| {
                    row.push_bind(id).push("''");
                });
                let result = within(self.limit, query.build().execute(&mut **lease)).await?;
                give_back(lease);
                Ok(result.rows_affected())
            }
        }
    };
}

pub(crate) use {
    operations_by_key, operations_without_arrays, read_without_transaction, reading,
    shared_operations, text,
};
