//! What look-ups without locks keep back, to free it later, stays bounded. The only test of its
//! program, because it counts the memory of all threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cap::Cap;
use domain_table::Table;
use std::alloc::System;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const DOMAINS: usize = 50_000;

/// Names of both sorts, those that lie in the table and those behind a pointer.
fn name(number: usize) -> String {
    if number.is_multiple_of(2) {
        format!("{number}.example")
    } else {
        format!("{number:030}.example")
    }
}

fn load(table: &Table<u32>, source: u32) {
    for number in 0..DOMAINS {
        table.writer().put(&name(number), b"type1", &source);
    }
}

#[test]
fn loading_and_removing_again_and_again_takes_no_more_memory() {
    let table = Table::new([], ["type1".into()]);
    let done = AtomicBool::new(false);
    let (wake, sleep) = channel::<()>();
    std::thread::scope(|scope| {
        // As on the VM's schedulers: one looks up all the time, one has once, and is idle now.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for number in 0..DOMAINS {
                    std::hint::black_box(table.host_type(name(number).as_bytes()));
                }
            }
        });
        let table = &table;
        scope.spawn(move || (table.host_type(b"none"), sleep.recv()));
        let mut after = Vec::new();
        let mut loaded = 0;
        for cycle in 0..12 {
            load(table, cycle);
            loaded = ALLOCATOR.allocated();
            for number in 0..DOMAINS {
                table.writer().delete(name(number).as_bytes()).unwrap();
            }
            after.push(ALLOCATOR.allocated());
        }
        done.store(true, Ordering::Relaxed);
        drop(wake);
        // After a single one of them a look-up may have been held up half-way by the system.
        let least = after[6..].iter().min().unwrap();
        assert!(*least < loaded / 10, "{loaded} bytes with all domains, then without {after:?}");
    });
}
