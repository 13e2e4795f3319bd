//! The passwords of administrators of single domains: rows of `domain_admins`.
//!
//! What is kept of a password is the caller's business. A password belongs to its domain: it is not
//! set for one that is not there, and goes with the row of the domain, in the same transaction.

use crate::database::{Database, End, run, transaction};
use crate::dialect::Dialect;
use crate::operations::newest;
use crate::statement::{Sql, built, statement};
use crate::{Error, Status};

const ADMIN: &str = "SELECT domain, pass_details FROM domain_admins WHERE domain = ?";

impl<D: Dialect> Database<D> {
    pub async fn set_password(
        &self,
        domain: &str,
        details: &str,
        is_static: bool,
    ) -> Result<bool, Error> {
        let set = transaction!(self, |connection| {
            let row = newest(D::lock_domain(connection, domain).await?);
            if !is_static && row.is_none_or(|row| row.status == Status::Deleting) {
                return Ok(End::Rollback(Ok(false)));
            }
            let text = match lock_admin::<D>(connection, domain).await? {
                None => "INSERT INTO domain_admins (pass_details, domain) VALUES (?, ?)",
                Some((found, _)) if found == domain => {
                    "UPDATE domain_admins SET pass_details = ? WHERE domain = ?"
                }
                Some((other, _)) => {
                    return Ok(End::Rollback(Err(Error::same_name(domain, &other))));
                }
            };
            D::execute(connection, statement(text).bind(details).bind(domain)).await?;
            Ok(End::Commit(Ok(true)))
        });
        set?
    }

    pub async fn delete_password(&self, domain: &str) -> Result<bool, Error> {
        transaction!(self, |connection| {
            Ok(End::Commit(delete_admin::<D>(connection, domain).await?))
        })
    }

    pub async fn password(&self, domain: &str) -> Result<Option<String>, Error> {
        let found = run!(self, |connection| {
            D::rows(connection, statement(ADMIN).bind(domain), admin::<D>).await
        });
        let mut found = found?.into_iter();
        Ok(found.find(|(found, _)| found == domain).map(|(_, details)| details))
    }
}

/// Returns whether there was one.
pub(crate) async fn delete_admin<D: Dialect>(
    connection: &mut D::Connection,
    domain: &str,
) -> Result<bool, sqlx::Error> {
    match lock_admin::<D>(connection, domain).await? {
        Some((found, _)) if found == domain => {
            let query = statement("DELETE FROM domain_admins WHERE domain = ?").bind(domain);
            D::execute(connection, query).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

async fn lock_admin<D: Dialect>(
    connection: &mut D::Connection,
    domain: &str,
) -> Result<Option<(String, String)>, sqlx::Error> {
    let query = built(format!("{ADMIN}{}", D::FOR_UPDATE)).bind(domain);
    Ok(D::rows(connection, query, admin::<D>).await?.pop())
}

/// The domain, as it is there: MySQL's collation may take another for the same. And what is kept of
/// its password.
fn admin<D: Sql>(row: &D::Row) -> Result<(String, String), sqlx::Error> {
    Ok((D::text(row, 0)?, D::text(row, 1)?))
}
