//! Lists by the bytes of the names, the same tests on every kind of database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use domain_store::{Config, Connections, Filter, Setting, Status, Store};
use support::duplicates;
use test_database::{TestDatabase, on_every_database};

/// A natural language sorts these otherwise, and MySQL's collations call some of them the same name.
const NAMES: [&str; 16] = [
    "Z",
    "a b",
    "a-b.example",
    "a.b.example",
    "a",
    "a ",
    "A",
    "a_b.example",
    "ab.example",
    "é.example",
    "e.example",
    "É.example",
    "z",
    "ß",
    "日本",
    "\u{1F600}",
];

fn sorted_by_bytes() -> Vec<&'static str> {
    let mut names = NAMES.to_vec();
    names.sort_unstable_by_key(|name| name.as_bytes());
    names
}

/// The names of a page of all.
async fn page(store: &Store, after: &str, limit: u32) -> Vec<String> {
    let rows = store.list(&Filter::default(), after, limit).await.unwrap();
    rows.into_iter().map(|row| row.domain).collect()
}

/// All that pages of this size give, one after the other.
async fn paged(store: &Store, filter: &Filter, limit: u32) -> Vec<Setting> {
    let mut all: Vec<Setting> = Vec::new();
    loop {
        let after = all.last().map_or(String::new(), |row| row.domain.clone());
        let page = store.list(filter, &after, limit).await.unwrap();
        assert!(page.len() <= limit as usize);
        let is_last = page.len() < limit as usize;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

async fn lists_by_bytes(store: &Store) {
    for name in NAMES {
        store.insert_domain(name, "type1").await.unwrap();
    }
    let sorted = sorted_by_bytes();
    assert_eq!(page(store, "", 100).await, sorted);
    assert_eq!(page(store, "", 3).await, sorted[..3]);
    for (n, name) in sorted.iter().enumerate() {
        assert_eq!(page(store, name, 100).await, sorted[n + 1..], "after {name:?}");
    }
    // Names that are not there.
    assert_eq!(page(store, "a-", 2).await, ["a-b.example", "a.b.example"]);
    assert_eq!(page(store, "a\u{10FFFF}", 2).await, ["e.example", "z"]);
    assert_eq!(page(store, "\u{10FFFF}", 2).await, [""; 0]);
    assert_eq!(page(store, "", 0).await, [""; 0]);
    for limit in [1, 2, 7, 16, 17] {
        let all = paged(store, &Filter::default(), limit).await;
        let names: Vec<_> = all.iter().map(|row| row.domain.as_str()).collect();
        assert_eq!(names, sorted, "by pages of {limit}");
    }
}

on_every_database!(domains_are_listed_by_bytes, db => {
    lists_by_bytes(&db.store).await;
});

#[tokio::test]
async fn a_database_that_sorts_by_a_natural_language_lists_by_bytes() {
    let db = TestDatabase::empty_postgres().await;
    let url = format!("{}_english", db.url);
    let name = url.rsplit_once('/').unwrap().1;
    db.execute(&format!(
        "CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
    ))
    .await;
    let store = Store::open(&Config::new(url)).unwrap();
    store.create_schema().await.unwrap();
    lists_by_bytes(&store).await;
}

#[tokio::test]
async fn a_column_that_sorts_by_a_natural_language_is_listed_by_bytes() {
    let db = TestDatabase::postgres().await;
    db.execute("ALTER TABLE domain_settings ALTER domain TYPE VARCHAR(250) COLLATE \"en-x-icu\"")
        .await;
    lists_by_bytes(&db.store).await;
}

#[tokio::test]
async fn columns_of_another_character_set_are_listed_by_the_bytes_of_utf8() {
    let db = TestDatabase::mysql().await;
    db.execute("ALTER TABLE domain_settings CONVERT TO CHARACTER SET latin1").await;
    // In latin1 "ÿ" is the greatest byte, and "€" one of the smallest beyond ASCII.
    for name in ["ÿ.example", "€.example", "z.example", "à.example"] {
        db.store.insert_domain(name, "typé").await.unwrap();
    }
    let filter = Filter { host_type: Some("typé".into()), status: None };
    for filter in [Filter::default(), filter] {
        let names: Vec<_> = paged(&db.store, &filter, 1).await;
        let names: Vec<_> = names.iter().map(|row| row.domain.as_str()).collect();
        assert_eq!(names, ["z.example", "à.example", "ÿ.example", "€.example"]);
    }
}

// As long as the columns allow: nothing of it may be left out of account.
on_every_database!(names_that_differ_at_their_end_are_sorted, db => {
    let long = "\u{1F600}".repeat(249);
    let names = ["\u{1F600}", "a", "\u{1F601}"].map(|end| format!("{long}{end}"));
    for name in &names {
        db.store.insert_domain(name, "type1").await.unwrap();
    }
    let sorted = [names[1].as_str(), &names[0], &names[2]];
    assert_eq!(page(&db.store, "", 100).await, sorted);
    assert_eq!(page(&db.store, sorted[1], 100).await, sorted[2..]);
});

on_every_database!(rows_are_counted_up_to_a_bound, db => {
    for n in 0..5 {
        db.store.insert_domain(&format!("d{n}.example"), "type1").await.unwrap();
    }
    db.store.set_status("d0.example", false).await.unwrap();
    for (most, count) in [(0, 0), (4, 4), (5, 5), (6, 5), (1_000_000, 5)] {
        assert_eq!(db.store.count(most).await.unwrap(), count);
    }
});

on_every_database!(a_list_can_be_of_one_host_type_and_status, db => {
    for n in 0..30 {
        let domain = format!("d{n:02}.example");
        db.store.insert_domain(&domain, &format!("type{}", n % 3)).await.unwrap();
        if n % 2 == 0 {
            db.store.set_status(&domain, false).await.unwrap();
        }
    }
    db.store.mark_deleting("d03.example", "type0").await.unwrap();
    let numbers = |rows: Vec<Setting>| -> Vec<u32> {
        rows.iter().map(|row| row.domain[1..3].parse().unwrap()).collect()
    };
    let type0 = || Some("type0".to_owned());
    for (host_type, status, expected) in [
        (type0(), None, vec![0, 3, 6, 9, 12, 15, 18, 21, 24, 27]),
        (type0(), Some(Status::Enabled), vec![9, 15, 21, 27]),
        (type0(), Some(Status::Disabled), vec![0, 6, 12, 18, 24]),
        (None, Some(Status::Deleting), vec![3]),
        (Some("TYPE0".into()), None, vec![]),
        (Some("type0 ".into()), None, vec![]),
    ] {
        let filter = Filter { host_type, status };
        for limit in [1, 2, 100] {
            assert_eq!(numbers(paged(&db.store, &filter, limit).await), expected, "{filter:?}");
        }
    }
    let filter = Filter { host_type: type0(), status: None };
    assert_eq!(numbers(db.store.list(&filter, "d09.example", 2).await.unwrap()), [12, 15]);
    let row = db.store.list(&filter, "d02.example", 1).await.unwrap().remove(0);
    assert_eq!((row.host_type.as_str(), row.status), ("type0", Status::Deleting));
});

#[tokio::test]
async fn of_duplicates_the_newest_is_listed_and_judged() {
    let db = duplicates(&[("type1", 1), ("type2", 0), ("type3", 1)]).await;
    db.execute(
        "INSERT INTO domain_settings (domain, host_type, status) VALUES
         ('A.example', 'type1', 1), ('b.example', 'type1', 1), ('b.example', 'type1', 1),
         ('b.example', 'type1', 1), ('c.example', 'type1', 1), ('c.example', 'type1', 0)",
    )
    .await;
    let ids = async |host_type: Option<&str>, status| {
        let filter = Filter { host_type: host_type.map(str::to_owned), status };
        let mut found = Vec::new();
        for limit in [1, 2, 3, 100] {
            let rows = paged(&db.store, &filter, limit).await;
            found.push(rows.iter().map(|row| row.id).collect::<Vec<_>>());
        }
        found.dedup();
        assert_eq!(found.len(), 1, "pages of every size give the same");
        found.remove(0)
    };
    assert_eq!(ids(None, None).await, [4, 3, 7, 9]);
    assert_eq!(ids(Some("type1"), None).await, [4, 7, 9]);
    assert_eq!(ids(Some("type2"), None).await, [0; 0]);
    assert_eq!(ids(Some("type3"), None).await, [3]);
    assert_eq!(ids(None, Some(Status::Enabled)).await, [4, 3, 7]);
    assert_eq!(ids(None, Some(Status::Disabled)).await, [9]);
    assert_eq!(ids(Some("type1"), Some(Status::Enabled)).await, [4, 7]);
}

// The collation calls the last two the same name as the first.
#[tokio::test]
async fn of_duplicates_all_but_the_newest_are_outdated() {
    let db = duplicates(&[("type1", 1), ("type2", 1)]).await;
    db.execute(
        "INSERT INTO domain_settings (domain, host_type, status) VALUES
         ('b.example', 'type1', 2), ('b.example', 'type1', 1), ('b.example', 'type1', 0),
         ('A.example', 'type1', 1), ('á.example', 'type1', 2)",
    )
    .await;
    let mut outdated: Vec<_> = db.store.outdated().await.unwrap().into_iter().collect();
    outdated.sort_unstable();
    assert_eq!(outdated, [1, 3, 4]);
}

#[tokio::test]
async fn names_that_are_not_utf8_are_left_out_and_do_not_end_a_list() {
    let db = TestDatabase::sqlite().await;
    db.execute(
        "INSERT INTO domain_settings (domain, host_type) VALUES ('a', 'type1'),
         (CAST(x'62fe' AS TEXT), 'type1'), (CAST(x'62ff' AS TEXT), 'type1'), ('c', 'type1'),
         ('d', 'type1'), (x'ff', 'type1')",
    )
    .await;
    for limit in [1, 2, 3, 6, 7] {
        let all = paged(&db.store, &Filter::default(), limit).await;
        let names: Vec<_> = all.iter().map(|row| row.domain.as_str()).collect();
        assert_eq!(names, ["a", "c", "d"], "by pages of {limit}");
    }
}

on_every_database!(a_store_tells_its_kind_and_its_connections, db => {
    assert_eq!(db.store.kind(), db.kind);
    let config = Config { max_connections: 7, ..Config::new(&db.url) };
    let store = Store::open(&config).unwrap();
    assert_eq!(store.connections(), Connections { open: 0, idle: 0, most: 7 });
    store.event_bounds().await.unwrap();
    let Connections { open, most, .. } = store.connections();
    assert_eq!((open, most), (1, 7));
    store.close().await;
    assert_eq!(store.connections().open, 0);
});
