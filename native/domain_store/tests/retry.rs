//! What the database asks to repeat (SQLSTATE 40001) is repeated: by PostgreSQL, which is made to ask for
//! it, as CockroachDB does at any time.
#![allow(clippy::unwrap_used)]

use domain_store::{Outcome, Row};
use test_database::TestDatabase;

/// `busy()` fails four times, then it does not six times, which is enough for any operation, and so on. A
/// sequence counts, because no transaction takes that back.
const BUSY: &str = "CREATE SEQUENCE tries;
    CREATE FUNCTION busy() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') % 10 < 4 THEN
            RAISE 'restart transaction' USING ERRCODE = '40001';
        END IF;
        RETURN true;
    END $$;
    CREATE FUNCTION busy_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM busy();
        RETURN NULL;
    END $$;";

/// Every write fails at first, as it is made or only as it is committed.
async fn busy_for_writers(when: &str) -> TestDatabase {
    let db = TestDatabase::postgres().await;
    db.execute(BUSY).await;
    for table in ["domain_settings", "domain_events", "domain_admins"] {
        let trigger = match when {
            "made" => format!(
                "CREATE TRIGGER busy AFTER INSERT OR UPDATE OR DELETE ON {table} \
                 FOR EACH STATEMENT EXECUTE FUNCTION busy_trigger()"
            ),
            _ => format!(
                "CREATE CONSTRAINT TRIGGER busy AFTER INSERT OR UPDATE OR DELETE ON {table} \
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION busy_trigger()"
            ),
        };
        db.execute(&trigger).await;
    }
    db
}

#[tokio::test]
async fn writes_are_repeated() {
    for when in ["made", "committed"] {
        let db = busy_for_writers(when).await;
        let (store, domain, host_type) = (&db.store, "a.example", "type1");
        store.insert_domain(domain, host_type).await.unwrap();
        store.set_status(domain, false).await.unwrap();
        assert!(store.set_password(domain, "details", false).await.unwrap());
        assert!(store.set_password(domain, "others", false).await.unwrap());
        assert!(store.delete_password(domain).await.unwrap());
        let row = Row { domain: "b.example".into(), host_type: "type1".into(), enabled: None };
        assert_eq!(store.import(&[row], false).await.unwrap(), [Outcome::Added]);
        store.mark_deleting(domain, host_type).await.unwrap();
        assert!(store.delete_domain(domain, host_type).await.unwrap());
        let (oldest, newest) = store.event_bounds().await.unwrap().unwrap();
        assert_eq!(store.settle_gaps(&[newest + 1]).await.unwrap(), 1);
        assert!(store.delete_events_below(oldest + 1, 10).await.unwrap() == 1);
        assert_eq!(db.number("SELECT count(*) FROM domain_settings").await, 1);
        assert!(db.number("SELECT last_value FROM tries").await > 10, "it was busy");
    }
}

#[tokio::test]
async fn reads_are_repeated() {
    let db = TestDatabase::postgres().await;
    db.store.insert_domain("a.example", "type1").await.unwrap();
    db.execute(BUSY).await;
    for table in ["domain_settings", "domain_events", "domain_admins"] {
        // The index of a list is looked for in the name of the table.
        db.execute(&format!(
            "ALTER TABLE {table} RENAME TO real_{table};
             CREATE VIEW {table} AS SELECT * FROM real_{table} WHERE busy()"
        ))
        .await;
    }
    db.execute("INSERT INTO real_domain_admins VALUES ('a.example', 'details')").await;
    let (store, domain) = (&db.store, "a.example");
    assert_eq!(store.event_bounds().await.unwrap(), Some((1, 1)));
    assert_eq!(store.events(1, 10, 10).await.unwrap().len(), 1);
    assert_eq!(store.settings(&[domain.to_owned()]).await.unwrap().len(), 1);
    assert!(store.select_domain(domain).await.unwrap().is_some());
    assert_eq!(store.page(None, 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.count(10).await.unwrap(), 1);
    assert_eq!(store.list(&Default::default(), "", 10).await.unwrap().len(), 1);
    assert_eq!(store.password(domain).await.unwrap().unwrap(), "details");
}
