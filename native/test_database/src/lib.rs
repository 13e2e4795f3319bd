//! For tests: every test gets a database of its own, on every kind of server.
//!
//! The servers are real, and shared by the tests of one process: `script/throwaway-postgres` and
//! `script/throwaway-mysql` start them, and stop them when the process ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_store::{Config, Store};
use sqlx::{Connection, MySqlConnection, PgConnection, SqliteConnection};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A future in a box: what is behind it is compiled once, and not again with every test.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A fresh database with MongooseIM's tables, and our store on it.
pub struct TestDatabase {
    /// `sqlite`, `postgres` or `mysql`.
    pub kind: &'static str,
    /// Where it is.
    pub url: String,
    /// The store.
    pub store: Store,
    _directory: Option<Directory>,
}

impl TestDatabase {
    /// An SQLite file.
    pub fn sqlite() -> Boxed<'static, Self> {
        Box::pin(async {
            let directory = Directory::new();
            let url = format!("sqlite:{}/domains.db", directory.0.display());
            let db = TestDatabase { _directory: Some(directory), ..Self::empty("sqlite", url) };
            db.store.create_schema().await.unwrap();
            db
        })
    }

    /// A database on the PostgreSQL server of this process.
    pub fn postgres() -> Boxed<'static, Self> {
        Box::pin(async {
            let db = Self::empty_postgres().await;
            db.store.create_schema().await.unwrap();
            db
        })
    }

    /// The same without tables.
    pub fn empty_postgres() -> Boxed<'static, Self> {
        static SERVER: Server = Server::new("throwaway-postgres");
        Box::pin(async { Self::empty("postgres", SERVER.create_database().await) })
    }

    /// A database on the MariaDB server of this process, with the tables just as MongooseIM's schema
    /// makes them: without an index on the domain.
    pub fn mysql() -> Boxed<'static, Self> {
        static SERVER: Server = Server::new("throwaway-mysql");
        Box::pin(async {
            let db = Self::empty("mysql", SERVER.create_database().await);
            db.execute(include_str!("../../../priv/schema/mysql.sql")).await;
            db
        })
    }

    fn empty(kind: &'static str, url: String) -> Self {
        let store = Store::open(&Config::new(&url)).unwrap();
        TestDatabase { kind, url, store, _directory: None }
    }

    /// Runs SQL of the test's own, beside the store; on SQLite and PostgreSQL in one transaction.
    pub fn execute<'a>(&'a self, statements: &'a str) -> Boxed<'a, ()> {
        Box::pin(async {
            let mut session = self.session().await;
            session.execute(statements).await;
            session.close().await;
        })
    }

    /// Reads a single number.
    pub fn number<'a>(&'a self, query: &'a str) -> Boxed<'a, i64> {
        Box::pin(async {
            let mut session = self.session().await;
            let number = session.number(query).await;
            session.close().await;
            number
        })
    }

    /// A connection of the test's own, for a transaction that stays open.
    pub fn session(&self) -> Boxed<'_, Session> {
        Box::pin(Session::connect(&self.url))
    }
}

/// A connection beside the store.
pub enum Session {
    #[doc(hidden)]
    Sqlite(SqliteConnection),
    #[doc(hidden)]
    Postgres(PgConnection),
    #[doc(hidden)]
    Mysql(MySqlConnection),
}

/// Gives the connection to the expression.
macro_rules! on_connection {
    ($session:expr, $connection:ident => $call:expr) => {
        match $session {
            Session::Sqlite($connection) => $call,
            Session::Postgres($connection) => $call,
            Session::Mysql($connection) => $call,
        }
    };
}

impl Session {
    async fn connect(url: &str) -> Self {
        match url.split(':').next() {
            Some("sqlite") => Session::Sqlite(SqliteConnection::connect(url).await.unwrap()),
            Some("postgres") => Session::Postgres(PgConnection::connect(url).await.unwrap()),
            _ => Session::Mysql(MySqlConnection::connect(url).await.unwrap()),
        }
    }

    /// Runs SQL.
    pub fn execute<'a>(&'a mut self, statements: &'a str) -> Boxed<'a, ()> {
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements));
        on_connection!(self, connection => Box::pin(async {
            statements.execute(connection).await.unwrap();
        }))
    }

    /// Reads a single number.
    async fn number(&mut self, query: &str) -> i64 {
        let query = sqlx::AssertSqlSafe(query);
        on_connection!(self, connection => {
            sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
        })
    }

    /// Ends it in good order.
    async fn close(self) {
        on_connection!(self, connection => connection.close().await.unwrap());
    }
}

/// A temporary directory, removed with its test. Not by the crate `tempfile`: that one turns on
/// features of crates which sqlx uses, too, so that tests would compile sqlx once more.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("test-database-{}-{}", std::process::id(), next_number());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A database server, started when it is first needed.
struct Server {
    script: &'static str,
    started: OnceLock<(String, Child)>,
}

impl Server {
    const fn new(script: &'static str) -> Self {
        Server { script, started: OnceLock::new() }
    }

    /// The URL of a new, empty database.
    async fn create_database(&self) -> String {
        let (url, _) = self.started.get_or_init(|| self.start());
        let name = format!("test{}", next_number());
        let mut session = Session::connect(url).await;
        session.execute(&format!("CREATE DATABASE {name}")).await;
        session.close().await;
        let (server, _) = url.rsplit_once('/').unwrap();
        format!("{server}/{name}")
    }

    fn start(&self) -> (String, Child) {
        let script = format!("{}/../../script/{}", env!("CARGO_MANIFEST_DIR"), self.script);
        let mut child = Command::new(script)
            .stdin(Stdio::piped()) // its end tells the script that this process is gone
            .stdout(Stdio::piped())
            .spawn()
            .expect(self.script);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("url ").map(str::to_owned))
            .expect("a database server; see the message above");
        (url, child)
    }
}

/// Defines a module of tests with one body: one test per kind of database.
#[macro_export]
macro_rules! on_every_database {
    ($name:ident, $database:ident => $body:block) => {
        $crate::on_databases!($name, [sqlite, postgres, mysql], $database => $body);
    };
}

/// The same for the servers, which have transactions that run at the same time.
#[macro_export]
macro_rules! on_every_server {
    ($name:ident, $database:ident => $body:block) => {
        $crate::on_databases!($name, [postgres, mysql], $database => $body);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! on_databases {
    ($name:ident, [$($kind:ident),*], $database:ident => $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($database: $crate::TestDatabase) $body

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $kind() {
                    body($crate::TestDatabase::$kind().await).await;
                }
            )*
        }
    };
}
