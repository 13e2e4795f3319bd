//! The connections of a store: how many there are, which of them stay, and what is said when there is
//! none.
#![allow(clippy::unwrap_used)]

mod support;

use domain_store::{Config, ErrorKind, Store};
use std::time::Duration;
use test_database::TestDatabase;

async fn databases() -> [TestDatabase; 3] {
    [TestDatabase::sqlite().await, TestDatabase::postgres().await, TestDatabase::mysql().await]
}

fn open(db: &TestDatabase, idle_timeout: Duration) -> Store {
    Store::open(&Config { idle_timeout, max_connections: 4, ..Config::new(&db.url) }).unwrap()
}

#[tokio::test]
async fn nothing_is_connected_before_it_is_needed() {
    for db in databases().await {
        let store = open(&db, Duration::from_millis(10));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(store.connections().open, 0, "{}", db.kind);
    }
}

#[tokio::test]
async fn operations_one_after_the_other_share_a_connection() {
    for db in databases().await {
        let store = open(&db, Duration::from_secs(60));
        for _ in 0..20 {
            store.event_bounds().await.unwrap();
        }
        let connections = store.connections();
        assert_eq!((connections.open, connections.idle), (1, 1), "{}", db.kind);
    }
}

#[tokio::test]
async fn of_the_connections_that_are_idle_one_stays() {
    for db in databases().await {
        let store = open(&db, Duration::from_millis(100));
        let bounds = || store.event_bounds();
        tokio::try_join!(bounds(), bounds(), bounds(), bounds()).unwrap();
        support::until(async || store.connections().open <= 1).await;
        // Several times as long as a connection may be idle.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(store.connections().open, 1, "{}", db.kind);
        store.close().await;
        assert_eq!(store.connections().open, 0, "{}", db.kind);
        assert_eq!(store.event_bounds().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let db = TestDatabase::postgres().await;
    let store = open(&db, Duration::from_secs(60));
    store.event_bounds().await.unwrap();
    // Waits for the end of the processes that served it, up to these milliseconds.
    db.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    store.event_bounds().await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_an_error_that_says_so() {
    for scheme in ["postgres", "mysql"] {
        // Nobody listens there, nor will.
        let url = format!("{scheme}://domains:secret@127.0.0.1:1/domains");
        // Until then it would be tried again and again.
        let query_timeout = Duration::from_secs(3600);
        let store = Store::open(&Config { query_timeout, ..Config::new(url) }).unwrap();
        let error = store.event_bounds().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn who_waits_for_a_connection_too_long_is_told() {
    let db = TestDatabase::postgres().await;
    let config = Config { max_connections: 1, ..Config::new(&db.url) };
    // Long enough to connect.
    let query_timeout = Duration::from_secs(3);
    let store = Store::open(&Config { query_timeout, ..config }).unwrap();
    // A list of nobody: it holds the only connection while nobody takes its rows.
    for n in 0..10 {
        db.store.insert_domain(&format!("d{n}.example"), "type1").await.unwrap();
    }
    let (to, from) = tokio::sync::mpsc::channel(1);
    let loading = tokio::spawn({
        let store = store.clone();
        async move { store.load(1, to).await }
    });
    support::until(async || store.connections().open == 1).await;
    let error = store.event_bounds().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("no connection within the time limit"), "{error}");
    drop(from);
    loading.await.unwrap().unwrap();
    store.event_bounds().await.unwrap();
}
