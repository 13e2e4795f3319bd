//! The store, the same tests on every kind of database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use domain_store::{Change, Config, Enabled, ErrorKind, Insert, Setting, Status, Store};
use std::time::{Duration, Instant};
use support::{all_events, duplicates, event, row, sessions_that_wait, until};
use test_database::{TestDatabase, on_every_database, on_every_server};
use tokio::sync::mpsc;

/// The time limit of a store whose statements wait for what a test does.
const PATIENCE: Duration = Duration::from_secs(14);
/// So long MariaDB then lets a statement wait for a lock: whole seconds, a fifth of the limit.
const LOCK_WAIT: Duration = Duration::from_secs(2);

async fn loaded(store: &Store, batch: usize) -> Vec<Vec<Enabled>> {
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
    let mut expected: Vec<Enabled> = names.map(|name| (name.into(), "typé\\1".into())).into();
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
    assert_eq!(db.store.events(i64::MIN, 3, 10).await.unwrap(), [event(3, "a")]);
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

// MySQL's collations call some of these the same name.
on_every_database!(names_are_told_apart_by_their_bytes, db => {
    let names = ["É.example", "é.example", "E.example", "e.example", "e.example ", "ß", "ss"];
    for (n, name) in names.iter().enumerate() {
        let inserted = db.store.insert_domain(name, &format!("type{n}")).await.unwrap();
        assert_eq!(inserted, Insert::Inserted, "{name}");
    }
    for (n, name) in names.iter().enumerate() {
        assert_eq!(row(&db, name).await, Some((format!("type{n}"), Status::Enabled)));
    }
    assert_eq!(row(&db, "E.example ").await, None);
    assert_eq!(db.store.settings(&["é.example".into(), "SS".into()]).await.unwrap().len(), 1);
    assert_eq!(db.store.set_status("e.example ", false).await.unwrap(), Change::Done);
    assert_eq!(db.store.mark_deleting("e.example", "type3").await.unwrap(), Change::Done);
    assert!(db.store.delete_domain("e.example", "type3").await.unwrap());
    let mut left: Vec<_> = loaded(&db.store, 10).await.concat();
    left.sort_by(|one, other| one.1.cmp(&other.1));
    let left: Vec<_> = left.iter().map(|(domain, _)| domain.as_str()).collect();
    assert_eq!(left, ["É.example", "é.example", "E.example", "ß", "ss"]);
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

/// Returns how many of four inserts of one domain inserted it.
async fn insert_at_the_same_time(db: &TestDatabase, domain: &str) -> usize {
    let insert = |writer: u32| {
        let (store, domain) = (Store::open(&Config::new(&db.url)).unwrap(), domain.to_owned());
        tokio::spawn(async move {
            store.insert_domain(&domain, &format!("type{writer}")).await.unwrap()
        })
    };
    let mut inserted = 0;
    for writer in (0..4).map(insert).collect::<Vec<_>>() {
        inserted += usize::from(writer.await.unwrap() == Insert::Inserted);
    }
    inserted
}

on_every_database!(inserts_of_one_domain_at_the_same_time_make_one_row, db => {
    for n in 0..10 {
        assert_eq!(insert_at_the_same_time(&db, &format!("d{n}.example")).await, 1);
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 10);
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_events").await, 10);
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_admins").await, 0);
});

// The lock of a name is a row of domain_admins: what if that is there already?
on_every_database!(inserts_of_a_domain_with_an_administrator_make_one_row, db => {
    db.execute("INSERT INTO domain_admins (domain, pass_details) VALUES ('d0.example', 'secret')")
        .await;
    for _ in 0..10 {
        assert_eq!(insert_at_the_same_time(&db, "d0.example").await, 1);
        assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 1);
        db.execute("DELETE FROM domain_settings").await;
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_admins").await, 1);
});

// The contract: settling waits for a transaction in flight.
on_every_server!(settling_waits_for_a_transaction_in_flight, db => {
    let store = Store::open(&Config { query_timeout: PATIENCE, ..Config::new(&db.url) }).unwrap();
    for (id, commits, expected) in [(1, true, "late.example"), (3, false, "")] {
        let mut open = db.session().await;
        open.execute("BEGIN").await;
        open.execute("INSERT INTO domain_events (domain) VALUES ('late.example')").await;
        db.store.insert_domain(&format!("next{id}.example"), "type1").await.unwrap();
        assert_eq!(db.store.events(0, 100, 100).await.unwrap().len() as i64, id, "not yet");
        let settling = tokio::spawn({
            let store = store.clone();
            async move { store.settle_gaps(&[id]).await }
        });
        // Longer than MariaDB waits by itself.
        tokio::time::sleep(LOCK_WAIT + Duration::from_millis(300)).await;
        assert!(!settling.is_finished(), "it did not wait");
        open.execute(if commits { "COMMIT" } else { "ROLLBACK" }).await;
        assert_eq!(settling.await.unwrap().unwrap(), u64::from(!commits));
        assert_eq!(db.store.events(id, id, 1).await.unwrap(), [event(id, expected)]);
    }
});

on_every_server!(a_transaction_that_stays_open_is_a_timeout_and_leaves_no_connection_behind, db => {
    let mut open = db.session().await;
    open.execute("BEGIN").await;
    open.execute("INSERT INTO domain_events (domain) VALUES ('late.example')").await;
    // MariaDB gives up waiting after a second, so it is not the same that ends these two. Either is
    // long enough to connect.
    for milliseconds in [900, 2_000] {
        let query_timeout = Duration::from_millis(milliseconds);
        let config = Config { query_timeout, ..Config::new(&db.url) };
        let store = Store::open(&config).unwrap();
        for _ in 0..3 {
            assert_eq!(store.settle_gaps(&[1]).await.unwrap_err().kind(), ErrorKind::Timeout);
        }
    }
    open.execute("ROLLBACK").await;
    assert_eq!(db.store.settle_gaps(&[1]).await.unwrap(), 1);
    let connections = match db.kind {
        "mysql" => "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()",
        _ => "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()",
    };
    // The test's two and the store's; MariaDB notices only after its wait that nobody is there.
    until(async || db.number(connections).await <= 4).await;
});

on_every_server!(a_transaction_that_the_database_stops_is_repeated, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    let mut open = db.session().await;
    open.execute("BEGIN").await;
    // The store's transaction is the one to be stopped: on MariaDB it has done less, on PostgreSQL it
    // looks first whether it waits in vain (when both wait, as it looks but once).
    if db.kind == "mysql" {
        let rows: Vec<_> = (0..100).map(|n| format!("('d{n}.example', '')")).collect();
        open.execute(&format!("INSERT INTO domain_admins VALUES {}", rows.join(","))).await;
        // Behind the last row, where the next one goes.
        open.execute("SELECT * FROM domain_events FOR UPDATE").await;
    } else {
        let name = db.url.rsplit_once('/').unwrap().1;
        open.execute("SET deadlock_timeout = '5min'").await;
        db.execute(&format!("ALTER DATABASE {name} SET deadlock_timeout = '8s'")).await;
        open.execute("LOCK TABLE domain_events IN EXCLUSIVE MODE").await;
    }
    let config = Config { query_timeout: Duration::from_secs(60), ..Config::new(&db.url) };
    let store = Store::open(&config).unwrap();
    let change = tokio::spawn(async move { store.set_status("a.example", false).await });
    // When it has the row, and waits to write its event.
    until(async || db.number(sessions_that_wait(&db)).await == 1).await;
    open.execute("UPDATE domain_settings SET host_type = 'type2' WHERE id = 1").await;
    open.execute("COMMIT").await;
    assert_eq!(change.await.unwrap().unwrap(), Change::Done);
    assert_eq!(row(&db, "a.example").await, Some(("type2".into(), Status::Disabled)));
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_events").await, 2);
});

on_every_server!(a_write_sees_what_the_transaction_it_waited_for_did, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    let mut open = db.session().await;
    open.execute("BEGIN").await;
    open.execute("UPDATE domain_settings SET status = 2 WHERE id = 1").await;
    let store = Store::open(&Config { query_timeout: PATIENCE, ..Config::new(&db.url) }).unwrap();
    let change = tokio::spawn(async move { store.set_status("a.example", false).await });
    until(async || db.number(sessions_that_wait(&db)).await == 1).await;
    open.execute("COMMIT").await;
    assert_eq!(change.await.unwrap().unwrap(), Change::Deleting);
    assert_eq!(row(&db, "a.example").await, Some(("type1".into(), Status::Deleting)));
});

on_every_server!(a_write_waits_for_the_transaction_that_has_its_row, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    let mut open = db.session().await;
    open.execute("BEGIN").await;
    open.execute("UPDATE domain_settings SET host_type = 'type2' WHERE id = 1").await;
    let store = Store::open(&Config { query_timeout: PATIENCE, ..Config::new(&db.url) }).unwrap();
    let change = tokio::spawn(async move { store.set_status("a.example", false).await });
    // Longer than MariaDB waits by itself.
    tokio::time::sleep(LOCK_WAIT + Duration::from_millis(300)).await;
    assert!(!change.is_finished());
    open.execute("COMMIT").await;
    assert_eq!(change.await.unwrap().unwrap(), Change::Done);

    open.execute("BEGIN").await;
    open.execute("UPDATE domain_settings SET host_type = 'type3' WHERE id = 1").await;
    let config = Config { query_timeout: Duration::from_millis(2_000), ..Config::new(&db.url) };
    let impatient = Store::open(&config).unwrap();
    let error = impatient.set_status("a.example", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
});

async fn failure(url: &str) -> domain_store::Error {
    match Store::open(&Config { query_timeout: Duration::from_secs(2), ..Config::new(url) }) {
        Ok(store) => store.event_bounds().await.unwrap_err(),
        Err(error) => error,
    }
}

on_every_server!(connections_are_few_and_one_stays_when_all_are_idle, db => {
    db.store.close().await;
    let connections = || db.number(match db.kind {
        "postgres" => "SELECT COUNT(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()",
        _ => "SELECT COUNT(*) FROM information_schema.processlist \
              WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    });
    let config = Config {
        max_connections: 3,
        idle_timeout: Duration::from_millis(500),
        ..Config::new(&db.url)
    };
    let store = Store::open(&config).unwrap();
    let askers = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                store.event_bounds().await.unwrap();
            }
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        asker.await.unwrap();
    }
    let used = connections().await;
    assert!((1..=3).contains(&used), "{used} connections");
    let patience = Instant::now() + Duration::from_secs(60);
    while connections().await > 1 {
        assert!(Instant::now() < patience, "idle connections are kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(connections().await, 1);
    store.close().await;
    while connections().await > 0 {
        assert!(Instant::now() < patience, "a connection of a closed store is kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_database_has_its_own_error_without_the_password() {
    let postgres = TestDatabase::empty_postgres().await.url;
    let mysql = TestDatabase::mysql().await.url;
    let server = mysql.rsplit_once('/').unwrap().0;
    let file = std::env::temp_dir().join(format!("not-a-database-{}", std::process::id()));
    std::fs::write(&file, "no database, but text, and long enough to be looked at ".repeat(20))
        .unwrap();
    let not_sqlite = format!("sqlite:{}", file.display());
    let cases = [
        ("postgres//host/db", ErrorKind::BadUrl),
        ("mongo://user:secret@host/db", ErrorKind::UnknownScheme),
        ("sqlite:", ErrorKind::BadUrl),
        ("sqlite::memory:", ErrorKind::BadUrl),
        ("sqlite:file?mod=ro", ErrorKind::BadUrl),
        ("sqlite:/no/such/directory/file", ErrorKind::Unavailable),
        (&not_sqlite, ErrorKind::NotADatabase),
        ("postgres://user:secret@host:port/db", ErrorKind::BadUrl),
        ("postgres:///db", ErrorKind::BadUrl),
        ("postgres://user:1?secret@host/db", ErrorKind::BadUrl),
        ("postgres://user:1#secret@host/db", ErrorKind::BadUrl),
        (&format!("{postgres}?sslmod=require"), ErrorKind::BadUrl),
        (&format!("{postgres}?sslmode=require"), ErrorKind::TlsFailed),
        (&format!("{postgres}?sslmode=verify-full"), ErrorKind::BadUrl),
        (&format!("{postgres}?sslmode=verify-ca&sslrootcert=/no/file"), ErrorKind::BadOption),
        (&format!("{postgres}?sslcert=/no/file"), ErrorKind::BadUrl),
        (&format!("{postgres}?sslmode=require&sslrootcert=/no/file"), ErrorKind::BadUrl),
        (&postgres.replace("secret", "wrong-secret"), ErrorKind::AccessDenied),
        (&postgres.replace("domains:", "nobody:"), ErrorKind::AccessDenied),
        (&format!("{postgres}_other"), ErrorKind::AccessDenied),
        (&postgres, ErrorKind::MissingTables),
        ("postgres://domains:secret@127.0.0.1:1/db", ErrorKind::Unavailable),
        ("mysql://user:secret@host:port/db", ErrorKind::BadUrl),
        ("mysql:///db", ErrorKind::BadUrl),
        ("mysql://user:secret@host", ErrorKind::BadUrl),
        ("mysql://user:1?secret@host/db", ErrorKind::BadUrl),
        ("mariadb://user:1#secret@host/db", ErrorKind::BadUrl),
        (&format!("{mysql}?sslmod=REQUIRED"), ErrorKind::BadUrl),
        (&format!("{mysql}?charset=latin1"), ErrorKind::BadUrl),
        (&format!("{mysql}?ssl-mode=REQUIRED"), ErrorKind::TlsFailed),
        (&format!("{mysql}?ssl-mode=VERIFY_CA"), ErrorKind::BadUrl),
        (&format!("{mysql}?ssl-cert=/no/file&ssl-key=/no/file"), ErrorKind::BadOption),
        (&mysql.replace("secret", "wrong-secret"), ErrorKind::AccessDenied),
        (&mysql.replace("domains:", "nobody:"), ErrorKind::AccessDenied),
        (&format!("{mysql}_other"), ErrorKind::AccessDenied),
        (&format!("{server}/domains"), ErrorKind::MissingTables),
        ("mysql://domains:secret@127.0.0.1:1/db", ErrorKind::Unavailable),
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
    assert!(names.contains(&"".into()) && names.contains(&"a".into()));
    assert_eq!(all_events(&db).await, [event(1, ""), event(2, "a")]);
}

#[tokio::test]
async fn mariadb_is_mysql() {
    let db = TestDatabase::mysql().await;
    let store = Store::open(&Config::new(db.url.replace("mysql:", "mariadb:"))).unwrap();
    store.insert_domain("a.example", "type1").await.unwrap();
    assert_eq!(row(&db, "a.example").await, Some(("type1".into(), Status::Enabled)));
}

#[tokio::test]
async fn a_mysql_user_with_few_rights_is_told_so() {
    let db = TestDatabase::mysql().await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.execute(&format!(
        "CREATE USER reader_{name}@'127.0.0.1' IDENTIFIED BY 'secret';
         GRANT SELECT ON {name}.* TO reader_{name}@'127.0.0.1';
         CREATE USER single_{name}@'127.0.0.1' IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS 1;
         GRANT ALL ON {name}.* TO single_{name}@'127.0.0.1'"
    ))
    .await;
    let as_user = |user: &str| db.url.replace("//domains:", &format!("//{user}_{name}:"));

    let reader = Store::open(&Config::new(as_user("reader"))).unwrap();
    assert_eq!(reader.event_bounds().await.unwrap(), None);
    let error = reader.insert_domain("a.example", "type1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");

    let single = Store::open(&Config::new(as_user("single"))).unwrap();
    single.insert_domain("a.example", "type1").await.unwrap();
    assert_eq!(failure(&as_user("single")).await.kind(), ErrorKind::Unavailable);
}

async fn with_status(db: &TestDatabase, status: u8) -> i64 {
    db.number(&format!("SELECT COUNT(*) FROM domain_settings WHERE status = {status}")).await
}

#[tokio::test]
async fn of_duplicates_the_newest_counts() {
    let db = duplicates(&[("type1", 1), ("type2", 0), ("type3", 1)]).await;
    assert_eq!(row(&db, "a.example").await, Some(("type3".into(), Status::Enabled)));
    assert_eq!(loaded(&db.store, 10).await.concat(), [("a.example".into(), "type3".into())]);
    let Insert::Exists(found) = db.store.insert_domain("a.example", "type4").await.unwrap() else {
        panic!("inserted")
    };
    assert_eq!((found.id, found.host_type.as_str()), (3, "type3"));
    assert_eq!(
        db.store.mark_deleting("a.example", "type1").await.unwrap(),
        Change::WrongHostType("type3".into())
    );
    assert_eq!(all_events(&db).await, []);

    let db = duplicates(&[("type1", 1), ("type1", 0)]).await;
    assert_eq!(loaded(&db.store, 10).await, Vec::<Vec<_>>::new(), "the older one is not loaded");
}

#[tokio::test]
async fn duplicates_change_together_with_one_event() {
    let db = duplicates(&[("type1", 1), ("type2", 1), ("type1", 0)]).await;
    assert_eq!(db.store.set_status("a.example", false).await.unwrap(), Change::Done);
    assert_eq!(with_status(&db, 0).await, 3);
    assert_eq!(db.store.set_status("a.example", false).await.unwrap(), Change::Done);
    assert_eq!(all_events(&db).await.len(), 1, "nothing was left to change");
    assert_eq!(db.store.set_status("a.example", true).await.unwrap(), Change::Done);
    assert_eq!(with_status(&db, 1).await, 3);
    assert_eq!(db.store.mark_deleting("a.example", "type1").await.unwrap(), Change::Done);
    assert_eq!(with_status(&db, 2).await, 3);
    assert_eq!(db.store.set_status("a.example", true).await.unwrap(), Change::Deleting);

    // One removal per host type: its handlers have run for that one only.
    assert!(db.store.delete_domain("a.example", "type1").await.unwrap());
    assert_eq!(row(&db, "a.example").await, Some(("type2".into(), Status::Deleting)));
    assert!(db.store.delete_domain("a.example", "type2").await.unwrap());
    assert_eq!(row(&db, "a.example").await, None);
    assert_eq!(all_events(&db).await.len(), 5);
}

#[tokio::test]
async fn a_domain_added_again_survives_the_removal_of_its_older_row() {
    let db = duplicates(&[("type1", 2), ("type1", 1)]).await;
    assert_eq!(db.store.set_status("a.example", false).await.unwrap(), Change::Done);
    assert_eq!(with_status(&db, 2).await, 1, "a mark for deletion stays");
    assert_eq!(db.store.set_status("a.example", true).await.unwrap(), Change::Done);
    assert!(db.store.delete_domain("a.example", "type1").await.unwrap());
    assert_eq!(row(&db, "a.example").await, Some(("type1".into(), Status::Enabled)));
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 1);
}

on_every_database!(a_missing_index_is_reported_but_added_only_with_the_schema, db => {
    let on_domain = "CREATE INDEX i_domain_settings_domain ON domain_settings (domain)";
    let missing = (db.kind == "mysql").then_some(on_domain);
    assert_eq!(db.store.missing_index().await.unwrap(), missing);
    db.store.insert_domain("a.example", "type1").await.unwrap();
    db.execute("CREATE INDEX other ON domain_settings (host_type, domain)").await;
    assert_eq!(db.store.missing_index().await.unwrap(), missing);
    for _ in 0..2 {
        db.store.create_schema().await.unwrap();
        assert_eq!(db.store.missing_index().await.unwrap(), None);
    }
    assert_eq!(row(&db, "a.example").await, Some(("type1".into(), Status::Enabled)));
});

#[tokio::test]
async fn the_schema_is_made_in_an_empty_mysql_database() {
    let db = TestDatabase::mysql().await;
    db.execute("DROP TABLE domain_settings, domain_events, domain_admins").await;
    assert_eq!(db.store.event_bounds().await.unwrap_err().kind(), ErrorKind::MissingTables);
    db.store.create_schema().await.unwrap();
    db.store.insert_domain("a.example", "type1").await.unwrap();
    assert_eq!(all_events(&db).await, [event(1, "a.example")]);
}

/// Between taking the id of an event and inserting its row, a writer can be so slow that a reader takes
/// the id for a gap.
#[tokio::test]
async fn a_writer_whose_event_id_was_taken_for_a_gap_takes_another() {
    let db = TestDatabase::postgres().await;
    db.store.insert_domain("a.example", "type1").await.unwrap();
    assert_eq!(db.store.settle_gaps(&[2, 3]).await.unwrap(), 2);
    let inserted = db.store.insert_domain("b.example", "type1").await.unwrap();
    assert_eq!(inserted, Insert::Inserted);
    let events = [(1, "a.example"), (2, ""), (3, ""), (4, "b.example")];
    assert_eq!(all_events(&db).await, events.map(|(id, domain)| event(id, domain)));
}

/// As CockroachDB always is: a transaction may have to be repeated, also when it commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serializable_transactions_that_fail_are_repeated() {
    let db = TestDatabase::postgres().await;
    let name = db.url.rsplit_once('/').unwrap().1;
    db.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation = serializable"))
        .await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Store::open(&Config::new(&db.url)).unwrap();
            tokio::spawn(async move {
                for n in 0..20 {
                    let domain = format!("d{n}.example");
                    store.insert_domain(&domain, "type1").await.unwrap();
                    store.set_status(&domain, writer % 2 == 0).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 20);
}

/// CockroachDB's schema has nothing that PostgreSQL does not have.
#[tokio::test]
async fn the_schema_for_cockroachdb_holds_domains_and_events() {
    let db = TestDatabase::empty_postgres().await;
    for statement in include_str!("../../../priv/schema/cockroachdb.sql").split(';') {
        db.execute(statement).await;
    }
    for domain in ["a.example", "b.example"] {
        assert_eq!(db.store.insert_domain(domain, "type1").await.unwrap(), Insert::Inserted);
    }
    db.store.mark_deleting("a.example", "type1").await.unwrap();
    assert!(db.store.delete_domain("a.example", "type1").await.unwrap());
    assert_eq!(db.store.page(None, 0, 10).await.unwrap()[0].id, 2);
    assert_eq!(db.store.event_bounds().await.unwrap(), Some((1, 4)));
}
