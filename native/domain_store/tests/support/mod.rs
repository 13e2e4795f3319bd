//! What the tests of the store share.
#![allow(dead_code)] // each of them uses a part

use domain_store::{Event, Status};
use std::time::{Duration, Instant};
use test_database::TestDatabase;
use tokio::sync::Mutex;

/// An event.
pub fn event(id: i64, domain: &str) -> Event {
    Event { id, domain: domain.into() }
}

/// The log: its first 10,000 events.
pub async fn all_events(db: &TestDatabase) -> Vec<Event> {
    db.store.events(0, i64::MAX, 10_000).await.unwrap()
}

/// The host type and the status of a domain.
pub async fn row(db: &TestDatabase, domain: &str) -> Option<(String, Status)> {
    let row = db.store.select_domain(domain).await.unwrap();
    row.map(|row| (row.host_type, row.status))
}

/// Waits for a condition.
pub async fn until(condition: impl AsyncFn() -> bool) {
    // MariaDB answers from a cache when asked for its locks again within 100 ms, by any test.
    static ASKING: Mutex<()> = Mutex::const_new(());
    let begun = Instant::now();
    loop {
        let _asking = ASKING.lock().await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        if condition().await {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came true");
    }
}

/// A query for the number of sessions on this database that wait for a lock.
pub fn sessions_that_wait(db: &TestDatabase) -> &'static str {
    match db.kind {
        "mysql" => {
            "SELECT COUNT(*) FROM information_schema.innodb_trx JOIN information_schema.processlist \
             ON id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = DATABASE()"
        }
        _ => {
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock'"
        }
    }
}

/// Rows of one domain, oldest first.
pub async fn duplicates(rows: &[(&str, u8)]) -> TestDatabase {
    let db = TestDatabase::mysql().await;
    for (host_type, status) in rows {
        db.execute(&format!(
            "INSERT INTO domain_settings (domain, host_type, status)
             VALUES ('a.example', '{host_type}', {status})"
        ))
        .await;
    }
    db
}
