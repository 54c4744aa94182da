//! What counting costs, and what reading the counts costs.

use divan::{Bencher, black_box};
use weir_proxy::{
    cluster::ClusterStats,
    stats::{Counter, Histogram, Registry, Scope},
};

fn main() {
    divan::main();
}

#[divan::bench]
fn increment(bencher: Bencher<'_, '_>) {
    let counter = Counter::default();
    bencher.bench_local(|| black_box(&counter).inc());
}

#[divan::bench]
fn record(bencher: Bencher<'_, '_>) {
    let histogram = Histogram::default();
    bencher.bench_local(|| black_box(&histogram).record_us(black_box(1234)));
}

#[divan::bench(args = [1, 100, 1000])]
fn read(bencher: Bencher<'_, '_>, clusters: usize) {
    let registry = Registry::default();
    let scope = |index| Scope::cluster(&format!("outbound|80||service-{index}"));
    let held: Vec<_> = (0..clusters)
        .map(|index| registry.register::<ClusterStats>(scope(index)))
        .collect();
    bencher.bench_local(|| registry.read().len());
    drop(held);
}
