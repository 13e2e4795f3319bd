//! Which names a MySQL database cannot hold.

use crate::Error;
use crate::database::{Database, run};
use crate::statement::{Sql, built, statement};
use sqlx::{MySql, MySqlConnection};
use std::collections::HashSet;

/// Those of the columns for names that cannot hold all of Unicode.
const CHARACTER_SETS: &str = "SELECT DISTINCT character_set_name \
     FROM information_schema.columns WHERE table_schema = DATABASE() \
     AND table_name IN ('domain_settings', 'domain_events', 'domain_admins') \
     AND column_name IN ('domain', 'host_type') AND character_set_name <> 'utf8mb4'";

impl Database<MySql> {
    pub async fn unfit<'a>(&self, names: &[&'a str]) -> Result<HashSet<&'a str>, Error> {
        run!(self, |connection| {
            let character_sets = statement(CHARACTER_SETS);
            let character_sets =
                MySql::rows(connection, character_sets, |row| MySql::text(row, 0)).await?;
            let mut unfit = HashSet::new();
            for character_set in character_sets {
                for &name in names {
                    if !is_kept(connection, name, &character_set).await? {
                        unfit.insert(name);
                    }
                }
            }
            Ok(unfit)
        })
    }
}

/// Is the name in this character set, as UTF-8 again, the same? What it has not is a ? then.
async fn is_kept(
    connection: &mut MySqlConnection,
    name: &str,
    character_set: &str,
) -> Result<bool, sqlx::Error> {
    // MySQL refuses to convert a mere parameter to what lacks a character of it.
    let text = format!(
        "SELECT CAST(CONVERT(CONVERT(CONCAT(?) USING {character_set}) USING utf8mb4) AS BINARY)"
    );
    let is_same = |row: &_| Ok(MySql::bytes(row, 0)? == name.as_bytes());
    Ok(MySql::rows(connection, built(text).bind(name), is_same).await? == [true])
}
