//! The table against DashMap, with names behind a pointer and with names in the map: what it was, and
//! what it could be. `make bench-native` runs it.
#![allow(missing_docs)]

use compact_str::CompactString;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use domain_table::Table;
use std::hint::black_box;
use std::sync::Arc;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn name(number: usize) -> String {
    format!("d{number:011}.example.com")
}

/// In an order that has nothing to do with the order of insertion.
fn keys(first: usize, size: usize) -> Vec<String> {
    let mut keys: Vec<usize> = (first..first + size).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut keys);
    keys.into_iter().take(100_000).map(name).collect()
}

fn table(size: usize) -> Table<u32> {
    let table = Table::new([], ["type1".into()]);
    for number in 0..size {
        table.writer().put(&name(number), b"type1", &1);
    }
    table
}

fn lookups(criterion: &mut Criterion) {
    for size in SIZES {
        let table = table(size);
        let shared: DashMap<Arc<[u8]>, [u32; 3]> =
            (0..size).map(|number| (name(number).into_bytes().into(), [1; 3])).collect();
        let inline: DashMap<CompactString, [u32; 2]> =
            (0..size).map(|number| (name(number).into(), [1; 2])).collect();
        for (what, keys) in [("hit", keys(0, size)), ("miss", keys(size, size))] {
            let mut group = criterion.benchmark_group(format!("{what} among {size}"));
            let mut keys = keys.iter().cycle();
            let mut next = || keys.next().map_or("", String::as_str);
            group.bench_function("table", |bencher| {
                bencher.iter(|| table.host_type(next().as_bytes()).is_some());
            });
            group.bench_function("DashMap, names by pointer", |bencher| {
                bencher.iter(|| shared.get(next().as_bytes()).map(|entry| entry[0]));
            });
            group.bench_function("DashMap, names inside", |bencher| {
                bencher.iter(|| inline.get(next()).map(|entry| entry[0]));
            });
        }
    }
}

fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("all of a table");
    group.sample_size(10);
    for size in SIZES {
        group.bench_function(BenchmarkId::new("put", size), |bencher| {
            bencher.iter_with_large_drop(|| table(size));
        });
        let full = table(size);
        group.bench_function(BenchmarkId::new("put again", size), |bencher| {
            bencher.iter(|| {
                for number in 0..size {
                    full.writer().put(&name(number), b"type1", &2);
                }
            });
        });
        group.bench_function(BenchmarkId::new("list", size), |bencher| {
            bencher.iter_with_large_drop(|| black_box(full.dynamics()).len());
        });
    }
}

criterion_group!(benches, lookups, changes);
criterion_main!(benches);
