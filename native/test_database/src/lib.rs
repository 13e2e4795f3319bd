//! For tests: every test gets a database of its own, on every kind of server.
//!
//! The servers are real, and shared by the tests of one process: `script/throwaway-postgres` starts
//! one, and stops it when the process ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_store::{Config, Store};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// A fresh database with MongooseIM's tables, and our store on it.
pub struct TestDatabase {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// Where it is.
    pub url: String,
    /// The store.
    pub store: Store,
    _dir: Option<TempDir>,
}

impl TestDatabase {
    /// An SQLite file.
    pub async fn sqlite() -> Self {
        let dir = TempDir::new().unwrap();
        let url = format!("sqlite:{}/domains.db", dir.path().display());
        Self::new("sqlite", url, Some(dir)).await
    }

    /// A database on the PostgreSQL server of this process.
    pub async fn postgres() -> Self {
        let server = postgres_url();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        execute(server, &format!("CREATE DATABASE {name}")).await;
        let url = server.strip_suffix("postgres").unwrap().to_owned() + &name;
        Self::new("postgres", url, None).await
    }

    async fn new(kind: &'static str, url: String, dir: Option<TempDir>) -> Self {
        let store = Store::open(&Config::new(&url)).unwrap();
        store.create_schema().await.unwrap();
        TestDatabase { kind, url, store, _dir: dir }
    }

    /// Runs SQL of the test's own, beside the store, in one implicit transaction.
    pub async fn execute(&self, statements: &str) {
        execute(&self.url, statements).await;
    }

    /// Reads a single number.
    pub async fn number(&self, query: &str) -> i64 {
        let query = sqlx::AssertSqlSafe(query);
        if self.kind == "sqlite" {
            let pool = sqlx::SqlitePool::connect(&self.url).await.unwrap();
            sqlx::query_scalar(query).fetch_one(&pool).await.unwrap()
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            sqlx::query_scalar(query).fetch_one(&pool).await.unwrap()
        }
    }
}

async fn execute(url: &str, statements: &str) {
    let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements));
    if url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(url).await.unwrap();
        statements.execute(&pool).await.unwrap();
        pool.close().await;
    } else {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        statements.execute(&pool).await.unwrap();
        pool.close().await;
    }
}

/// The URL of the PostgreSQL server of this process, started when first asked for.
fn postgres_url() -> &'static str {
    static SERVER: OnceLock<(String, Child)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../script/throwaway-postgres");
        let mut child = Command::new(script)
            .stdin(Stdio::piped()) // its end tells the script that this process is gone
            .stdout(Stdio::piped())
            .spawn()
            .expect("script/throwaway-postgres");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("url ").map(str::to_owned))
            .expect("a PostgreSQL server; see the message above");
        (url, child)
    });
    url
}

/// Defines a module of tests with one body: one test per kind of database.
#[macro_export]
macro_rules! on_every_database {
    ($name:ident, $database:ident => $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($database: $crate::TestDatabase) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body($crate::TestDatabase::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body($crate::TestDatabase::postgres().await).await;
            }
        }
    };
}
