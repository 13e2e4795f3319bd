//! The map of look-ups beside what could be in its place, each at its best: `make bench-native`.
//!
//! All hash by foldhash, with names inside. Million look-ups a second of random names, by so many
//! threads together: the best of several rounds; and bytes of memory for each domain.
#![allow(missing_docs)]

use cap::Cap;
use compact_str::CompactString;
use dashmap::DashMap;
use domain_table::Table;
use foldhash::fast::RandomState;
use std::alloc::System;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];
/// Of each thread in each round.
const LOOKUPS: usize = 1_000_000;
const ROUNDS: usize = 5;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn name(number: usize) -> String {
    format!("d{number:011}.example.com")
}

/// A map under measurement.
trait Map: Sync {
    fn build(size: usize) -> Self;
    fn has(&self, domain: &str) -> bool;
}

/// `scc::HashIndex` as we use it, and all that our table has besides.
impl Map for Table<u32> {
    fn build(size: usize) -> Self {
        let table = Table::new([], ["type1".into()]);
        for number in 0..size {
            table.writer().put(&name(number), b"type1", &1);
        }
        table
    }

    fn has(&self, domain: &str) -> bool {
        self.host_type(domain.as_bytes()).is_some()
    }
}

struct Sharded<const SHARDS: usize>(DashMap<CompactString, [u32; 2], RandomState>);

impl<const SHARDS: usize> Map for Sharded<SHARDS> {
    fn build(size: usize) -> Self {
        let map = DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS);
        for number in 0..size {
            map.insert(name(number).into(), [1; 2]);
        }
        Sharded(map)
    }

    fn has(&self, domain: &str) -> bool {
        self.0.get(domain).is_some_and(|entry| entry[0] == 1)
    }
}

struct Papaya(papaya::HashMap<CompactString, [u32; 2], RandomState>);

impl Map for Papaya {
    fn build(size: usize) -> Self {
        let map = papaya::HashMap::with_hasher(RandomState::default());
        for number in 0..size {
            map.pin().insert(name(number).into(), [1; 2]);
        }
        Papaya(map)
    }

    fn has(&self, domain: &str) -> bool {
        self.0.pin().get(domain).is_some_and(|entry| entry[0] == 1)
    }
}

fn measure<M: Map>(what: &str, sizes: &[usize], threads: &[usize]) {
    for &size in sizes {
        let before = ALLOCATOR.allocated();
        let map = M::build(size);
        let bytes = (ALLOCATOR.allocated() - before) / size;
        for (kind, first) in [("hit", 0), ("miss", size)] {
            let rates =
                threads.iter().map(|&count| format!("{:7.1}", rate(&map, first, size, count)));
            let rates: String = rates.collect();
            println!("{what:<24} {size:>8} {kind:<4} {rates}  {bytes:>5} B");
        }
    }
}

/// Million look-ups a second.
fn rate(map: &impl Map, first: usize, size: usize, threads: usize) -> f64 {
    let keys = |seed| -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..100_000).map(|_| name(first + random.usize(0..size))).collect()
    };
    let keys: Vec<Vec<String>> = (0..threads).map(|thread| keys(thread as u64)).collect();
    let rates = (0..ROUNDS).map(|_| {
        let start = Barrier::new(threads + 1);
        let seconds = std::thread::scope(|scope| {
            for keys in &keys {
                scope.spawn(|| {
                    start.wait();
                    for key in keys.iter().cycle().take(LOOKUPS) {
                        black_box(map.has(key));
                    }
                });
            }
            start.wait();
            Instant::now()
        });
        (LOOKUPS * threads) as f64 / seconds.elapsed().as_secs_f64() / 1e6
    });
    rates.fold(0.0, f64::max)
}

fn main() {
    let is_asked_for = |what| std::env::args().any(|argument| argument == what);
    // Cargo tests benchmarks, too.
    if !is_asked_for("--bench") {
        return;
    }
    // As Criterion's: only to see that it runs.
    let sizes = if is_asked_for("--test") { &SIZES[..1] } else { &SIZES[..] };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1, 2, 8, cores];
    threads.sort_unstable();
    threads.dedup();
    println!("{:<24} {:>8}      million look-ups a second on {threads:?} threads", "", "domains");
    measure::<Table<u32>>("scc::HashIndex (ours)", sizes, &threads);
    measure::<Sharded<256>>("DashMap, 256 shards", sizes, &threads);
    measure::<Sharded<4096>>("DashMap, 4,096 shards", sizes, &threads);
    measure::<Papaya>("papaya", sizes, &threads);
}
