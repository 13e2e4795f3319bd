//! The operations that are the same for every database but for the text of their SQL.
//!
//! Written once, as a macro: a generic over `sqlx::Database` would need a page of bounds on every
//! function. Each database's file brings a module `sql` with the statements and its own `Database`.

use std::time::Duration;

/// How often a transaction is tried that the database asks to repeat.
pub(crate) const TRIES: u32 = 10;

/// The pause before the next try: up to 10 ms, 20 ms, 40 ms …, at random, so that two transactions
/// that stopped each other do not meet again.
pub(crate) fn pause(attempt: u32) -> Duration {
    Duration::from_micros(fastrand::u64(0..=10_000 << attempt.min(6)))
}

/// Repeats a transaction as often as the database asks for it, within [`TRIES`].
macro_rules! repeated {
    ($transaction:expr) => {{
        let mut attempt = 0;
        loop {
            match $transaction.await {
                Err(error) if error.asks_for_retry() && attempt + 1 < crate::operations::TRIES => {
                    tokio::time::sleep(crate::operations::pause(attempt)).await;
                    attempt += 1;
                }
                result => break result,
            }
        }
    }};
}

/// Reads a text column. Text that is not UTF-8 reads as the empty name, which no domain has: one bad
/// row must not keep all others from being read.
macro_rules! text {
    ($row:expr, $column:expr) => {
        String::from_utf8($row.try_get_unchecked::<Vec<u8>, _>($column)?).unwrap_or_default()
    };
}

/// Implements the shared operations on the type `Database` of a database's file, which has `pool`
/// and `limit`.
macro_rules! shared_operations {
    ($sqlx:ty, $row:ty) => {
        impl Database {
            async fn lease(&self) -> Result<crate::lease::Lease<$sqlx>, crate::Error> {
                // SQLite is busy, at once, for whoever opens a new file while another does.
                repeated!(crate::lease::take(&self.pool))
            }

            pub(crate) async fn close(&self) {
                self.pool.close().await;
            }

            pub(crate) async fn closed(&self) {
                self.pool.close_event().await;
            }

            pub(crate) async fn event_bounds(&self) -> Result<Option<(i64, i64)>, crate::Error> {
                let mut lease = self.lease().await?;
                let query = sqlx::query_as::<_, (Option<i64>, Option<i64>)>(sql::EVENT_BOUNDS);
                let (oldest, newest) = within(self.limit, query.fetch_one(&mut **lease)).await?;
                give_back(lease);
                Ok(oldest.zip(newest))
            }

            pub(crate) async fn events(
                &self,
                from: i64,
                upto: i64,
                limit: u32,
            ) -> Result<Vec<crate::Event>, crate::Error> {
                let mut lease = self.lease().await?;
                let query = sqlx::query(sql::EVENTS).bind(from).bind(upto).bind(i64::from(limit));
                let rows = within(self.limit, query.fetch_all(&mut **lease)).await?;
                give_back(lease);
                let event = |row: &$row| -> Result<_, sqlx::Error> {
                    Ok(crate::Event { id: row.try_get_unchecked(0)?, domain: text!(row, 1) })
                };
                Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
            }

            pub(crate) async fn delete_events_below(
                &self,
                id: i64,
                limit: u32,
            ) -> Result<u64, crate::Error> {
                let mut lease = self.lease().await?;
                let query = sqlx::query(sql::DELETE_EVENTS).bind(id).bind(i64::from(limit));
                let result = within(self.limit, query.execute(&mut **lease)).await?;
                give_back(lease);
                Ok(result.rows_affected())
            }

            pub(crate) async fn page(
                &self,
                status: Option<crate::Status>,
                after: i64,
                limit: u32,
            ) -> Result<Vec<crate::Setting>, crate::Error> {
                let mut lease = self.lease().await?;
                let status = status.map(crate::Status::to_column);
                let query = sqlx::query(sql::PAGE).bind(after).bind(status).bind(i64::from(limit));
                let rows = within(self.limit, query.fetch_all(&mut **lease)).await?;
                give_back(lease);
                Ok(rows.iter().map(Self::setting).collect::<Result<_, _>>()?)
            }

            pub(crate) async fn insert_domain(
                &self,
                domain: &str,
                host_type: &str,
            ) -> Result<crate::Insert, crate::Error> {
                repeated!(self.try_insert_domain(domain, host_type))
            }

            async fn try_insert_domain(
                &self,
                domain: &str,
                host_type: &str,
            ) -> Result<crate::Insert, crate::Error> {
                let mut lease = self.lease().await?;
                let found = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    let insert = sqlx::query(sql::INSERT_DOMAIN).bind(domain).bind(host_type);
                    if insert.execute(&mut *transaction).await?.rows_affected() == 1 {
                        Self::insert_event(&mut *transaction, domain).await?;
                        transaction.commit().await?;
                        return Ok(crate::Insert::Inserted);
                    }
                    // Locked, so that it cannot go between the two statements.
                    let row = sqlx::query(sql::LOCK_DOMAIN).bind(domain);
                    let row = row.fetch_one(&mut *transaction).await?;
                    transaction.rollback().await?;
                    Ok(crate::Insert::Exists(Self::setting(&row)?))
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
                repeated!(self.try_change(domain, host_type, status))
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
                    let row = sqlx::query(sql::LOCK_DOMAIN).bind(domain);
                    let row = row.fetch_optional(&mut *transaction).await?;
                    let found = match row.as_ref().map(Self::setting).transpose()? {
                        None => crate::Change::NotFound,
                        Some(row) if host_type.is_some_and(|wanted| wanted != row.host_type) => {
                            crate::Change::WrongHostType(row.host_type)
                        }
                        Some(row) if row.status == status => crate::Change::Done,
                        Some(row) if row.status == crate::Status::Deleting => {
                            crate::Change::Deleting
                        }
                        Some(_) => {
                            let update = sqlx::query(sql::SET_STATUS);
                            let update = update.bind(status.to_column()).bind(domain);
                            update.execute(&mut *transaction).await?;
                            Self::insert_event(&mut *transaction, domain).await?;
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
                repeated!(self.try_delete_domain(domain, host_type))
            }

            async fn try_delete_domain(
                &self,
                domain: &str,
                host_type: &str,
            ) -> Result<bool, crate::Error> {
                let mut lease = self.lease().await?;
                let found = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    let delete = sqlx::query(sql::DELETE_DOMAIN).bind(domain).bind(host_type);
                    let found = delete.execute(&mut *transaction).await?.rows_affected() > 0;
                    if found {
                        Self::insert_event(&mut *transaction, domain).await?;
                    }
                    transaction.commit().await?;
                    Ok(found)
                })
                .await?;
                give_back(lease);
                Ok(found)
            }

            async fn insert_event(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                domain: &str,
            ) -> Result<(), sqlx::Error> {
                sqlx::query(sql::INSERT_EVENT).bind(domain).execute(connection).await?;
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
        }
    };
}

pub(crate) use {repeated, shared_operations, text};
