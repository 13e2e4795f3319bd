//! Imports of many domains, the same tests on every kind of database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use domain_store::{Config, ErrorKind, Filter, Insert, Outcome, Row, Status, Store};
use std::time::Duration;
use support::{all_events, duplicates, row, sessions_that_wait, until};
use test_database::{TestDatabase, on_every_database, on_every_server};

fn to_be(domain: &str, host_type: &str, enabled: bool) -> Row {
    Row { domain: domain.into(), host_type: host_type.into(), enabled: Some(enabled) }
}

/// Enabled rows of `type1`.
fn rows(domains: &[impl AsRef<str>]) -> Vec<Row> {
    domains.iter().map(|domain| to_be(domain.as_ref(), "type1", true)).collect()
}

async fn import(db: &TestDatabase, rows: &[Row]) -> Vec<Outcome> {
    db.store.import(rows, false).await.unwrap()
}

/// The domains of all events, in their order.
async fn log(db: &TestDatabase) -> Vec<String> {
    all_events(db).await.into_iter().map(|event| event.domain).collect()
}

/// A store with time for a machine that does other things, too.
fn patient(db: &TestDatabase) -> Store {
    let query_timeout = Duration::from_secs(60);
    Store::open(&Config { query_timeout, ..Config::new(&db.url) }).unwrap()
}

/// A database with a domain in each state, and rows that meet them.
async fn every_case(db: &TestDatabase) -> (Vec<Row>, Vec<Outcome>) {
    for domain in ["on.example", "off.example", "other.example", "marked.example", "stays.example"]
    {
        db.store.insert_domain(domain, "type1").await.unwrap();
    }
    db.store.set_status("off.example", false).await.unwrap();
    db.store.set_status("stays.example", false).await.unwrap();
    db.store.mark_deleting("marked.example", "type1").await.unwrap();
    db.execute("DELETE FROM domain_events").await;
    let (rows, outcomes): (Vec<_>, Vec<_>) = [
        (to_be("z.example", "type2", true), Outcome::Added),
        (to_be("off.example", "type1", true), Outcome::Changed),
        (to_be("other.example", "type2", false), Outcome::OtherHostType("type1".into())),
        (to_be("a.example", "type1", false), Outcome::Added),
        (to_be("marked.example", "type1", true), Outcome::Deleting),
        (to_be("on.example", "type1", false), Outcome::Changed),
        (to_be("stays.example", "type1", false), Outcome::Unchanged),
    ]
    .into_iter()
    .unzip();
    (rows, outcomes)
}

on_every_database!(every_row_has_its_outcome_and_every_change_its_event, db => {
    let (rows, outcomes) = every_case(&db).await;
    assert_eq!(import(&db, &rows).await, outcomes);
    // In the order of the rows.
    assert_eq!(log(&db).await, ["z.example", "off.example", "a.example", "on.example"]);
    for (domain, host_type, status) in [
        ("z.example", "type2", Status::Enabled),
        ("off.example", "type1", Status::Enabled),
        ("other.example", "type1", Status::Enabled),
        ("a.example", "type1", Status::Disabled),
        ("marked.example", "type1", Status::Deleting),
        ("on.example", "type1", Status::Disabled),
        ("stays.example", "type1", Status::Disabled),
    ] {
        assert_eq!(row(&db, domain).await, Some((host_type.into(), status)), "{domain}");
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 7);
});

on_every_database!(an_import_again_changes_nothing_and_writes_no_event, db => {
    let (rows, outcomes) = every_case(&db).await;
    import(&db, &rows).await;
    let again = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Added | Outcome::Changed => Outcome::Unchanged,
        other => other,
    });
    let again: Vec<_> = again.collect();
    for _ in 0..2 {
        assert_eq!(import(&db, &rows).await, again);
    }
    assert_eq!(log(&db).await.len(), 4);
    assert_eq!(db.store.import(&[], false).await.unwrap(), []);
});

on_every_database!(a_dry_run_tells_the_same_and_writes_nothing, db => {
    let (rows, outcomes) = every_case(&db).await;
    let before = db.store.list(&Filter::default(), "", 100).await.unwrap();
    for _ in 0..2 {
        assert_eq!(db.store.import(&rows, true).await.unwrap(), outcomes);
    }
    assert_eq!(db.store.list(&Filter::default(), "", 100).await.unwrap(), before);
    assert_eq!(log(&db).await, [""; 0]);
    assert_eq!(import(&db, &rows).await, outcomes);
});

on_every_database!(a_domain_that_comes_twice_is_refused, db => {
    let rows = rows(&["a.example", "b.example", "a.example"]);
    for dry_run in [true, false] {
        let error = db.store.import(&rows, dry_run).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryFailed);
        assert!(error.to_string().contains("\"a.example\""), "{error}");
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 0);
});

// MySQL's collations call some of these the same name.
on_every_database!(names_are_imported_as_they_are, db => {
    let names = [
        "É.example", "é.example", "E.example", "e.example", "e.example ", "ß", "ss", "\\N",
        "quote'.example", "\"double\".example", "back\\slash.example", "{brace},NULL.example",
        "percent%_.example", "tab\t.example", "line\n.example", "$1 ? :a", "日本.example",
        "\u{1F600}", "'; DROP TABLE domain_settings; --", "NULL",
    ];
    let mut rows = rows(&names);
    for (n, row) in rows.iter_mut().enumerate() {
        row.host_type = format!("typé'\\{n}");
    }
    assert_eq!(import(&db, &rows).await, vec![Outcome::Added; names.len()]);
    for (n, name) in names.iter().enumerate() {
        let expected = Some((format!("typé'\\{n}"), Status::Enabled));
        assert_eq!(row(&db, name).await, expected, "{name:?}");
    }
    assert_eq!(log(&db).await, names);
    assert_eq!(import(&db, &rows).await, vec![Outcome::Unchanged; names.len()]);
    let (first, others) = rows.split_first_mut().unwrap();
    first.enabled = Some(false);
    assert_eq!(import(&db, std::slice::from_ref(first)).await, [Outcome::Changed]);
    assert_eq!(import(&db, others).await, vec![Outcome::Unchanged; names.len() - 1]);

    let long = "\u{1F600}".repeat(250);
    assert_eq!(import(&db, &[to_be(&long, &long, true)]).await, [Outcome::Added]);
    assert_eq!(row(&db, &long).await, Some((long.clone(), Status::Enabled)));
});

// More than one statement of full length takes.
on_every_database!(many_rows_are_imported_at_once, db => {
    let store = patient(&db);
    let names: Vec<_> = (0..2_500).rev().map(|n| format!("d{n:04}.example")).collect();
    let mut rows = rows(&names);
    let outcomes = store.import(&rows[..1_000], false).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Added; 1_000]);
    for row in &mut rows {
        row.enabled = Some(false);
    }
    let outcomes = store.import(&rows, false).await.unwrap();
    assert_eq!(outcomes[..1_000], vec![Outcome::Changed; 1_000]);
    assert_eq!(outcomes[1_000..], vec![Outcome::Added; 1_500]);
    assert_eq!(log(&db).await, [&names[..1_000], &names].concat());
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings WHERE status = 0").await, 2_500);
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings WHERE status = 1").await, 0);
});

// On MySQL the lock of a name is a row of this table.
on_every_database!(administrators_stay_as_they_are, db => {
    db.execute(
        "INSERT INTO domain_admins (domain, pass_details) VALUES
         ('a.example', 'secret'), ('B.example', ''), ('other.example', 'import')",
    )
    .await;
    let rows = rows(&["a.example", "b.example", "c.example"]);
    assert_eq!(import(&db, &rows).await, vec![Outcome::Added; 3]);
    assert_eq!(import(&db, &rows).await, vec![Outcome::Unchanged; 3]);
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_admins").await, 3);
    let untouched = "SELECT COUNT(*) FROM domain_admins WHERE (domain, pass_details) IN
                     (('a.example', 'secret'), ('B.example', ''), ('other.example', 'import'))";
    assert_eq!(db.number(untouched).await, 3);
});

/// How many of these outcomes come with an event.
fn changes(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| [Outcome::Added, Outcome::Changed].contains(outcome)).count()
}

/// Two imports in opposite orders and two writers of single domains, at the same time: the number of
/// changes that they were told of.
async fn write_at_the_same_time(db: &TestDatabase, names: &[String]) -> usize {
    let backwards: Vec<_> = names.iter().rev().cloned().collect();
    let imports = [(names.to_vec(), true), (backwards, false)].map(|(names, is_first)| {
        let store = patient(db);
        tokio::spawn(async move {
            let mut changed = 0;
            for enabled in [is_first, true] {
                let mut rows = rows(&names);
                rows.iter_mut().for_each(|row| row.enabled = Some(enabled));
                changed += changes(&store.import(&rows, false).await.unwrap());
            }
            changed
        })
    });
    let writers = [1, 3].map(|step| {
        let (store, names) = (patient(db), names.to_vec());
        tokio::spawn(async move {
            let mut inserted = 0;
            for name in names.iter().step_by(step) {
                let insert = store.insert_domain(name, "type1").await.unwrap();
                inserted += usize::from(insert == Insert::Inserted);
            }
            inserted
        })
    });
    let mut changed = 0;
    for task in imports.into_iter().chain(writers) {
        changed += task.await.unwrap();
    }
    changed
}

on_every_database!(writers_at_the_same_time_make_one_row_for_each_domain, db => {
    let mut told = 0;
    for round in 0..5 {
        let names: Vec<_> = (0..60).map(|n| format!("d{n}-{round}.example")).collect();
        // One that is there, one that has an administrator.
        db.store.insert_domain(&names[7], "type1").await.unwrap();
        db.execute(&format!(
            "INSERT INTO domain_admins (domain, pass_details) VALUES ('{}', 'secret')", names[9]
        ))
        .await;
        told += 1 + write_at_the_same_time(&db, &names).await;
    }
    let domains = "SELECT COUNT(DISTINCT domain) FROM domain_settings";
    assert_eq!(db.number(domains).await, 300);
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 300);
    // Each of the imports ended with enabled rows.
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings WHERE status = 1").await, 300);
    assert_eq!(log(&db).await.len(), told, "an event for each change, and no other");
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_admins").await, 5);
});

/// What a writer does that takes a domain before anybody else.
fn insertion(db: &TestDatabase, domain: &str, host_type: &str) -> String {
    let claim = match db.kind {
        "mysql" => format!(
            "INSERT INTO domain_admins VALUES ('{domain}', '');
             DELETE FROM domain_admins WHERE domain = '{domain}';"
        ),
        _ => String::new(),
    };
    format!(
        "{claim} INSERT INTO domain_settings (domain, host_type) VALUES ('{domain}', '{host_type}');
         INSERT INTO domain_events (domain) VALUES ('{domain}')"
    )
}

/// Imports while another transaction has done this, and ends like that.
async fn import_meanwhile(
    db: &TestDatabase,
    statements: &str,
    end: &str,
    rows: Vec<Row>,
) -> Vec<Outcome> {
    let mut open = db.session().await;
    open.execute("BEGIN").await;
    open.execute(statements).await;
    let store = patient(db);
    let import = tokio::spawn(async move { store.import(&rows, false).await.unwrap() });
    until(async || db.number(sessions_that_wait(db)).await == 1).await;
    open.execute(end).await;
    import.await.unwrap()
}

on_every_server!(a_domain_that_another_adds_meanwhile_is_not_added_again, db => {
    let names = ["a.example", "b.example", "c.example"];
    let insert = insertion(&db, "b.example", "type1");
    let outcomes = import_meanwhile(&db, &insert, "COMMIT", rows(&names)).await;
    assert_eq!(outcomes, [Outcome::Added, Outcome::Unchanged, Outcome::Added]);
    assert_eq!(log(&db).await, ["b.example", "a.example", "c.example"]);

    let insert = insertion(&db, "d.example", "type1");
    let disabled = vec![to_be("d.example", "type1", false)];
    let outcomes = import_meanwhile(&db, &insert, "COMMIT", disabled).await;
    assert_eq!(outcomes, [Outcome::Changed]);

    let insert = insertion(&db, "e.example", "type2");
    let outcomes = import_meanwhile(&db, &insert, "COMMIT", rows(&["e.example"])).await;
    assert_eq!(outcomes, [Outcome::OtherHostType("type2".into())]);

    let insert = insertion(&db, "f.example", "type2");
    let outcomes = import_meanwhile(&db, &insert, "ROLLBACK", rows(&["f.example"])).await;
    assert_eq!(outcomes, [Outcome::Added]);
    assert_eq!(row(&db, "f.example").await, Some(("type1".into(), Status::Enabled)));
});

on_every_server!(what_others_do_meanwhile_to_a_domain_counts, db => {
    for (statement, outcome) in [
        ("UPDATE domain_settings SET status = 2", Outcome::Deleting),
        ("UPDATE domain_settings SET status = 1", Outcome::Unchanged),
        ("UPDATE domain_settings SET host_type = 'type2'", Outcome::OtherHostType("type2".into())),
        ("DELETE FROM domain_settings", Outcome::Added),
    ] {
        db.execute("DELETE FROM domain_settings").await;
        db.execute("DELETE FROM domain_events").await;
        db.execute("INSERT INTO domain_settings (domain, host_type, status)
                    VALUES ('a.example', 'type1', 0)").await;
        let statement = format!("{statement} WHERE domain = 'a.example'");
        let rows = rows(&["a.example", "b.example"]);
        let outcomes = import_meanwhile(&db, &statement, "COMMIT", rows).await;
        let events = changes(&outcomes);
        assert_eq!(outcomes, [outcome, Outcome::Added]);
        assert_eq!(log(&db).await.len(), events);
        assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings").await, 2);
    }
});

#[tokio::test]
async fn duplicates_change_together() {
    let db = duplicates(&[("type1", 1), ("type2", 1), ("type1", 2), ("type1", 0)]).await;
    let with_status = async |status: u8| {
        db.number(&format!("SELECT COUNT(*) FROM domain_settings WHERE status = {status}")).await
    };
    let disabled = [to_be("a.example", "type1", false)];
    assert_eq!(import(&db, &disabled).await, [Outcome::Changed], "two older rows were enabled");
    assert_eq!((with_status(0).await, with_status(2).await), (3, 1));
    assert_eq!(import(&db, &disabled).await, [Outcome::Unchanged]);
    assert_eq!(import(&db, &rows(&["a.example"])).await, [Outcome::Changed]);
    assert_eq!((with_status(1).await, with_status(2).await), (3, 1));
    assert_eq!(log(&db).await.len(), 2);
    let other = [to_be("a.example", "type2", false)];
    assert_eq!(import(&db, &other).await, [Outcome::OtherHostType("type1".into())]);

    let db = duplicates(&[("type1", 1), ("type1", 2)]).await;
    assert_eq!(import(&db, &[to_be("a.example", "type1", false)]).await, [Outcome::Deleting]);
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings WHERE status = 1").await, 1);
}

/// As CockroachDB always is: a transaction may have to be repeated, also when it commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serializable_imports_are_repeated() {
    let db = TestDatabase::empty_postgres().await;
    for statement in include_str!("../../../priv/schema/cockroachdb.sql").split(';') {
        db.execute(statement).await;
    }
    let name = db.url.rsplit_once('/').unwrap().1;
    db.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation = serializable"))
        .await;
    let names: Vec<_> = (0..60).map(|n| format!("d{n}.example")).collect();
    let told = write_at_the_same_time(&db, &names).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM domain_settings WHERE status = 1").await, 60);
    assert_eq!(log(&db).await.len(), told);
}
