//! The table against a plain model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_table::{DeleteError, InsertError, Inserted, Name, Pair, Put, Table};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn name(text: &str) -> Name {
    text.into()
}

#[derive(Debug, Clone)]
enum Op {
    Insert(&'static str, &'static str, u8),
    Put(&'static str, &'static str, u8),
    Delete(&'static str),
    Sweep(u8),
}

const STATICS: [(&str, &str); 4] = [("s1", "h1"), ("s2", "h9"), ("s1", "h2"), ("d1", "h2")];
const ALLOWED: [&str; 3] = ["h1", "h2", "h3"];

fn op() -> impl Strategy<Value = Op> {
    let domain = prop::sample::select(vec!["s1", "s2", "d1", "d2", "d3", "d4", "d5", "d6", "d7"]);
    let host_type = prop::sample::select(vec!["h1", "h2", "h3", "h9", "none"]);
    let source = 0..4u8;
    prop_oneof![
        4 => (domain.clone(), host_type.clone(), source.clone())
            .prop_map(|(d, h, s)| Op::Insert(d, h, s)),
        4 => (domain.clone(), host_type, source.clone()).prop_map(|(d, h, s)| Op::Put(d, h, s)),
        3 => domain.prop_map(Op::Delete),
        1 => source.prop_map(Op::Sweep),
    ]
}

/// Domain to host type and source (`None`: static), and which of them follow the database.
#[derive(Default)]
struct Model(BTreeMap<&'static str, (&'static str, Option<u8>)>, BTreeSet<&'static str>);

impl Model {
    fn new() -> Self {
        let mut model = Model::default();
        for (domain, host_type) in STATICS {
            model.0.entry(domain).or_insert((host_type, None));
        }
        model
    }

    fn insert(&mut self, d: &'static str, h: &'static str, s: u8) -> Result<Inserted, InsertError> {
        if !ALLOWED.contains(&h) {
            return Err(InsertError::UnknownHostType);
        }
        match self.0.get(d).copied() {
            Some((_, None)) => Err(InsertError::Static),
            Some((present, _)) if present != h => Err(InsertError::BadInsert),
            present => {
                self.0.insert(d, (h, Some(s)));
                self.1.remove(d);
                Ok(if present.is_some() { Inserted::Refreshed } else { Inserted::New })
            }
        }
    }

    fn put(&mut self, d: &'static str, h: &'static str, s: u8) -> Put {
        match self.0.get(d).copied() {
            Some((host_type, None)) => Put::Static(name(host_type)),
            _ if !ALLOWED.contains(&h) => {
                let removed = self.0.remove(d).map(|(host_type, _)| name(host_type));
                Put::UnknownHostType { removed }
            }
            present => {
                self.0.insert(d, (h, Some(s)));
                self.1.insert(d);
                match present {
                    None => Put::Added,
                    Some((host_type, _)) if host_type == h => Put::Refreshed,
                    Some((host_type, _)) => Put::Replaced(name(host_type)),
                }
            }
        }
    }

    fn delete(&mut self, d: &'static str) -> Result<Option<Name>, DeleteError> {
        match self.0.get(d).copied() {
            Some((_, None)) => Err(DeleteError::Static),
            Some((host_type, _)) => {
                self.0.remove(d);
                Ok(Some(name(host_type)))
            }
            None => Ok(None),
        }
    }

    fn pairs(&self, keep: impl Fn(Option<u8>) -> bool) -> Vec<Pair> {
        let kept = self.0.iter().filter(|(_, (_, source))| keep(*source));
        kept.map(|(domain, (host_type, _))| (name(domain), name(host_type))).collect()
    }
}

fn owned(list: Vec<(Name, &Name)>) -> Vec<Pair> {
    sorted(list.into_iter().map(|(domain, host_type)| (domain, host_type.clone())).collect())
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn new_table() -> Table<u8> {
    Table::new(STATICS.map(|(d, h)| (name(d), name(h))), ALLOWED.map(name))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_table_behaves_like_the_model(ops in prop::collection::vec(op(), 1..80)) {
        let (table, mut model) = (new_table(), Model::new());
        for op in ops {
            match op {
                Op::Insert(d, h, s) => prop_assert_eq!(
                    table.writer().insert(d, h.as_bytes(), &s), model.insert(d, h, s)),
                Op::Put(d, h, s) => prop_assert_eq!(
                    table.writer().put(d, h.as_bytes(), &s), model.put(d, h, s)),
                Op::Delete(d) => prop_assert_eq!(table.writer().delete(d.as_bytes()), model.delete(d)),
                Op::Sweep(s) => {
                    for (domain, host_type) in owned(table.outdated(&s)) {
                        prop_assert_eq!(table.writer().delete_outdated(domain.as_bytes(), &s), Some(host_type));
                    }
                    model.0.retain(|_, (_, source)| source.is_none() || *source == Some(s));
                }
            }
            prop_assert_eq!(table.len(), model.0.len());
            for (domain, (host_type, source)) in &model.0 {
                prop_assert_eq!(table.host_type(domain.as_bytes()), Some(&name(host_type)));
                prop_assert_eq!(table.is_static(domain.as_bytes()), source.is_none());
            }
            prop_assert_eq!(owned(table.statics()), model.pairs(|s| s.is_none()));
            prop_assert_eq!(owned(table.dynamics()), model.pairs(|s| s.is_some()));
            let mut followed = model.pairs(|s| s.is_some());
            followed.retain(|(d, _)| model.1.iter().any(|followed| d == followed));
            prop_assert_eq!(table.followed_len(), followed.len());
            prop_assert_eq!(owned(table.followed()), followed);
            for s in 0..4 {
                let outdated = model.pairs(|source| source.is_some_and(|source| source != s));
                prop_assert_eq!(owned(table.outdated(&s)), outdated);
            }
            for host_type in ["h1", "h2", "h3", "h9", "none"] {
                let of_it = model.0.iter().filter(|(_, (h, _))| *h == host_type);
                let expected: Vec<Name> = of_it.map(|(domain, _)| name(domain)).collect();
                prop_assert_eq!(sorted(table.domains_of(host_type.as_bytes())), expected);
            }
        }
    }
}
