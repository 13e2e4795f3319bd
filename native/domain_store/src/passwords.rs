//! The passwords of administrators of single domains: rows of `domain_admins`.
//!
//! What is kept of a password is the caller's business. A password belongs to its domain: it is not
//! set for one that is not there, and goes with the row of the domain, in the same transaction.

/// Implements this on the type `Database`; shared as the macros of `operations.rs` are.
macro_rules! passwords {
    ($sqlx:ty) => {
        impl Database {
            pub(crate) async fn set_password(
                &self,
                domain: &str,
                details: &str,
                is_static: bool,
            ) -> Result<bool, crate::Error> {
                crate::retry::repeated(self.limit, || self.try_set_password(domain, details, is_static)).await
            }

            async fn try_set_password(
                &self,
                domain: &str,
                details: &str,
                is_static: bool,
            ) -> Result<bool, crate::Error> {
                let mut lease = self.lease().await?;
                let set = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    let row = Self::lock_rows(&mut transaction, domain).await?;
                    let row = crate::operations::newest(row);
                    if !is_static && row.is_none_or(|row| row.status == crate::Status::Deleting) {
                        transaction.rollback().await?;
                        return Ok(Ok(false));
                    }
                    let statement = match Self::lock_admin(&mut transaction, domain).await? {
                        None => sql::INSERT_ADMIN,
                        Some((found, _)) if found == domain => sql::UPDATE_ADMIN,
                        Some((other, _)) => {
                            transaction.rollback().await?;
                            return Ok(Err(crate::Error::same_name(domain, &other)));
                        }
                    };
                    let query = Self::query(statement).bind(details).bind(domain);
                    query.execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(Ok(true))
                })
                .await?;
                give_back(lease);
                set
            }

            pub(crate) async fn delete_password(&self, domain: &str) -> Result<bool, crate::Error> {
                crate::retry::repeated(self.limit, || self.try_delete_password(domain)).await
            }

            async fn try_delete_password(&self, domain: &str) -> Result<bool, crate::Error> {
                let mut lease = self.lease().await?;
                let deleted = within(self.limit, async {
                    let mut transaction = lease.begin_with(sql::BEGIN).await?;
                    let deleted = Self::delete_admin(&mut transaction, domain).await?;
                    transaction.commit().await?;
                    Ok(deleted)
                })
                .await?;
                give_back(lease);
                Ok(deleted)
            }

            pub(crate) async fn password(
                &self,
                domain: &str,
            ) -> Result<Option<String>, crate::Error> {
                let found = reading!(self, connection => {
                    Self::admin(&mut connection, sql::ADMIN, domain)
                })?;
                Ok(found.filter(|(found, _)| found == domain).map(|(_, details)| details))
            }

            async fn delete_admin(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                domain: &str,
            ) -> Result<bool, sqlx::Error> {
                match Self::lock_admin(&mut *connection, domain).await? {
                    Some((found, _)) if found == domain => {
                        let query = Self::query(sql::DELETE_ADMIN).bind(domain);
                        query.execute(connection).await?;
                        Ok(true)
                    }
                    _ => Ok(false),
                }
            }

            async fn lock_admin(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                domain: &str,
            ) -> Result<Option<(String, String)>, sqlx::Error> {
                Self::admin(connection, sql::LOCK_ADMIN, domain).await
            }

            /// The domain, as it is there: MySQL's collation may take another for the same. And what
            /// is kept of its password.
            async fn admin(
                connection: &mut <$sqlx as sqlx::Database>::Connection,
                statement: &'static str,
                domain: &str,
            ) -> Result<Option<(String, String)>, sqlx::Error> {
                let query = Self::query(statement).bind(domain);
                match query.fetch_optional(connection).await? {
                    Some(row) => Ok(Some((text!(row, 0), text!(row, 1)))),
                    None => Ok(None),
                }
            }
        }
    };
}

pub(crate) use passwords;
