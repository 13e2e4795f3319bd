//! Names below domains, against a map of names that are really stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_table::{Name, Pattern, RegisterError, Subdomains, Table};
use proptest::prelude::*;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

type Table8 = Table<u8>;

fn table(domains: &[(&str, &str)]) -> Table8 {
    let table = Table::new([("static".into(), "h1".into())], ["h1".into(), "h2".into()]);
    for (domain, host_type) in domains {
        table.writer().insert(domain, host_type.as_bytes(), &0).unwrap();
    }
    table
}

fn prefix(text: &str) -> Pattern {
    Pattern::Prefix(text.into())
}

fn fqdn(text: &str) -> Pattern {
    Pattern::Fqdn(text.into())
}

fn with(table: &Table8, patterns: &[(&str, Pattern)]) -> Subdomains<usize> {
    let mut subdomains = Subdomains::default();
    for (handler, (host_type, pattern)) in patterns.iter().enumerate() {
        let pattern = pattern.clone();
        subdomains.register(Some(table), (*host_type).into(), pattern, handler).unwrap();
    }
    subdomains
}

/// What makes a name: host type, pattern, parent, handler.
type Found = (String, Pattern, Option<String>, usize);

fn find(subdomains: &Subdomains<usize>, table: &Table8, name: &str) -> Option<Found> {
    let found = subdomains.find(Some(table), name.as_bytes());
    let host_type = subdomains.host_type(Some(table), name.as_bytes());
    assert_eq!(found.as_ref().map(|found| found.host_type), host_type);
    found.map(|found| {
        assert_eq!(found.name, name);
        let parent = found.parent.map(|parent| parent.to_string());
        (found.host_type.to_string(), found.pattern, parent, *found.handler)
    })
}

#[test]
fn a_prefix_makes_a_name_for_each_domain_of_its_host_type() {
    let table = table(&[("a", "h1"), ("b", "h2")]);
    let subdomains = with(&table, &[("h1", prefix("muc."))]);
    let below = |domain: &str| Some(("h1".into(), prefix("muc."), Some(domain.into()), 0));
    assert_eq!(find(&subdomains, &table, "muc.a"), below("a"));
    assert_eq!(find(&subdomains, &table, "muc.static"), below("static"));
    for absent in ["muc.b", "muc.", "muc.c", "a", "", "xmuc.a", "muc.muc.a"] {
        assert_eq!(find(&subdomains, &table, absent), None, "{absent}");
    }
    assert!(subdomains.find(Some(&table), b"muc.\xff").is_none());
    assert!(subdomains.find(None::<&Table8>, b"muc.a").is_none());
    table.writer().delete(b"a").unwrap();
    assert_eq!(find(&subdomains, &table, "muc.a"), None);
}

#[test]
fn a_name_that_was_there_keeps_its_right_against_a_whole_name() {
    let table = table(&[("a", "h1")]);
    let mut subdomains = with(&table, &[("h1", prefix("muc."))]);
    let taken = subdomains.register(Some(&table), "h2".into(), fqdn("muc.a"), 1);
    assert_eq!(taken, Err(RegisterError::SubdomainExists));
    let again = subdomains.register(Some(&table), "h2".into(), fqdn("muc.a"), 1);
    assert_eq!(again, Err(RegisterError::AlreadyRegistered));
    assert_eq!(find(&subdomains, &table, "muc.a").unwrap().0, "h1");
    table.writer().delete(b"a").unwrap();
    assert_eq!(find(&subdomains, &table, "muc.a"), None);
    assert_eq!(subdomains.unregister(b"h2", &fqdn("muc.a")), None);
    assert_eq!(subdomains.register(Some(&table), "h2".into(), fqdn("muc.a"), 2), Ok(()));
    table.writer().insert("a", b"h1", &0).unwrap();
    assert_eq!(find(&subdomains, &table, "muc.a"), Some(("h2".into(), fqdn("muc.a"), None, 2)));
    assert_eq!(subdomains.of_domain(&table, b"a"), []);
    assert_eq!(subdomains.fqdns().len(), 1);
    assert_eq!(subdomains.unregister(b"h2", &fqdn("muc.a")), Some(2));
    assert_eq!(find(&subdomains, &table, "muc.a").unwrap().0, "h1");
}

#[test]
fn of_two_prefixes_the_longer_wins_in_whatever_order_they_come() {
    let table = table(&[("x.a", "h1"), ("a", "h2")]);
    for order in [
        [("h1", prefix("m.")), ("h2", prefix("m.x."))],
        [("h2", prefix("m.x.")), ("h1", prefix("m."))],
    ] {
        let mut subdomains = with(&table, &order);
        assert_eq!(find(&subdomains, &table, "m.x.a").unwrap().0, "h2");
        assert!(subdomains.collides(&table, b"h1", b"x.a"));
        assert!(subdomains.collides(&table, b"h2", b"a"));
        assert_eq!(subdomains.colliding(&table, b"h1", b"m."), ["x.a"]);
        assert_eq!(subdomains.colliding(&table, b"h2", b"m.x."), ["a"]);
        assert_eq!(subdomains.of_domain(&table, b"x.a"), []);
        assert_eq!(subdomains.of_domain(&table, b"a").len(), 1);
        subdomains.unregister(b"h2", &prefix("m.x.")).unwrap();
        assert_eq!(find(&subdomains, &table, "m.x.a").unwrap().0, "h1");
        assert!(!subdomains.collides(&table, b"h1", b"x.a"));
    }
}

#[test]
fn names_that_are_domains_are_noticed_whichever_comes_second() {
    let table = table(&[("muc.a", "h2"), ("a", "h1"), ("b", "h1")]);
    let subdomains = with(&table, &[("h1", prefix("muc.")), ("h1", fqdn("whole"))]);
    assert_eq!(subdomains.colliding(&table, b"h1", b"muc."), ["a"]);
    assert!(subdomains.collides(&table, b"h1", b"a"), "below it there is a domain");
    assert!(subdomains.collides(&table, b"h2", b"muc.a"), "it is a subdomain");
    assert!(!subdomains.collides(&table, b"h1", b"b"));
    assert!(subdomains.collides(&table, b"h2", b"whole"));
    let made = subdomains.made(Some(&table), b"h1", b"a");
    assert!(made[0].is_domain && !made[0].is_contested);
    assert_eq!(subdomains.made(Some(&table), b"h2", b"a"), []);
    assert_eq!(subdomains.made(Some(&table), b"\xff", b"a"), []);
}

/// A domain that begins like a prefix comes when the prefix is there; then the one that makes its name.
#[test]
fn a_domain_is_remembered_that_begins_like_a_prefix() {
    let table = table(&[]);
    let subdomains = with(&table, &[("h1", prefix("muc."))]);
    assert_eq!(subdomains.colliding(&table, b"h1", b"muc."), [""; 0]);
    table.writer().insert("muc.a", b"h2", &0).unwrap();
    assert!(!subdomains.collides(&table, b"h2", b"muc.a"));
    table.writer().insert("a", b"h1", &0).unwrap();
    assert!(subdomains.collides(&table, b"h1", b"a"));
    // Also by another table that has it from the start.
    let other = Table8::new([("muc.b".into(), "h2".into())], ["h1".into()]);
    let subdomains = with(&other, &[("h1", prefix("muc."))]);
    subdomains.look_through(&other);
    other.writer().insert("b", b"h1", &0).unwrap();
    assert!(subdomains.collides(&other, b"h1", b"b"));
}

#[derive(Debug, Clone)]
enum Op {
    Insert(&'static str, &'static str),
    Delete(&'static str),
    Register(&'static str, Pattern),
    Unregister(&'static str, Pattern),
}

const DOMAINS: [&str; 6] = ["a", "b", "c", "x.a", "x.b", "m.x.c"];
const PREFIXES: [&str; 4] = ["m.", "m.x.", "p.", "x."];

fn op() -> impl Strategy<Value = Op> {
    let domain = || prop::sample::select(&DOMAINS[..]);
    let host_type = || prop::sample::select(&["h1", "h2"][..]);
    let pattern = || {
        prop_oneof![
            3 => prop::sample::select(&PREFIXES[..]).prop_map(prefix),
            1 => prop::sample::select(&["m.a", "p.b", "w", "m.x.a"][..]).prop_map(fqdn),
        ]
    };
    prop_oneof![
        3 => (domain(), host_type()).prop_map(|(domain, it)| Op::Insert(domain, it)),
        2 => domain().prop_map(Op::Delete),
        3 => (host_type(), pattern()).prop_map(|(it, pattern)| Op::Register(it, pattern)),
        1 => (host_type(), pattern()).prop_map(|(it, pattern)| Op::Unregister(it, pattern)),
    ]
}

/// Everything stored: domains, patterns with handlers, whole names that hold.
#[derive(Default)]
struct Model {
    domains: BTreeMap<String, String>,
    prefixes: BTreeMap<(String, String), usize>,
    fqdns: BTreeMap<(String, String), (usize, bool)>,
}

impl Model {
    /// All names, and all that make each, who has the right first.
    fn names(&self) -> BTreeMap<String, Vec<Found>> {
        let mut names: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for ((name, host_type), (handler, holds)) in &self.fqdns {
            if *holds {
                let found = (host_type.clone(), fqdn(name), None, *handler);
                names.entry(name.clone()).or_default().push(found);
            }
        }
        let mut prefixes: Vec<_> = self.prefixes.iter().collect();
        prefixes.sort_by_key(|((text, _), _)| std::cmp::Reverse(text.len()));
        for ((text, host_type), handler) in prefixes {
            for domain in self.domains.iter().filter(|it| it.1 == host_type).map(|it| it.0) {
                let found = (host_type.clone(), prefix(text), Some(domain.clone()), *handler);
                names.entry(format!("{text}{domain}")).or_default().push(found);
            }
        }
        names
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_history_leaves_what_a_map_of_stored_names_has(ops in prop::collection::vec(op(), 1..40)) {
        let table = Table8::new([], ["h1".into(), "h2".into()]);
        let (mut subdomains, mut model) = (Subdomains::default(), Model::default());
        for (handler, op) in ops.into_iter().enumerate() {
            match op {
                Op::Insert(domain, host_type) => {
                    if table.writer().insert(domain, host_type.as_bytes(), &0).is_ok() {
                        model.domains.insert(domain.into(), host_type.into());
                        let names = model.names();
                        let below = |text: &str| format!("{text}{domain}");
                        let of_host_type = model.prefixes.keys().filter(|it| it.1 == host_type);
                        let mut made = of_host_type.map(|(text, _)| below(text));
                        let collides = names.contains_key(domain) || made.any(|name| {
                            names[&name].len() > 1 || model.domains.contains_key(&name)
                        });
                        let said = subdomains.collides(&table, host_type.as_bytes(), domain.as_bytes());
                        prop_assert_eq!(said, collides, "{} {}", domain, host_type);
                    }
                }
                Op::Delete(domain) => {
                    table.writer().delete(domain.as_bytes()).unwrap();
                    model.domains.remove(domain);
                }
                Op::Register(host_type, pattern) => {
                    let names = model.names();
                    let registered = subdomains.register(
                        Some(&table), host_type.into(), pattern.clone(), handler);
                    let expected = match &pattern {
                        Pattern::Prefix(text) => {
                            let key = (text.to_string(), host_type.to_owned());
                            let is_new = !model.prefixes.contains_key(&key);
                            model.prefixes.entry(key).or_insert(handler);
                            if is_new { Ok(()) } else { Err(RegisterError::AlreadyRegistered) }
                        }
                        Pattern::Fqdn(name) => {
                            let key = (name.to_string(), host_type.to_owned());
                            let is_free = !names.contains_key(&**name);
                            match model.fqdns.entry(key) {
                                Entry::Occupied(_) => Err(RegisterError::AlreadyRegistered),
                                Entry::Vacant(entry) => {
                                    entry.insert((handler, is_free));
                                    if is_free { Ok(()) } else { Err(RegisterError::SubdomainExists) }
                                }
                            }
                        }
                    };
                    prop_assert_eq!(registered, expected);
                    if let (Pattern::Prefix(text), Ok(())) = (&pattern, registered) {
                        let names = model.names();
                        let of_host_type = model.domains.iter().filter(|it| it.1 == host_type);
                        let colliding: Vec<Name> = of_host_type.map(|it| it.0).filter(|domain| {
                            let name = format!("{text}{domain}");
                            names[&name].len() > 1 || model.domains.contains_key(&name)
                        }).map(Name::from).collect();
                        let said = subdomains.colliding(&table, host_type.as_bytes(), text.as_bytes());
                        // For other prefixes there may be more to say.
                        let said: BTreeSet<Name> = said.into_iter().collect();
                        for domain in colliding {
                            prop_assert!(said.contains(&domain), "{} {}", text, domain);
                        }
                    }
                }
                Op::Unregister(host_type, pattern) => {
                    let handler = subdomains.unregister(host_type.as_bytes(), &pattern);
                    let expected = match &pattern {
                        Pattern::Prefix(text) => {
                            model.prefixes.remove(&(text.to_string(), host_type.to_owned()))
                        }
                        Pattern::Fqdn(name) => {
                            let removed = model.fqdns.remove(&(name.to_string(), host_type.to_owned()));
                            removed.filter(|it| it.1).map(|it| it.0)
                        }
                    };
                    prop_assert_eq!(handler, expected);
                }
            }
            let names = model.names();
            for (name, makers) in &names {
                prop_assert_eq!(find(&subdomains, &table, name), Some(makers[0].clone()));
            }
            let asked = DOMAINS.iter().flat_map(|domain| {
                PREFIXES.iter().map(move |text| format!("{text}{domain}"))
            });
            for name in asked.filter(|name| !names.contains_key(name)) {
                prop_assert_eq!(find(&subdomains, &table, &name), None);
            }
            for domain in DOMAINS {
                let said: BTreeSet<String> = subdomains
                    .of_domain(&table, domain.as_bytes())
                    .into_iter()
                    .map(|found| found.name.to_string())
                    .collect();
                let below = names.iter().filter(|(_, it)| it[0].2.as_deref() == Some(domain));
                prop_assert_eq!(said, below.map(|it| it.0.clone()).collect::<BTreeSet<_>>());
            }
        }
    }
}
