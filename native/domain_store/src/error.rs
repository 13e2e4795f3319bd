//! What can go wrong with a database, by kinds that a program can tell apart.

use std::time::Duration;

/// A failed operation: its kind, and a text for people, without credentials.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: ErrorKind,
    text: String,
    retry: bool,
}

/// The kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The URL cannot be understood.
    BadUrl,
    /// The URL is for no database that we know.
    UnknownScheme,
    /// No connection, or it broke.
    Unavailable,
    /// The server refuses the user, the password or the database.
    AccessDenied,
    /// The tables are not there.
    MissingTables,
    /// The file is not an SQLite database.
    NotADatabase,
    /// The database cannot be written.
    ReadOnly,
    /// No answer within the time limit.
    Timeout,
    /// Any other failure of an operation.
    QueryFailed,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Did the database ask for the transaction to be repeated?
    pub(crate) fn asks_for_retry(&self) -> bool {
        self.retry
    }

    fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Error { kind, text: text.into(), retry: false }
    }

    pub(crate) fn bad_url(reason: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::BadUrl, format!("the database URL is not valid: {}", reason.as_ref()))
    }

    pub(crate) fn unknown_scheme(text: &str) -> Self {
        Self::new(ErrorKind::UnknownScheme, format!("unknown kind of database: {text}"))
    }

    pub(crate) fn timeout(limit: Duration) -> Self {
        let text = format!("the database did not answer within {} ms", limit.as_millis());
        Self::new(ErrorKind::Timeout, text)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = |text: String| Error::new(ErrorKind::Unavailable, text);
        match error {
            sqlx::Error::Database(error) => from_database(&*error),
            sqlx::Error::PoolTimedOut => unavailable(
                "no connection within the time limit: the database server is down, cannot be \
                 reached or has no connection left"
                    .into(),
            ),
            sqlx::Error::Io(error) => {
                unavailable(format!("no connection to the database: {error}"))
            }
            sqlx::Error::Tls(error) => unavailable(format!("no TLS with the database: {error}")),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                unavailable("the connection to the database is closed".into())
            }
            error => Error::new(ErrorKind::QueryFailed, error.to_string()),
        }
    }
}

/// Codes: SQLSTATE of PostgreSQL (its manual, appendix A) and CockroachDB; the primary result code
/// of SQLite (sqlite.org/rescode.html), which sqlx gives as a number in its extended form.
fn from_database(error: &dyn sqlx::error::DatabaseError) -> Error {
    let code = error.code().unwrap_or_default();
    let message = error.message();
    let sqlite = error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
    let (kind, text, retry) = if sqlite {
        match code.parse::<u32>().unwrap_or_default() & 0xff {
            5 | 6 => {
                (ErrorKind::Unavailable, format!("the database file is busy: {message}"), true)
            }
            8 => (ErrorKind::ReadOnly, format!("the database is read-only: {message}"), false),
            14 => (
                ErrorKind::Unavailable,
                format!("the database file cannot be opened: {message}: check its path and rights"),
                false,
            ),
            26 => (
                ErrorKind::NotADatabase,
                format!("the file is not an SQLite database: {message}"),
                false,
            ),
            1 if message.starts_with("no such table") => {
                (ErrorKind::MissingTables, missing(message), false)
            }
            _ => (ErrorKind::QueryFailed, message.to_owned(), false),
        }
    } else {
        match &*code {
            "40001" | "40P01" => (ErrorKind::QueryFailed, message.to_owned(), true),
            "42P01" => (ErrorKind::MissingTables, missing(message), false),
            "28000" | "28P01" | "3D000" | "42501" => (
                ErrorKind::AccessDenied,
                format!("the database server refuses access: {message}"),
                false,
            ),
            "25006" => {
                (ErrorKind::ReadOnly, format!("the database is read-only: {message}"), false)
            }
            "55P03" | "57014" => (ErrorKind::Timeout, message.to_owned(), false),
            code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
                (ErrorKind::Unavailable, format!("the database is not available: {message}"), false)
            }
            _ => (ErrorKind::QueryFailed, message.to_owned(), false),
        }
    };
    Error { kind, text, retry }
}

fn missing(message: &str) -> String {
    format!("{message}: create MongooseIM's tables (`make schema DATABASE=url`)")
}
