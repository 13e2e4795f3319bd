//! What can go wrong with a database, by kinds that a program can tell apart.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::SqliteError;
use std::fmt::Display;
use std::io::ErrorKind::InvalidData;
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
    /// A file for TLS is missing or wrong.
    BadOption,
    /// No connection, or it broke.
    Unavailable,
    /// No TLS with the server, or it is not who it should be.
    TlsFailed,
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

impl ErrorKind {
    /// Its name, for programs, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::BadUrl => "bad_database_url",
            ErrorKind::UnknownScheme => "unknown_database_scheme",
            ErrorKind::BadOption => "bad_database_option",
            ErrorKind::Unavailable => "database_unavailable",
            ErrorKind::TlsFailed => "tls_failed",
            ErrorKind::AccessDenied => "access_denied",
            ErrorKind::MissingTables => "missing_tables",
            ErrorKind::NotADatabase => "not_a_database",
            ErrorKind::ReadOnly => "read_only",
            ErrorKind::Timeout => "timeout",
            ErrorKind::QueryFailed => "query_failed",
        }
    }
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

    pub(crate) fn bad_option(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadOption, text)
    }

    pub(crate) fn unknown_scheme(text: &str) -> Self {
        Self::new(ErrorKind::UnknownScheme, format!("unknown kind of database: {text}"))
    }

    pub(crate) fn comes_twice(domain: &str) -> Self {
        Self::new(
            ErrorKind::QueryFailed,
            format!("the domain {domain:?} occurs twice in one import"),
        )
    }

    pub(crate) fn same_name(domain: &str, other: &str) -> Self {
        Self::new(
            ErrorKind::QueryFailed,
            format!(
                "the database treats {domain:?} and {other:?} as the same name: only one of them can \
                 have a password"
            ),
        )
    }

    /// No connection to the server at this address.
    pub(crate) fn connecting(address: Option<String>, error: sqlx::Error) -> Self {
        match (address, error) {
            (Some(address), sqlx::Error::Io(error)) if error.kind() != InvalidData => {
                let text = format!("no connection to the database server {address}: {error}");
                Self::new(ErrorKind::Unavailable, text)
            }
            (_, error) => error.into(),
        }
    }

    #[cfg(test)]
    pub(crate) fn busy() -> Self {
        to_be_repeated(Self::new(ErrorKind::Unavailable, "busy"))
    }

    pub(crate) fn timeout(limit: Duration) -> Self {
        let text = format!("the database did not answer within {} ms", limit.as_millis());
        Self::new(ErrorKind::Timeout, text)
    }
}

/// What is wrong, without the words that sqlx puts before it: ours say the same.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(error)
        | sqlx::Error::Tls(error)
        | sqlx::Error::Encode(error)
        | sqlx::Error::Decode(error)
        | sqlx::Error::ColumnDecode { source: error, .. } => match error.downcast_ref() {
            // One in the other.
            Some(error) => reason(error),
            None => error.to_string(),
        },
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Protocol(text) => text.clone(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = |text: String| Error::new(ErrorKind::Unavailable, text);
        match error {
            sqlx::Error::Database(error) => from_database(&*error),
            sqlx::Error::PoolTimedOut => unavailable(
                "no connection within the time limit: the database server is down, cannot be \
                 reached, or has no free connection"
                    .into(),
            ),
            // That is how rustls wraps what is wrong with a handshake or a certificate.
            sqlx::Error::Io(error) if error.kind() == InvalidData => tls_failed(&error),
            sqlx::Error::Io(error) => {
                unavailable(format!("no connection to the database: {error}"))
            }
            sqlx::Error::Tls(error) => tls_failed(&error),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                unavailable("the connection to the database is closed".into())
            }
            // It names the character.
            sqlx::Error::Configuration(error)
                if error.to_string().contains("saslprep password") =>
            {
                Error::new(
                    ErrorKind::AccessDenied,
                    "the password has a character that SCRAM does not allow (SASLprep, RFC 4013), \
                     such as a control character: set another password",
                )
            }
            sqlx::Error::Protocol(text) => from_protocol(&without_position(&text)),
            error => Error::new(ErrorKind::QueryFailed, without_position(&reason(&error))),
        }
    }
}

/// A text of sqlx without the places in its source: `… (sqlx_mysql::protocol::auth:42)`.
fn without_position(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.find(" (sqlx_")
        && let Some(length) = text[start..].find(')')
    {
        text.replace_range(start..=start + length, "");
    }
    text
}

/// What sqlx cannot do or does not understand, by its own words: of a login to MySQL (`sqlx-mysql`,
/// `src/connection/auth.rs` and `src/protocol/auth.rs`), or anything.
fn from_protocol(text: &str) -> Error {
    let plugin = match text {
        "mysql_cleartext_plugin disabled" => Some("mysql_clear_password"),
        _ => text.strip_prefix("unknown authentication plugin: "),
    };
    if let Some(plugin) = plugin {
        return denied(
            &format!("the user's authentication plugin {plugin} is not supported here"),
            "change it to caching_sha2_password (MySQL) or mysql_native_password (MariaDB)",
        );
    }
    if text == "message too long" {
        return denied(
            "the password is too long to be encrypted by the server's public key",
            "turn on TLS, or set a shorter password",
        );
    }
    let text = format!("unexpected answer from the database server: {text}");
    Error::new(ErrorKind::QueryFailed, text)
}

/// A login that is refused, and what to do.
fn denied(why: &str, advice: &str) -> Error {
    let why = with_message(ErrorKind::AccessDenied, why.trim_end_matches('.'));
    Error { text: format!("{}: {advice}", why.text), ..why }
}

fn tls_failed(error: &dyn Display) -> Error {
    Error::new(
        ErrorKind::TlsFailed,
        format!("the TLS connection to the database server failed: {error}"),
    )
}

fn from_database(error: &dyn DatabaseError) -> Error {
    let code = error.code().unwrap_or_default();
    let message = error.message();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        from_sqlite(code.parse().unwrap_or_default(), message)
    } else if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        from_mysql(error.number(), message)
    } else {
        from_postgres(&code, message)
    }
}

/// The primary result code of SQLite (sqlite.org/rescode.html); sqlx gives its extended form.
fn from_sqlite(code: u32, message: &str) -> Error {
    let unavailable = |text| Error::new(ErrorKind::Unavailable, text);
    match code & 0xff {
        1 if message.starts_with("no such table") => {
            with_message(ErrorKind::MissingTables, message)
        }
        5 | 6 => to_be_repeated(unavailable(format!("the database file is busy: {message}"))),
        8 => with_message(ErrorKind::ReadOnly, message),
        // Of these two SQLite says nothing more.
        14 => {
            unavailable("the database file cannot be opened: check its path and permissions".into())
        }
        26 => Error::new(ErrorKind::NotADatabase, "the file is not an SQLite database"),
        _ => with_message(ErrorKind::QueryFailed, message),
    }
}

/// SQLSTATE of PostgreSQL (its manual, appendix A) and of CockroachDB, which follows it.
fn from_postgres(code: &str, message: &str) -> Error {
    match code {
        // Serialization failure, deadlock; a unique key: only ids have one that our statements can
        // meet, when a reader took the id of an event for a gap before its row was there.
        "40001" | "40P01" | "23505" => {
            to_be_repeated(with_message(ErrorKind::QueryFailed, message))
        }
        "42P01" => with_message(ErrorKind::MissingTables, message),
        "28000" | "28P01" | "3D000" | "42501" => with_message(ErrorKind::AccessDenied, message),
        "08P01" if is_refusal_by_pgbouncer(message) => {
            with_message(ErrorKind::AccessDenied, message)
        }
        "25006" => with_message(ErrorKind::ReadOnly, message),
        "55P03" | "57014" => with_message(ErrorKind::Timeout, message),
        code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
            with_message(ErrorKind::Unavailable, message)
        }
        _ => with_message(ErrorKind::QueryFailed, message),
    }
}

/// PgBouncer has one SQLSTATE for all that it says itself.
fn is_refusal_by_pgbouncer(message: &str) -> bool {
    ["authentication failed", "no such user", "no such database", "does not exist"]
        .iter()
        .any(|refusal| message.contains(refusal))
}

/// The error numbers of MySQL ("Server Error Message Reference" of its manual) and of MariaDB
/// ("MariaDB Error Code Reference" of its knowledge base). Their SQLSTATE says less: often `HY000`.
fn from_mysql(number: u16, message: &str) -> Error {
    match number {
        // A deadlock; a row changed since the transaction began (MariaDB 11.6 and newer); an id that
        // a reader took for a gap.
        1213 | 1020 | 1062 => to_be_repeated(with_message(ErrorKind::QueryFailed, message)),
        // The wait for a lock: the server gives up sooner than we do.
        1205 => to_be_repeated(with_message(ErrorKind::Timeout, message)),
        // The server's own limit for a statement (MySQL, MariaDB), or somebody stopped it.
        3024 | 1969 | 1317 => with_message(ErrorKind::Timeout, message),
        1146 => with_message(ErrorKind::MissingTables, message),
        1045 => denied(
            message,
            "check the user's name and password, and whether the user may log in without TLS",
        ),
        1862 => denied(message, "set a new password (ALTER USER … IDENTIFIED BY …)"),
        // MariaDB says so by the first statement, unless it is told to disconnect.
        1820 => denied(message, "the user's password has expired: set a new password"),
        // Of MySQL, of MariaDB.
        3118 | 4151 => denied(message, "unlock it (ALTER USER … ACCOUNT UNLOCK)"),
        3955 | 4150 => denied(message, "after too many wrong passwords: unlock it"),
        // The user's way to log in is not there any more, as mysql_native_password in MySQL 9.
        1524 => denied(message, "change the user's authentication plugin to caching_sha2_password"),
        // No right to: the database, an unknown database, from this host, the table, the column,
        // something that only an administrator may, log in without a password.
        1044 | 1049 | 1130 | 1142 | 1143 | 1227 | 1698 => {
            with_message(ErrorKind::AccessDenied, message)
        }
        // MySQL, where MariaDB finds nothing.
        3988 => Error::new(
            ErrorKind::QueryFailed,
            format!("the database cannot store a character of the name: {message}"),
        ),
        // The server demands TLS of everybody.
        3159 => Error::new(ErrorKind::TlsFailed, format!("{message} Turn on TLS")),
        // The server is read-only, the transaction is, InnoDB is.
        1290 | 1792 | 1836 => with_message(ErrorKind::ReadOnly, message),
        // Too many connections, no memory, no handshake, a Galera node outside its cluster, a host
        // blocked for its errors, too many connections or queries of this user; then a server that
        // shuts down; then connections that broke or were cut (2006 and 2013 come from proxies).
        1040..=1043
        | 1047
        | 1129
        | 1203
        | 1226
        | 1053
        | 1077..=1080
        | 1152
        | 1158..=1161
        | 1184
        | 1927
        | 2006
        | 2013 => with_message(ErrorKind::Unavailable, message),
        _ => with_message(ErrorKind::QueryFailed, message),
    }
}

/// An error in the database's own words.
fn with_message(kind: ErrorKind, message: &str) -> Error {
    let text = match kind {
        ErrorKind::MissingTables => {
            format!("{message}: create MongooseIM's tables (`DATABASE=url make schema`)")
        }
        ErrorKind::AccessDenied => format!("the database server refuses access: {message}"),
        ErrorKind::ReadOnly => format!("the database is read-only: {message}"),
        ErrorKind::Unavailable => format!("the database is not available: {message}"),
        _ => message.to_owned(),
    };
    Error::new(kind, text)
}

/// An error by which the database asks for the transaction to be repeated.
fn to_be_repeated(error: Error) -> Error {
    Error { retry: true, ..error }
}

#[cfg(test)]
mod tests {
    use super::{Error, from_postgres, reason, without_position};
    use crate::ErrorKind;
    use std::io;

    #[test]
    fn the_places_in_the_source_of_sqlx_are_left_out() {
        for (text, expected) in [
            ("no such: a (b) (sqlx_mysql::protocol::auth:33)", "no such: a (b)"),
            ("one (sqlx_core::error:1): two (sqlx_postgres::connection:22)", "one: two"),
            ("it ends (sqlx_", "it ends (sqlx_"),
            ("é", "é"),
        ] {
            assert_eq!(without_position(text), expected);
        }
    }

    /// Each kind of error that sqlx puts words before, and one in the other.
    #[test]
    fn the_words_that_sqlx_puts_before_are_left_out() {
        let inner = || -> Box<dyn std::error::Error + Send + Sync> { "it is odd".into() };
        let io = || io::Error::other("it is odd");
        let within = sqlx::Error::Configuration(inner());
        let errors = [
            sqlx::Error::Configuration(inner()),
            sqlx::Error::Configuration(Box::new(within)),
            sqlx::Error::Io(io()),
            sqlx::Error::Tls(inner()),
            sqlx::Error::Encode(inner()),
            sqlx::Error::Decode(inner()),
            sqlx::Error::Decode(Box::new(sqlx::Error::Io(io()))),
            sqlx::Error::Protocol("it is odd".into()),
            sqlx::Error::ColumnDecode { index: "0".into(), source: inner() },
        ];
        for error in errors {
            assert_eq!(reason(&error), "it is odd", "{error:?}");
            let text = Error::from(error).to_string();
            assert_eq!(text.matches("error").count(), 0, "{text}");
            assert!(text.ends_with("it is odd"), "{text}");
        }
    }

    #[test]
    fn a_refusal_by_pgbouncer_is_told_from_other_troubles() {
        for (message, expected) in [
            ("SASL authentication failed", ErrorKind::AccessDenied),
            ("password authentication failed", ErrorKind::AccessDenied),
            ("no such user: nobody", ErrorKind::AccessDenied),
            ("database \"no\" does not exist", ErrorKind::AccessDenied),
            ("no such database: no", ErrorKind::AccessDenied),
            ("no more connections allowed (max_client_conn)", ErrorKind::Unavailable),
            ("server conn crashed?", ErrorKind::Unavailable),
        ] {
            assert_eq!(from_postgres("08P01", message).kind(), expected, "{message}");
        }
    }
}
