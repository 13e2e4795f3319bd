//! Which names a PostgreSQL database cannot hold.

use super::query;
use crate::Error;
use crate::database::{Database, run};
use sqlx::{Connection, PgConnection, Postgres, Row};
use std::collections::HashSet;

/// The width of the columns for names.
const LONGEST_NAME: usize = 250;

impl Database<Postgres> {
    pub async fn unfit<'a>(&self, names: &[&'a str]) -> Result<HashSet<&'a str>, Error> {
        run!(self, |connection| {
            let encoding = sqlx::raw_sql("SHOW server_encoding").fetch_one(&mut *connection);
            let encoding: String = encoding.await?.try_get(0)?;
            let mut unfit = HashSet::new();
            for &name in names {
                let fits = match encoding.as_str() {
                    "UTF8" => true,
                    // It takes any bytes, and its columns count them.
                    "SQL_ASCII" => name.len() <= LONGEST_NAME,
                    _ => is_known(connection, name).await?,
                };
                if !fits {
                    unfit.insert(name);
                }
            }
            Ok(unfit)
        })
    }
}

/// Has the server's encoding all characters of the text?
async fn is_known(connection: &mut PgConnection, text: &str) -> Result<bool, sqlx::Error> {
    // A savepoint: the transaction goes on behind an error.
    let mut savepoint = connection.begin().await?;
    let is_known = match query("SELECT $1::text").bind(text).fetch_one(&mut *savepoint).await {
        Ok(_) => true,
        // "Untranslatable character", "character not in repertoire".
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code == "22P05" || code == "22021") =>
        {
            false
        }
        Err(error) => return Err(error),
    };
    savepoint.rollback().await?;
    Ok(is_known)
}
