//! Filling, refreshing and listing a whole table, by Criterion: `make bench-native`.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use domain_table::Table;
use std::hint::black_box;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn name(number: usize) -> String {
    format!("d{number:011}.example.com")
}

fn table(size: usize) -> Table<u32> {
    let table = Table::new([], ["type1".into()]);
    for number in 0..size {
        table.writer().put(&name(number), b"type1", &1);
    }
    table
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

criterion_group!(benches, changes);
criterion_main!(benches);
