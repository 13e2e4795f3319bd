//! The store, the same tests on every kind of database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_store::{Change, Config, ErrorKind, Event, Insert, Setting, Status, Store};
use std::time::Duration;
use test_database::{TestDatabase, on_every_database};
use tokio::sync::mpsc;

fn event(id: i64, domain: &str) -> Event {
    Event { id, domain: domain.into() }
}

async fn all_events(db: &TestDatabase) -> Vec<Event> {
    db.store.events(0, i64::MAX, 1_000).await.unwrap()
}

async fn row(db: &TestDatabase, domain: &str) -> Option<(String, Status)> {
    let row = db.store.select_domain(domain).await.unwrap();
    row.map(|row| (row.host_type, row.status))
}

async fn loaded(store: &Store, batch: usize) -> Vec<Vec<(String, String)>> {
    let (to, mut from) = mpsc::channel(100);
    store.load(batch, to).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = from.recv().await {
        batches.push(batch);
    }
    batches
}

on_every_database!(an_empty_log_has_no_bounds, db => {
    assert_eq!(db.store.event_bounds().await.unwrap(), None);
    assert_eq!(all_events(&db).await, []);
});

on_every_database!(an_insert_writes_the_row_and_one_event, db => {
    assert_eq!(db.store.insert_domain("a.example", "type1").await.unwrap(), Insert::Inserted);
    assert_eq!(row(&db, "a.example").await, Some(("type1".into(), Status::Enabled)));
    assert_eq!(all_events(&db).await, [event(1, "a.example")]);
    assert_eq!(db.store.event_bounds().await.unwrap(), Some((1, 1)));
});

on_every_database!(a_second_insert_finds_the_row_and_changes_nothing, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    let Insert::Exists(found) = db.store.insert_domain("a.example", "type2").await.unwrap() else {
        panic!("inserted twice")
    };
    assert_eq!((found.host_type.as_str(), found.status), ("type1", Status::Enabled));
    assert_eq!(all_events(&db).await.len(), 1);
});

on_every_database!(a_change_of_status_writes_an_event_only_if_it_changes_something, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    for enabled in [true, false, false, true] {
        assert_eq!(db.store.set_status("a.example", enabled).await.unwrap(), Change::Done);
    }
    assert_eq!(all_events(&db).await.len(), 3);
    assert_eq!(db.store.set_status("none.example", true).await.unwrap(), Change::NotFound);
});

on_every_database!(a_marked_domain_can_only_be_deleted, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    assert!(!db.store.delete_domain("a.example", "type1").await.unwrap(), "it is not marked");
    assert_eq!(
        db.store.mark_deleting("a.example", "type2").await.unwrap(),
        Change::WrongHostType("type1".into())
    );
    assert_eq!(db.store.mark_deleting("none.example", "type1").await.unwrap(), Change::NotFound);
    for _ in 0..2 {
        assert_eq!(db.store.mark_deleting("a.example", "type1").await.unwrap(), Change::Done);
    }
    for enabled in [true, false] {
        assert_eq!(db.store.set_status("a.example", enabled).await.unwrap(), Change::Deleting);
    }
    assert_eq!(row(&db, "a.example").await, Some(("type1".into(), Status::Deleting)));
    assert!(db.store.delete_domain("a.example", "type1").await.unwrap());
    assert!(!db.store.delete_domain("a.example", "type1").await.unwrap());
    assert_eq!(row(&db, "a.example").await, None);
    assert_eq!(all_events(&db).await.len(), 3);
});

on_every_database!(only_enabled_domains_are_loaded_in_batches, db => {
    for n in 0..25 {
        db.store.insert_domain(&format!("d{n:02}.example"), "type1").await.unwrap();
    }
    db.store.set_status("d03.example", false).await.unwrap();
    db.store.mark_deleting("d04.example", "type1").await.unwrap();
    let batches = loaded(&db.store, 10).await;
    assert!(batches.iter().all(|batch| batch.len() <= 10));
    let mut domains: Vec<_> = batches.concat().into_iter().map(|(domain, _)| domain).collect();
    domains.sort();
    assert_eq!(domains.len(), 23);
    assert!(!domains.contains(&"d03.example".into()) && !domains.contains(&"d04.example".into()));
});

on_every_database!(a_load_ends_when_nobody_takes_it, db => {
    for n in 0..25 {
        db.store.insert_domain(&format!("d{n}.example"), "type1").await.unwrap();
    }
    let (to, from) = mpsc::channel(1);
    drop(from);
    db.store.load(2, to).await.unwrap();
    assert_eq!(loaded(&db.store, 100).await.concat().len(), 25, "the connections still work");
});

on_every_database!(names_pass_through_unchanged, db => {
    let names = [
        "back\\slash.example", "tab\t.example", "quote'.example", "line\n.example", "\\N",
        "é.example", "percent%_.example", "trailing.example ",
    ];
    for name in names {
        db.store.insert_domain(name, "typé\\1").await.unwrap();
        assert_eq!(row(&db, name).await, Some(("typé\\1".into(), Status::Enabled)));
    }
    let mut found: Vec<_> = loaded(&db.store, 3).await.concat();
    found.sort();
    let mut expected: Vec<_> = names.map(|name| (name.to_owned(), "typé\\1".to_owned())).into();
    expected.sort();
    assert_eq!(found, expected);
    let long = "\u{1F600}".repeat(250);
    db.store.insert_domain(&long, &long).await.unwrap();
    assert_eq!(row(&db, &long).await, Some((long.clone(), Status::Enabled)));
});

on_every_database!(settings_are_read_for_many_names_at_once, db => {
    for n in 0..10 {
        db.store.insert_domain(&format!("d{n}.example"), "type1").await.unwrap();
    }
    let names: Vec<String> = (0..2_500).map(|n| format!("d{n}.example")).collect();
    assert_eq!(db.store.settings(&names).await.unwrap().len(), 10);
    assert_eq!(db.store.settings(&[]).await.unwrap(), []);
});

on_every_database!(events_come_by_id_within_bounds_and_limit, db => {
    db.execute("INSERT INTO domain_events (id, domain) VALUES (7,'c'), (3,'a'), (5,'b'), (9,'d')").await;
    assert_eq!(db.store.event_bounds().await.unwrap(), Some((3, 9)));
    assert_eq!(db.store.events(3, 7, 10).await.unwrap(), [event(3, "a"), event(5, "b"), event(7, "c")]);
    assert_eq!(db.store.events(4, 9, 2).await.unwrap(), [event(5, "b"), event(7, "c")]);
});

on_every_database!(gaps_are_settled_but_events_are_never_overwritten, db => {
    db.execute("INSERT INTO domain_events (id, domain) VALUES (1,'a'), (3,'b')").await;
    assert_eq!(db.store.settle_gaps(&[2, 3, 4]).await.unwrap(), 2);
    assert_eq!(db.store.settle_gaps(&[2, 4]).await.unwrap(), 0);
    assert_eq!(db.store.settle_gaps(&[]).await.unwrap(), 0);
    assert_eq!(all_events(&db).await, [event(1, "a"), event(2, ""), event(3, "b"), event(4, "")]);
    let many: Vec<i64> = (10..10_010).collect();
    assert_eq!(db.store.settle_gaps(&many).await.unwrap(), 10_000);
});

on_every_database!(old_events_are_deleted_oldest_first, db => {
    for n in 0..10 {
        db.store.insert_domain(&format!("d{n}.example"), "type1").await.unwrap();
    }
    assert_eq!(db.store.delete_events_below(9, 5).await.unwrap(), 5);
    assert_eq!(db.store.event_bounds().await.unwrap(), Some((6, 10)));
    assert_eq!(db.store.delete_events_below(9, 100).await.unwrap(), 3);
    assert_eq!(db.store.event_bounds().await.unwrap(), Some((9, 10)));
});

on_every_database!(rows_are_paged_by_id, db => {
    for n in 0..5 {
        db.store.insert_domain(&format!("d{n}.example"), "type1").await.unwrap();
    }
    db.store.mark_deleting("d2.example", "type1").await.unwrap();
    let mut after = 0;
    let mut domains = Vec::new();
    loop {
        let page = db.store.page(None, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        domains.extend(page.into_iter().map(|row| row.domain));
    }
    assert_eq!(domains, (0..5).map(|n| format!("d{n}.example")).collect::<Vec<_>>());
    let deleting = db.store.page(Some(Status::Deleting), 0, 10).await.unwrap();
    let expected = Setting {
        id: 3, domain: "d2.example".into(), host_type: "type1".into(), status: Status::Deleting,
    };
    assert_eq!(deleting, [expected]);
});

on_every_database!(writers_at_the_same_time_all_succeed, db => {
    let writers = (0..8).map(|writer: u32| {
        let store = Store::open(&Config::new(&db.url)).unwrap();
        tokio::spawn(async move {
            for n in 0..10 {
                store.insert_domain(&format!("d{n}.example"), "type1").await.unwrap();
                store.set_status(&format!("d{n}.example"), writer.is_multiple_of(2)).await.unwrap();
            }
            store.close().await;
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 10);
    let inserts = db.number("SELECT COUNT(DISTINCT domain) FROM domain_events").await;
    assert_eq!(inserts, 10);
});

/// The contract: settling waits for a transaction in flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_waits_for_a_transaction_in_flight() {
    let db = TestDatabase::postgres().await;
    let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
    for (commits, expected) in [(true, "late.example"), (false, "")] {
        let mut transaction = pool.begin().await.unwrap();
        let insert = "INSERT INTO domain_events (domain) VALUES ('late.example') RETURNING id";
        let id: i64 = sqlx::query_scalar(insert).fetch_one(&mut *transaction).await.unwrap();
        db.store.insert_domain(&format!("next{id}.example"), "type1").await.unwrap();
        let store = db.store.clone();
        let settling = tokio::spawn(async move { store.settle_gaps(&[id]).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!settling.is_finished(), "it did not wait");
        if commits { transaction.commit().await } else { transaction.rollback().await }.unwrap();
        assert_eq!(settling.await.unwrap().unwrap(), u64::from(!commits));
        assert_eq!(db.store.events(id, id, 1).await.unwrap(), [event(id, expected)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stays_open_is_a_timeout_and_leaves_no_connection_behind() {
    let db = TestDatabase::postgres().await;
    let pool = sqlx::PgPool::connect(&db.url).await.unwrap();
    let config = Config { query_timeout: Duration::from_millis(300), ..Config::new(&db.url) };
    let store = Store::open(&config).unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let insert = "INSERT INTO domain_events (domain) VALUES ('late.example')";
    sqlx::query(insert).execute(&mut *transaction).await.unwrap();
    for _ in 0..5 {
        assert_eq!(store.settle_gaps(&[1]).await.unwrap_err().kind(), ErrorKind::Timeout);
    }
    transaction.rollback().await.unwrap();
    assert_eq!(store.settle_gaps(&[1]).await.unwrap(), 1);
    let ours = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()";
    assert!(db.number(ours).await <= 6);
}

async fn failure(url: &str) -> domain_store::Error {
    match Store::open(&Config { query_timeout: Duration::from_secs(2), ..Config::new(url) }) {
        Ok(store) => store.event_bounds().await.unwrap_err(),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_database_has_its_own_error_without_the_password() {
    let db = TestDatabase::postgres().await;
    let dir = db.url.rsplit_once('/').unwrap().0;
    let file = std::env::temp_dir().join(format!("not-a-database-{}", std::process::id()));
    std::fs::write(&file, "no database, but text, and long enough to be looked at ".repeat(20))
        .unwrap();
    let not_sqlite = format!("sqlite:{}", file.display());
    let cases = [
        ("postgres//host/db", ErrorKind::BadUrl),
        ("postgres://user:secret@host:port/db", ErrorKind::BadUrl),
        ("postgres:///db", ErrorKind::BadUrl),
        ("sqlite:", ErrorKind::BadUrl),
        ("sqlite::memory:", ErrorKind::BadUrl),
        ("sqlite:file?mod=ro", ErrorKind::BadUrl),
        ("mongo://user:secret@host/db", ErrorKind::UnknownScheme),
        ("mysql://user:secret@host/db", ErrorKind::UnknownScheme),
        ("sqlite:/no/such/directory/file", ErrorKind::Unavailable),
        (&not_sqlite, ErrorKind::NotADatabase),
        (&db.url.replace("secret", "wrong-secret"), ErrorKind::AccessDenied),
        (&db.url.replace("domains:", "nobody:"), ErrorKind::AccessDenied),
        (&format!("{dir}/no_such_database"), ErrorKind::AccessDenied),
        (&format!("{dir}/postgres"), ErrorKind::MissingTables),
        (&format!("{}?sslmod=require", db.url), ErrorKind::BadUrl),
        ("postgres://user:1?secret@host/db", ErrorKind::BadUrl),
        ("postgres://user:1#secret@host/db", ErrorKind::BadUrl),
        ("postgres://domains:secret@127.0.0.1:1/db", ErrorKind::Unavailable),
    ];
    for (url, kind) in cases {
        let error = failure(url).await;
        assert_eq!(error.kind(), kind, "{url}: {error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("secret"), "{text}");
        }
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_read_only_file_can_be_read_and_says_why_it_cannot_be_written() {
    let db = TestDatabase::sqlite().await;
    db.store.insert_domain("a.example", "type1").await.unwrap();
    let store = Store::open(&Config::new(format!("{}?mode=ro", db.url))).unwrap();
    assert_eq!(loaded(&store, 10).await.concat().len(), 1);
    let error = store.insert_domain("b.example", "type1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
}

#[tokio::test]
async fn rows_that_are_not_utf8_do_not_keep_the_others_from_being_read() {
    let db = TestDatabase::sqlite().await;
    db.execute(
        "INSERT INTO domain_settings (domain, host_type) VALUES (x'ff', 'type1'), ('a', 'type1');
         INSERT INTO domain_events (domain) VALUES (x'ff'), ('a')",
    )
    .await;
    let names: Vec<_> = loaded(&db.store, 10).await.concat().into_iter().map(|row| row.0).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&String::new()) && names.contains(&"a".into()));
    assert_eq!(all_events(&db).await, [event(1, ""), event(2, "a")]);
}
