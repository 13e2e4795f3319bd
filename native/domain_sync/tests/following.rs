//! The follower on real databases: what a node's table comes to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use domain_sync::check::{Outcome, Reason};
use domain_sync::driver::{BATCHES_WAITING, Ended, run};
use domain_sync::ignored::Kind;
use std::sync::Arc;
use std::time::Duration;
use support::{MAX_AGE, Node};
use test_database::{TestDatabase, on_every_database, on_every_server};

async fn insert(db: &TestDatabase, domain: &str) {
    db.store.insert_domain(domain, "type1").await.unwrap();
}

/// Appends events with these ids, whose transactions have committed.
async fn events(db: &TestDatabase, rows: impl IntoIterator<Item = (i64, String)>) {
    let rows: Vec<String> =
        rows.into_iter().map(|(id, domain)| format!("({id}, '{domain}')")).collect();
    db.execute(&format!("INSERT INTO domain_events (id, domain) VALUES {}", rows.join(", "))).await;
}

async fn enabled(db: &TestDatabase, domain: &str) {
    let insert =
        format!("INSERT INTO domain_settings (domain, host_type) VALUES ('{domain}', 'type1')");
    db.execute(&insert).await;
}

async fn count(db: &TestDatabase, condition: &str) -> i64 {
    db.number(&format!("SELECT COUNT(*) FROM domain_events WHERE {condition}")).await
}

on_every_database!(a_load_brings_the_enabled_domains, db => {
    for domain in ["a.example", "b.example", "c.example"] {
        insert(&db, domain).await;
    }
    db.store.set_status("b.example", false).await.unwrap();
    let node = Node::new();
    node.load(&db.store).await;
    assert_eq!(node.host_type("a.example").as_deref(), Some("type1"));
    assert!(node.routes("c.example") && node.routes("static.example"));
    assert!(!node.routes("b.example"));
    assert_eq!(node.routing.table().len(), 3);
    assert_eq!(node.newest(), Some(4));
    let mut notified = node.notified();
    notified.sort();
    assert_eq!(notified, ["+type1 a.example", "+type1 c.example"]);
});

// More events than a statement names domains, and a page of changes that is one batch.
on_every_database!(thousands_of_changes_are_followed, db => {
    const DOMAINS: usize = 12_000;
    let names: Vec<String> = (0..DOMAINS).map(|n| format!("d{n}.example")).collect();
    let rows: Vec<String> = names.iter().map(|name| format!("('{name}', 'type1')")).collect();
    let insert = format!("INSERT INTO domain_settings (domain, host_type) VALUES {}", rows.join(","));
    db.execute(&insert).await;
    let node = Node::new();
    node.load(&db.store).await;
    assert_eq!(node.notified().len(), DOMAINS);
    db.execute("UPDATE domain_settings SET status = 0 WHERE id % 3 = 0").await;
    db.execute("UPDATE domain_settings SET host_type = 'type2' WHERE id % 3 = 1").await;
    db.execute("DELETE FROM domain_settings WHERE id % 6 = 2").await;
    // The name of the first comes twice, with others and a dummy between.
    let named = names.iter().cloned().chain([String::new(), names[0].clone()]);
    events(&db, (1..).zip(named)).await;
    node.follow(&db.store).await;
    assert_eq!(node.newest(), Some(DOMAINS as i64 + 2));
    for (name, id) in names.iter().zip(1..) {
        let expected = match id % 6 {
            1 | 4 => Some("type2"),
            5 => Some("type1"),
            _ => None,
        };
        assert_eq!(node.host_type(name).as_deref(), expected, "{name}");
    }
    assert_eq!(node.notified().len(), DOMAINS / 6 * 5);
});

on_every_database!(every_change_is_followed, db => {
    let node = Node::new();
    node.load(&db.store).await;
    assert_eq!(node.newest(), None);

    insert(&db, "a.example").await;
    node.follow(&db.store).await;
    assert!(node.routes("a.example"));

    db.store.set_status("a.example", false).await.unwrap();
    node.follow(&db.store).await;
    assert!(!node.routes("a.example"));

    db.store.set_status("a.example", true).await.unwrap();
    node.follow(&db.store).await;
    assert!(node.routes("a.example"));

    db.store.mark_deleting("a.example", "type1").await.unwrap();
    node.follow(&db.store).await;
    assert!(!node.routes("a.example"));

    db.store.delete_domain("a.example", "type1").await.unwrap();
    db.store.insert_domain("a.example", "type2").await.unwrap();
    node.follow(&db.store).await;
    assert_eq!(node.host_type("a.example").as_deref(), Some("type2"));
    assert_eq!(node.notified(), [
        "+type1 a.example", "-type1 a.example", "+type1 a.example", "-type1 a.example",
        "+type2 a.example",
    ]);
    assert_eq!(count(&db, "domain = ''").await, 0);
});

on_every_database!(another_host_type_is_a_removal_then_an_addition, db => {
    insert(&db, "a.example").await;
    let node = Node::new();
    node.load(&db.store).await;
    node.notified();
    db.execute("UPDATE domain_settings SET host_type = 'type2' WHERE domain = 'a.example'").await;
    events(&db, [(2, "a.example".into())]).await;
    node.follow(&db.store).await;
    assert_eq!(node.notified(), ["-type1 +type2 a.example"]);
});

on_every_database!(a_reload_removes_what_it_did_not_bring, db => {
    insert(&db, "stays.example").await;
    insert(&db, "goes.example").await;
    let mut node = Node::new();
    node.load(&db.store).await;
    node.routing.writer().insert("foreign.example", b"type1", &99).unwrap();
    node.notified();
    // Without an event: only a reload can notice.
    db.execute("DELETE FROM domain_settings WHERE domain = 'goes.example'").await;
    node.follow(&db.store).await;
    assert!(node.routes("goes.example") && node.routes("foreign.example"));
    node.reload(&db.store).await;
    assert!(node.routes("stays.example"));
    let mut notified = node.notified();
    notified.sort();
    assert_eq!(notified, ["-type1 foreign.example", "-type1 goes.example"]);
});

on_every_database!(i2_static_domains_win, db => {
    db.store.insert_domain("static.example", "type2").await.unwrap();
    let node = Node::new();
    node.load(&db.store).await;
    assert_eq!(node.host_type("static.example").as_deref(), Some("type1"));
    let ignored = node.ignored.take();
    assert_eq!(ignored.keys().collect::<Vec<_>>(), [&Kind::DifferentHostType]);
    let (count, rows) = &ignored[&Kind::DifferentHostType];
    assert_eq!((*count, rows[0].db_host_type.as_str()), (1, "type2"));
    assert_eq!(rows[0].core_host_type.as_deref(), Some("type1"));

    db.store.set_status("static.example", false).await.unwrap();
    node.follow(&db.store).await;
    assert_eq!(node.host_type("static.example").as_deref(), Some("type1"));
    assert_eq!(node.ignored.take().keys().collect::<Vec<_>>(), [&Kind::StaticWasInDb]);
    assert_eq!(node.notified(), [""; 0]);
});

on_every_database!(a_static_domain_in_the_database_is_ignored_once, db => {
    db.store.insert_domain("static.example", "type1").await.unwrap();
    let node = Node::new();
    node.load(&db.store).await;
    let ignored = node.ignored.take();
    assert_eq!(ignored.keys().collect::<Vec<_>>(), [&Kind::StaticInDb]);
    assert_eq!(ignored[&Kind::StaticInDb].0, 1);
});

on_every_database!(what_is_ignored_is_counted_with_the_first_ten, db => {
    for n in 0..25 {
        db.store.insert_domain(&format!("d{n}.example"), "elsewhere").await.unwrap();
    }
    let node = Node::new();
    node.load(&db.store).await;
    let ignored = node.ignored.take();
    let (count, first) = &ignored[&Kind::UnknownHostType];
    assert_eq!((*count, first.len()), (25, 10));
    assert_eq!(node.routing.table().len(), 1);
});

// As in MongooseIM. Nothing ever asks for them.
on_every_database!(names_that_can_never_route_are_counted_and_in_the_table_all_the_same, db => {
    for domain in ["UPPER.Example", "stra\u{df}e.example", "upper.example", "\u{e9}.example"] {
        db.store.insert_domain(domain, "type1").await.unwrap();
    }
    let node = Node::new();
    node.load(&db.store).await;
    let ignored = node.ignored.take();
    let (count, first) = &ignored[&Kind::InvalidName];
    let mut names: Vec<_> = first.iter().map(|row| row.domain.as_str()).collect();
    names.sort();
    assert_eq!((*count, names), (2, vec!["UPPER.Example", "stra\u{df}e.example"]));
    assert!(node.routes("UPPER.Example") && node.routes("upper.example"));
    db.store.set_status("UPPER.Example", false).await.unwrap();
    node.follow(&db.store).await;
    assert!(!node.routes("UPPER.Example") && node.routes("upper.example"));
    db.store.set_status("UPPER.Example", true).await.unwrap();
    node.follow(&db.store).await;
    assert_eq!(node.ignored.take()[&Kind::InvalidName].0, 1);
});

on_every_database!(i3_a_gap_is_settled_by_one_dummy_per_missing_id, db => {
    insert(&db, "a.example").await;
    let node = Node::new();
    node.load(&db.store).await;
    for domain in ["b.example", "c.example"] {
        enabled(&db, domain).await;
    }
    events(&db, [(4, "b.example".into()), (7, "c.example".into())]).await;
    node.follow(&db.store).await;
    assert!(node.routes("b.example") && node.routes("c.example"));
    assert_eq!(node.newest(), Some(7));
    assert_eq!(count(&db, "domain = ''").await, 4);
    assert_eq!(count(&db, "id IN (2, 3, 5, 6) AND domain = ''").await, 4);
});

on_every_database!(i3_a_load_settles_the_gaps_it_finds, db => {
    events(&db, [(3, "a.example".into()), (6, "b.example".into())]).await;
    let node = Node::new();
    node.load(&db.store).await;
    assert_eq!(node.newest(), Some(6));
    assert_eq!(count(&db, "domain = '' AND id IN (4, 5)").await, 2);
    assert_eq!(count(&db, "id < 3 OR id > 6").await, 0);
});

on_every_database!(the_oldest_id_can_fall, db => {
    let node = Node::new();
    enabled(&db, "late.example").await;
    db.execute("UPDATE domain_settings SET status = 0").await;
    events(&db, [(50, "other.example".into())]).await;
    node.load(&db.store).await;
    db.execute("UPDATE domain_settings SET status = 1").await;
    events(&db, [(40, "late.example".into())]).await;
    node.follow(&db.store).await;
    assert!(node.routes("late.example"));
    assert_eq!(node.newest(), Some(50));
    assert_eq!(count(&db, "domain = '' AND id BETWEEN 41 AND 49").await, 9);
    assert_eq!(count(&db, "1 = 1").await, 11);
});

on_every_database!(i3_a_low_id_is_also_seen_after_an_empty_log, db => {
    let node = Node::new();
    node.load(&db.store).await;
    enabled(&db, "late.example").await;
    events(&db, [(50, "other.example".into())]).await;
    node.follow(&db.store).await;
    assert!(!node.routes("late.example"));
    events(&db, [(40, "late.example".into())]).await;
    node.follow(&db.store).await;
    assert!(node.routes("late.example"));
});

on_every_database!(i4_a_node_that_is_too_old_writes_nothing_and_reloads, db => {
    insert(&db, "a.example").await;
    let mut node = Node::new();
    node.load(&db.store).await;
    enabled(&db, "b.example").await;
    events(&db, [(50_001, "b.example".into()), (50_003, "b.example".into())]).await;
    db.execute("DELETE FROM domain_events WHERE id = 1").await;
    node.must_reload(&db.store, Reason::TooOld).await;
    assert_eq!(count(&db, "domain = ''").await, 0, "it touched the log");
    assert!(node.routes("a.example"), "it touched the table");
    node.must_reload(&db.store, Reason::TooOld).await;
    node.reload(&db.store).await;
    assert!(node.routes("b.example"));
    assert_eq!(count(&db, "domain = ''").await, 1, "only the gap between ids that were seen");
});

on_every_database!(a_cleaned_log_is_still_followed, db => {
    for n in 0..100 {
        insert(&db, &format!("d{n}.example")).await;
    }
    let node = Node::new();
    node.load(&db.store).await;
    for n in 100..110 {
        insert(&db, &format!("d{n}.example")).await;
    }
    db.store.delete_events_below(100, 1_000).await.unwrap();
    node.follow(&db.store).await;
    assert!(node.routes("d109.example"));
    assert_eq!(count(&db, "domain = ''").await, 0);
});

on_every_database!(i11_a_log_that_lost_its_newest_events_is_noticed, db => {
    for n in 0..10 {
        insert(&db, &format!("d{n}.example")).await;
    }
    let mut node = Node::new();
    node.load(&db.store).await;
    db.execute("DELETE FROM domain_events WHERE id > 7").await;
    node.must_reload(&db.store, Reason::WentBackwards).await;
    node.reload(&db.store).await;
    db.execute("DELETE FROM domain_events").await;
    node.must_reload(&db.store, Reason::WentBackwards).await;
    node.reload(&db.store).await;
    assert_eq!(node.newest(), None);
});

on_every_database!(i11_ids_used_again_are_noticed, db => {
    for n in 0..10 {
        insert(&db, &format!("d{n}.example")).await;
    }
    let mut node = Node::new();
    node.load(&db.store).await;
    db.execute("DELETE FROM domain_events WHERE id > 7").await;
    enabled(&db, "new.example").await;
    events(&db, [(8, "new.example".into()), (9, "d0.example".into()), (10, "d9.example".into()),
        (11, "d1.example".into())]).await;
    node.must_reload(&db.store, Reason::WentBackwards).await;
    node.reload(&db.store).await;
    assert!(node.routes("new.example"));
});

on_every_database!(many_events_are_followed_page_by_page, db => {
    let node = Node::new();
    insert(&db, "first.example").await;
    node.load(&db.store).await;
    enabled(&db, "last.example").await;
    let domain = |id: i64| if id == 25_000 { "last.example".into() } else { format!("d{}.example", id % 50) };
    events(&db, (2..=25_000).map(|id| (id, domain(id)))).await;
    node.follow(&db.store).await;
    assert_eq!(node.newest(), Some(25_000));
    assert!(node.routes("last.example"));
    let fresh = Node::new();
    fresh.load(&db.store).await;
    assert_eq!(fresh.newest(), Some(25_000));
});

on_every_database!(a_hole_of_fifty_thousand_ids_is_settled, db => {
    insert(&db, "a.example").await;
    let node = Node::new();
    node.load(&db.store).await;
    enabled(&db, "b.example").await;
    events(&db, [(50_002, "b.example".into())]).await;
    node.follow(&db.store).await;
    assert!(node.routes("b.example"));
    assert_eq!(node.newest(), Some(50_002));
    assert_eq!(count(&db, "domain = ''").await, 50_000);
});

on_every_database!(a_forgotten_position_is_not_brought_back_by_a_late_batch, db => {
    insert(&db, "a.example").await;
    let node = Node::new();
    let mut late = Vec::new();
    let (routing, ignored) = (node.routing.clone(), Arc::default());
    let deliver = |batch| { late.push(batch); true };
    run(&db.store, routing, 1, ignored, MAX_AGE, deliver).await.unwrap();
    node.routing.forget_position();
    for batch in &late {
        while batch.apply(10) {}
    }
    assert!(node.routes("a.example"));
    assert_eq!(node.routing.position(), None);
});

on_every_database!(i6_only_a_few_batches_wait_and_a_load_without_a_taker_ends, db => {
    let rows: Vec<String> = (0..20_000).map(|n| format!("('d{n}.example', 'type1')")).collect();
    let insert = format!("INSERT INTO domain_settings (domain, host_type) VALUES {}", rows.join(","));
    db.execute(&insert).await;
    let node = Node::new();
    let waiting = Arc::new(std::sync::Mutex::new(Vec::new()));
    let taker = waiting.clone();
    let (routing, store) = (node.routing.clone(), db.store.clone());
    let load = tokio::spawn(async move {
        let deliver = move |batch| { taker.lock().unwrap().push(batch); true };
        run(&store, routing, 1, Arc::default(), MAX_AGE, deliver).await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(waiting.lock().unwrap().len(), BATCHES_WAITING);
    while !load.is_finished() {
        let batches = std::mem::take(&mut *waiting.lock().unwrap());
        for batch in batches {
            while batch.apply(1_000) {}
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(load.await.unwrap().unwrap(), Ended::With(Outcome::Loaded));

    let node = Node::new();
    let ended = run(&db.store, node.routing, 1, Arc::default(), MAX_AGE, |_| false).await;
    assert_eq!(ended.unwrap(), Ended::Abandoned);
});

// I3 with a real transaction in flight: what others commit behind it is applied at once, and the
// position waits.
on_every_server!(i3_an_open_transaction_holds_up_the_position_but_nobody_else, db => {
    insert(&db, "first.example").await;
    let config = domain_store::Config {
        query_timeout: Duration::from_millis(500),
        ..domain_store::Config::new(&db.url)
    };
    let impatient = domain_store::Store::open(&config).unwrap();
    let node = Node::new();
    node.load(&db.store).await;

    let mut open = db.session().await;
    for statement in [
        "BEGIN",
        "INSERT INTO domain_settings (domain, host_type) VALUES ('slow.example', 'type1')",
        "INSERT INTO domain_events (domain) VALUES ('slow.example')",
    ] {
        open.execute(statement).await;
    }
    insert(&db, "quick.example").await;
    node.try_check(&impatient).await.unwrap_err();
    assert!(node.routes("quick.example"), "the open transaction held it up");
    assert_eq!(node.newest(), Some(1), "the position passed an unsettled gap");

    let waiting = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        open.execute("COMMIT").await;
    });
    node.follow(&db.store).await;
    waiting.await.unwrap();
    assert!(node.routes("slow.example"));
    assert_eq!(node.newest(), Some(3));
    assert_eq!(count(&db, "domain = ''").await, 0);
});

/// I5 while a reload runs, with a reader that never stops looking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_nothing_flickers_while_a_reload_runs() {
    let db = TestDatabase::sqlite().await;
    let rows: Vec<String> = (0..5_000).map(|n| format!("('d{n}.example', 'type1')")).collect();
    db.execute(&format!(
        "INSERT INTO domain_settings (domain, host_type) VALUES {}",
        rows.join(",")
    ))
    .await;
    let mut node = Node::new();
    node.load(&db.store).await;
    let routing = node.routing.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut reads = 0;
        while stopped.try_recv().is_err() {
            for n in 0..5_000 {
                let domain = format!("d{n}.example");
                assert!(
                    routing.table().host_type(domain.as_bytes()).is_some(),
                    "{domain} flickered"
                );
                reads += 1;
            }
        }
        reads
    });
    for host_type in ["type2", "type1", "type2"] {
        db.execute(&format!(
            "UPDATE domain_settings SET host_type = '{host_type}' WHERE id % 2 = 0"
        ))
        .await;
        node.reload(&db.store).await;
    }
    stop.send(()).unwrap();
    assert!(reader.join().unwrap() > 0);
}
