//! What counting costs, and what reading the counts costs.

use std::sync::Arc;

use divan::{Bencher, black_box};
use weir_proxy::{
    admin::prometheus,
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

/// Of so many clusters. What is returned holds the sets.
fn filled(clusters: usize) -> (Registry, Vec<Arc<ClusterStats>>) {
    let registry = Registry::default();
    let scope = |index| Scope::cluster(&format!("outbound|80||service-{index}"));
    let sets = (0..clusters)
        .map(|index| registry.register(scope(index)))
        .collect();
    (registry, sets)
}

#[divan::bench(args = [1, 100, 1000])]
fn read(bencher: Bencher<'_, '_>, clusters: usize) {
    let (registry, _sets) = filled(clusters);
    bencher.bench_local(|| registry.read().len());
}

/// Reading, and writing the page that Prometheus scrapes.
#[divan::bench(args = [1, 100, 1000])]
fn render(bencher: Bencher<'_, '_>, clusters: usize) {
    let (registry, _sets) = filled(clusters);
    bencher.bench_local(|| prometheus::text(&registry.read(), |_, _| true).len());
}
