//! What each reader and each change does, one after the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_table::{DeleteError, InsertError, Inserted, Name, Put, Table};

fn name(text: &str) -> Name {
    text.into()
}

fn table() -> Table<u32> {
    Table::new(
        [(name("s"), name("a")), (name("s"), name("b")), (name("t"), name("only static"))],
        [name("a"), name("b")],
    )
}

#[test]
fn of_a_repeated_static_domain_the_first_pair_counts() {
    let table = table();
    assert_eq!(table.host_type(b"s"), Some(&name("a")));
    assert_eq!(table.len(), 2);
    assert_eq!(table.statics().len(), 2);
    assert_eq!(table.domains_of(b"b"), Vec::<Name>::new());
}

#[test]
fn the_host_type_of_a_static_domain_need_not_be_allowed() {
    let table = table();
    assert_eq!(table.host_type(b"t"), Some(&name("only static")));
    assert!(!table.is_host_type_allowed(b"only static"));
    assert_eq!(table.writer().insert("d", b"only static", &1), Err(InsertError::UnknownHostType));
}

#[test]
fn insert_checks_host_type_then_static_then_the_present_host_type() {
    let table = table();
    assert_eq!(table.writer().insert("s", b"none", &1), Err(InsertError::UnknownHostType));
    assert_eq!(table.writer().insert("s", b"a", &1), Err(InsertError::Static));
    assert_eq!(table.writer().insert("d", b"a", &1), Ok(Inserted::New));
    assert_eq!(table.writer().insert("d", b"b", &2), Err(InsertError::BadInsert));
    assert_eq!(table.outdated(&1), []);
    assert_eq!(table.writer().insert("d", b"a", &2), Ok(Inserted::Refreshed));
    assert_eq!(table.outdated(&1), [(name("d"), &name("a"))]);
    assert_eq!(table.outdated(&2), []);
}

#[test]
fn put_replaces_another_host_type_but_never_a_static_domain() {
    let table = table();
    assert_eq!(table.writer().put("s", b"b", &1), Put::Static(name("a")));
    assert_eq!(table.writer().put("s", b"none", &1), Put::Static(name("a")));
    assert_eq!(table.writer().put("d", b"none", &1), Put::UnknownHostType { removed: None });
    assert_eq!(table.writer().put("d", b"a", &1), Put::Added);
    assert_eq!(table.writer().put("d", b"b", &2), Put::Replaced(name("a")));
    assert_eq!(table.writer().put("d", b"b", &3), Put::Refreshed);
    assert_eq!(table.domains_of(b"a"), [name("s")]);
    assert_eq!(table.domains_of(b"b"), [name("d")]);
    assert_eq!(table.len(), 3);
}

#[test]
fn a_domain_whose_host_type_is_now_an_unknown_one_routes_no_more() {
    let table = table();
    table.writer().put("d", b"a", &1);
    let removed = Some(name("a"));
    assert_eq!(table.writer().put("d", b"none", &1), Put::UnknownHostType { removed });
    assert_eq!(table.host_type(b"d"), None);
}

#[test]
fn delete_spares_statics_and_accepts_the_absent() {
    let table = table();
    table.writer().put("d", b"a", &1);
    assert_eq!(table.writer().delete(b"s"), Err(DeleteError::Static));
    assert_eq!(table.writer().delete(b"none"), Ok(None));
    assert_eq!(table.writer().delete(b"d"), Ok(Some(name("a"))));
    assert_eq!(table.len(), 2);
}

#[test]
fn who_cannot_wait_is_told_that_somebody_else_writes() {
    let table = table();
    let writer = table.writer();
    assert!(table.try_writer().is_none());
    drop(writer);
    assert_eq!(table.try_writer().unwrap().delete(b"none"), Ok(None));
}

#[test]
fn a_host_type_is_listed_while_domains_come_and_go() {
    let table = table();
    let names: Vec<Name> = (0..100).map(|n| name(&format!("d{n:02}"))).collect();
    for (domain, host_type) in names.iter().zip(["a", "b", "b", "b"].iter().cycle()) {
        table.writer().put(domain, host_type.as_bytes(), &1);
    }
    for (n, domain) in names.iter().enumerate().filter(|(n, _)| n % 4 == 0 && *n > 7) {
        assert_eq!(table.writer().delete(domain.as_bytes()), Ok(Some(name("a"))), "{n}");
    }
    let sorted = |mut domains: Vec<Name>| {
        domains.sort();
        domains
    };
    assert_eq!(sorted(table.domains_of(b"a")), [name("d00"), name("d04"), name("s")]);
    let of_b: Vec<Name> = (0..100).filter(|n| n % 4 != 0).map(|n| names[n].clone()).collect();
    assert_eq!(sorted(table.domains_of(b"b")), of_b);
    let counts = [(&name("a"), true, 3), (&name("b"), true, 75), (&name("only static"), false, 1)];
    assert_eq!(table.host_types(), counts);
}

#[test]
fn only_outdated_domains_are_swept() {
    let table = table();
    table.writer().put("old", b"a", &1);
    table.writer().put("new", b"a", &2);
    assert_eq!(table.writer().delete_outdated(b"new", &2), None);
    assert_eq!(table.writer().delete_outdated(b"s", &2), None);
    assert_eq!(table.writer().delete_outdated(b"old", &2), Some(name("a")));
    assert_eq!(table.dynamics(), [(name("new"), &name("a"))]);
}
