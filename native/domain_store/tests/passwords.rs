//! Passwords of administrators of domains, the same tests on every kind of database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use test_database::{TestDatabase, on_every_database};

async fn set(db: &TestDatabase, domain: &str, details: &str) -> bool {
    db.store.set_password(domain, details, false).await.unwrap()
}

async fn get(db: &TestDatabase, domain: &str) -> Option<String> {
    db.store.password(domain).await.unwrap()
}

on_every_database!(a_password_is_set_replaced_and_deleted, db => {
    db.store.insert_domain("a.example", "type1").await.unwrap();
    assert_eq!(get(&db, "a.example").await, None);
    assert!(set(&db, "a.example", "one").await);
    assert!(set(&db, "a.example", "two").await);
    assert_eq!(get(&db, "a.example").await.as_deref(), Some("two"));
    assert!(db.store.delete_password("a.example").await.unwrap());
    assert!(!db.store.delete_password("a.example").await.unwrap());
    assert_eq!(get(&db, "a.example").await, None);
});

on_every_database!(only_a_domain_that_is_there_or_static_gets_one, db => {
    assert!(!set(&db, "a.example", "one").await);
    db.store.insert_domain("a.example", "type1").await.unwrap();
    db.store.mark_deleting("a.example", "type1").await.unwrap();
    assert!(!set(&db, "a.example", "one").await);
    assert!(db.store.set_password("static.example", "one", true).await.unwrap());
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_admins").await, 1);
});

on_every_database!(the_password_goes_with_its_domain, db => {
    for domain in ["a.example", "b.example"] {
        db.store.insert_domain(domain, "type1").await.unwrap();
        assert!(set(&db, domain, "one").await);
    }
    db.store.mark_deleting("a.example", "type1").await.unwrap();
    assert!(get(&db, "a.example").await.is_some());
    assert!(db.store.delete_domain("a.example", "type1").await.unwrap());
    assert_eq!(get(&db, "a.example").await, None);
    assert!(get(&db, "b.example").await.is_some());
});

on_every_database!(names_are_compared_as_bytes, db => {
    for domain in ["e.example", "é.example"] {
        db.store.insert_domain(domain, "type1").await.unwrap();
    }
    assert!(set(&db, "e.example", "one").await);
    assert_eq!(get(&db, "é.example").await, None);
    assert!(!db.store.delete_password("é.example").await.unwrap());
    let second = db.store.set_password("é.example", "two", false).await;
    if db.kind == "mysql" {
        let text = second.unwrap_err().to_string();
        assert!(text.contains("only one of them can have a password"), "{text}");
    } else {
        assert!(second.unwrap());
    }
    assert_eq!(get(&db, "e.example").await.as_deref(), Some("one"));
});

#[tokio::test]
async fn the_password_stays_with_a_newer_row_of_its_domain() {
    let db = TestDatabase::mysql().await;
    db.store.insert_domain("a.example", "type1").await.unwrap();
    db.store.mark_deleting("a.example", "type1").await.unwrap();
    db.execute("INSERT INTO domain_settings (domain, host_type) VALUES ('a.example', 'type2')")
        .await;
    assert!(set(&db, "a.example", "one").await);
    assert!(db.store.delete_domain("a.example", "type1").await.unwrap());
    assert!(get(&db, "a.example").await.is_some());
}
