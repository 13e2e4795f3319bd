//! What a pool of connections has to know about the other side.

use futures_util::future::BoxFuture;
use sqlx::{Connection, Database, MySql, Postgres, Row, Sqlite};

/// How to connect.
pub(crate) type OptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A kind of database, as the other side of a connection.
pub(crate) trait Peer: Database {
    /// Has a connection a session of its own, in which something may be kept? If not, each operation is
    /// a transaction, and its statements have no name: somebody between us and the server may give each
    /// transaction another session, where others may have given the same names.
    const HAS_SESSION: bool = true;

    /// Where the server is, for people; `None` without a server.
    fn address(options: &OptionsOf<Self>) -> Option<String>;

    /// Is it still there, and can it be written? A server that was replaced by another one may go on
    /// as a read-only one.
    fn is_writable(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>>;
}

impl Peer for Postgres {
    const HAS_SESSION: bool = false;

    fn address(options: &OptionsOf<Self>) -> Option<String> {
        let host = match options.get_socket() {
            Some(directory) => directory.display().to_string(),
            None => options.get_host().to_owned(),
        };
        Some(at_port(&host, options.get_port()))
    }

    fn is_writable(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async {
            let setting = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?;
            Ok(setting.try_get::<String, _>(0)? == "off")
        })
    }
}

impl Peer for MySql {
    fn address(options: &OptionsOf<Self>) -> Option<String> {
        Some(match options.get_socket() {
            Some(file) => file.display().to_string(),
            None => at_port(options.get_host(), options.get_port()),
        })
    }

    fn is_writable(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async {
            // By its name in MariaDB 12, where there are more values than two.
            let setting = sqlx::raw_sql("SELECT CAST(@@global.read_only AS CHAR) IN ('0', 'OFF')");
            Ok(setting.fetch_one(connection).await?.try_get_unchecked::<i64, _>(0)? == 1)
        })
    }
}

impl Peer for Sqlite {
    fn address(_options: &OptionsOf<Self>) -> Option<String> {
        None
    }

    fn is_writable(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async { connection.ping().await.map(|()| true) })
    }
}

fn at_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
