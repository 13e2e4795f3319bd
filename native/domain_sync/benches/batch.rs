//! Applying batches of changes, as the process that writes the table does. `make bench-native` runs
//! it.
#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use domain_sync::batch::{Batch, Change};
use domain_sync::driver::BATCH;
use domain_sync::ignored::Ignored;
use domain_sync::routing::Routing;
use domain_table::Table;
use std::sync::Arc;

fn changes() -> Vec<Change> {
    let put = |number: usize| Change::Put {
        domain: format!("d{number:011}.example.com").into(),
        host_type: "type1".into(),
    };
    (0..BATCH).map(put).collect()
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    let batch = |routing: Arc<Routing<u32>>| {
        let forgotten = routing.times_forgotten();
        Batch::new(routing, 1, Arc::<Ignored>::default(), forgotten, None).with_changes(changes())
    };
    let routing = || Arc::new(Routing::new(Table::new([], ["type1".into()])));
    group.bench_function("of new domains", |bencher| {
        bencher.iter_batched(
            || batch(routing()),
            |batch| batch.apply(BATCH),
            BatchSize::LargeInput,
        );
    });
    let full = routing();
    batch(full.clone()).apply(BATCH);
    group.bench_function("of domains that are there", |bencher| {
        bencher.iter_batched(
            || batch(full.clone()),
            |batch| batch.apply(BATCH),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, batches);
criterion_main!(benches);
