//! Names that the character set of a database cannot hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_store::{Config, Store};
use test_database::{TestDatabase, on_every_database};

const NAMES: [&str; 4] = ["a.example", "é.example", "日本.example", "🦀.example"];

async fn unfit(store: &Store, names: &[&str]) -> Vec<String> {
    let mut unfit: Vec<String> =
        store.unfit(names).await.unwrap().into_iter().map(str::to_owned).collect();
    unfit.sort();
    unfit
}

on_every_database!(a_database_of_unicode_holds_every_name, db => {
    assert!(unfit(&db.store, &NAMES).await.is_empty());
});

#[tokio::test]
async fn postgres_holds_what_its_encoding_has() {
    let server = TestDatabase::empty_postgres().await;
    let long = "é".repeat(126);
    let names = [&NAMES[..], &[long.as_str()]].concat();
    for (encoding, expected) in [("LATIN1", &names[2..4]), ("SQL_ASCII", &names[4..])] {
        let url = format!("{}_{}", server.url, encoding.to_lowercase());
        let name = url.rsplit_once('/').unwrap().1;
        let create =
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LOCALE 'C'");
        server.execute(&create).await;
        let store = Store::open(&Config::new(&url)).unwrap();
        store.create_schema().await.unwrap();
        assert_eq!(unfit(&store, &names).await, expected, "{encoding}");
        // It says what the database does.
        for name in &names {
            let inserted = store.insert_domain(name, "type1").await;
            assert_eq!(inserted.is_err(), expected.contains(name), "{encoding} {name}");
        }
    }
}

#[tokio::test]
async fn mysql_holds_what_the_character_sets_of_its_columns_have() {
    for (character_set, expected) in [("latin1", &NAMES[2..]), ("utf8mb3", &NAMES[3..])] {
        let db = TestDatabase::mysql().await;
        for table in ["domain_settings", "domain_events", "domain_admins"] {
            let convert = format!("ALTER TABLE {table} CONVERT TO CHARACTER SET {character_set}");
            db.execute(&convert).await;
        }
        assert_eq!(unfit(&db.store, &NAMES).await, expected, "{character_set}");
        for name in NAMES {
            let inserted = db.store.insert_domain(name, "type1").await;
            assert_eq!(inserted.is_err(), expected.contains(&name), "{character_set} {name}");
        }
    }
}

/// Where the server is not strict, too, which would write `?`.
#[tokio::test]
async fn mysql_writes_no_other_name_than_the_one_it_was_given() {
    let db = TestDatabase::mysql().await;
    let convert = "ALTER TABLE domain_settings CONVERT TO CHARACTER SET latin1";
    db.execute(convert).await;
    db.execute("SET GLOBAL sql_mode = ''").await;
    let store = Store::open(&Config::new(&db.url)).unwrap();
    let inserted = store.insert_domain("日本.example", "type1").await;
    db.execute("SET GLOBAL sql_mode = DEFAULT").await;
    inserted.unwrap_err();
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 0);
}
