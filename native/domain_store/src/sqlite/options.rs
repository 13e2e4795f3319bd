//! How to open an SQLite file, by a URL.

use crate::error::reason;
use crate::{Config, Error};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use std::str::FromStr;

pub(crate) fn options_of_url(url: &str, config: &Config) -> Result<SqliteConnectOptions, Error> {
    let bad = |error: sqlx::Error| Error::bad_url(reason(&error));
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    if path.is_empty() || path.starts_with('?') {
        return Err(Error::bad_url("it names no file: use sqlite:path/to/file"));
    }
    if path.starts_with(":memory:") || path.contains("mode=memory") {
        return Err(Error::bad_url("an in-memory database cannot be shared: name a file"));
    }
    let mut options = SqliteConnectOptions::from_str(url)
        .map_err(bad)?
        .busy_timeout(config.query_timeout)
        // What was committed is there after a loss of power, too.
        .synchronous(SqliteSynchronous::Full);
    // With a mode in the URL the file is opened just as it says.
    if !path.contains("mode=") {
        options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    }
    Ok(options)
}
