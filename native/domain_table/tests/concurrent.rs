//! The table under readers, while it grows, shrinks and domains change their host types.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_table::{Name, Table};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const HOST_TYPES: [&str; 3] = ["h1", "h2", "h3"];
/// Domains that are there throughout. Some change their host types, the others keep the first one.
const STAYING: usize = 300;
const MOVING: usize = 200;
/// Domains that come and go, so that the map grows and shrinks by many times.
const PASSING: usize = 30_000;

fn staying(number: usize) -> String {
    format!("stays{number}.example")
}

/// I5 at its root: a reader never misses a domain that is there throughout, a list has it exactly
/// once, and a change is seen by every look-up that begins after it, also while readers move buckets
/// of the map along.
#[test]
fn readers_never_miss_a_domain_that_stays() {
    let table = Table::new([], HOST_TYPES.map(Name::from));
    for number in 0..STAYING {
        table.writer().put(&staying(number), b"h1", &1);
    }
    let done = AtomicBool::new(false);
    let lists = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| look_up(&table, &done));
        }
        let listing = scope.spawn(|| list(&table, &done, &lists));
        for cycle in 0..6 {
            for number in 0..PASSING {
                table.writer().put(&format!("passes{number}"), b"h2", &1);
                move_one(&table, number + cycle);
            }
            for number in 0..PASSING {
                table.writer().delete(format!("passes{number}").as_bytes()).unwrap();
                move_one(&table, number + cycle);
            }
        }
        // A list more, on a machine that was too busy for it.
        let before = lists.load(Ordering::Relaxed);
        while lists.load(Ordering::Relaxed) == before && !listing.is_finished() {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(table.len(), STAYING);
}

fn move_one(table: &Table<u32>, number: usize) {
    let domain = staying(number % MOVING);
    let host_type = HOST_TYPES[number / MOVING % HOST_TYPES.len()];
    table.writer().put(&domain, host_type.as_bytes(), &1);
    assert_eq!(table.host_type(domain.as_bytes()), Some(&host_type.into()));
}

fn look_up(table: &Table<u32>, done: &AtomicBool) {
    let domains: Vec<String> = (0..STAYING).map(staying).collect();
    while !done.load(Ordering::Relaxed) {
        for (number, domain) in domains.iter().enumerate() {
            let host_type = table.host_type(domain.as_bytes());
            assert!(host_type.is_some(), "{domain} is missing");
            assert!(number < MOVING || host_type == Some(&"h1".into()));
        }
    }
}

fn list(table: &Table<u32>, done: &AtomicBool, lists: &AtomicUsize) {
    while !done.load(Ordering::Relaxed) {
        let mut found: HashMap<Name, usize> = HashMap::new();
        for (domain, _) in table.dynamics() {
            *found.entry(domain).or_default() += 1;
        }
        let of_first = table.domains_of(b"h1");
        for number in 0..STAYING {
            let domain = Name::from(staying(number));
            assert_eq!(found.get(&domain), Some(&1), "{domain} in the list of all");
            let count = of_first.iter().filter(|listed| **listed == domain).count();
            assert!(number < MOVING || count == 1, "{domain} in the list of its host type");
        }
        lists.fetch_add(1, Ordering::Relaxed);
    }
}
