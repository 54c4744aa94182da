//! Statistics: plain integers in each worker's shard, summed when read.
//!
//! A *set* is a struct of counters, gauges and histograms, declared once with [`stat_set!`] beside
//! the component it belongs to. Every worker makes its own set and registers it under a *scope*
//! (`cluster.outbound|80||web`); [`Registry::read`] adds up the sets of a scope. Only the worker
//! that made a set writes to it, so an increment is a load and a store, never a locked operation.

mod histogram;
mod registry;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub use histogram::{BUCKETS_MS, Histogram, HistogramReading};
pub use registry::{Reading, Registry, Scope, ScopeReading, Value, Within};

/// Only ever grows. Written by one thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Goes up and down. Written by one thread.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// One more on a gauge of a set while it lives, so that it is taken off whatever ends its owner.
pub struct Held<S> {
    set: Arc<S>,
    gauge: fn(&S) -> &Gauge,
}

/// Responses by status code and class: `<name>_2xx` and `<name>_200`.
#[derive(Debug, Default)]
pub struct StatusCounters {
    classes: ClassCounters,
    codes: std::sync::OnceLock<Box<[Counter]>>,
}

/// Responses by status class: `<name>_2xx`.
#[derive(Debug, Default)]
pub struct ClassCounters([Counter; 5]);

/// Counters by a second part of their name, from a set that is known: `<name>.TLSv1.3`. For what is
/// rare.
#[derive(Debug, Default)]
pub struct NamedCounters(Mutex<BTreeMap<String, u64>>);

/// Something a stat set holds.
pub trait Stat {
    /// Calls `visit` with the name and value of each stat in it.
    fn visit(&self, name: &'static str, help: &'static str, visit: &mut dyn FnMut(Value));
}

/// A struct of stats, made by [`stat_set!`].
pub trait StatSet: Send + Sync {
    /// Calls `visit` with every stat of the set.
    fn visit(&self, visit: &mut dyn FnMut(Value));
}

/// Declares a struct of stats. The doc line of each field is its help text: what it counts, and
/// where it is not plain, what a rise means.
#[macro_export]
macro_rules! stat_set {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $help:literal])+ $field:ident: $kind:ident,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name {
            $($(#[doc = $help])+ pub $field: $crate::stats::$kind,)*
        }

        impl $crate::stats::StatSet for $name {
            fn visit(&self, visit: &mut dyn FnMut($crate::stats::Value)) {
                $($crate::stats::Stat::visit(
                    &self.$field,
                    stringify!($field),
                    concat!($($help),+),
                    visit,
                );)*
            }
        }
    };
}

// === impl Counter ===

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds one, from any of several threads: a locked operation, for what is rare.
    pub fn inc_shared(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stat for Counter {
    fn visit(&self, name: &'static str, help: &'static str, visit: &mut dyn FnMut(Value)) {
        visit(Value {
            name: name.into(),
            help,
            label: None,
            reading: Reading::Counter(self.get()),
        });
    }
}

// === impl Gauge ===

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add_signed(n),
            Ordering::Relaxed,
        );
    }

    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value.cast_unsigned(), Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed).cast_signed()
    }
}

impl Stat for Gauge {
    fn visit(&self, name: &'static str, help: &'static str, visit: &mut dyn FnMut(Value)) {
        visit(Value {
            name: name.into(),
            help,
            label: None,
            reading: Reading::Gauge(self.get()),
        });
    }
}

// === impl Held ===

impl<S> Held<S> {
    /// Adds one until it is dropped.
    #[must_use]
    pub fn new(set: &Arc<S>, gauge: fn(&S) -> &Gauge) -> Self {
        gauge(set).inc();
        let set = Arc::clone(set);
        Self { set, gauge }
    }
}

impl<S> Drop for Held<S> {
    fn drop(&mut self) {
        (self.gauge)(&self.set).dec();
    }
}

// === impl StatusCounters ===

/// Status codes that are counted one by one.
const CODES: std::ops::Range<u16> = 100..600;

impl StatusCounters {
    /// Counts one response.
    pub fn inc(&self, status: u16) {
        if !CODES.contains(&status) {
            return;
        }
        self.classes.inc(status);
        let codes = self
            .codes
            .get_or_init(|| CODES.map(|_| Counter::default()).collect());
        codes[usize::from(status - CODES.start)].inc();
    }
}

impl Stat for StatusCounters {
    fn visit(&self, name: &'static str, help: &'static str, visit: &mut dyn FnMut(Value)) {
        self.classes.visit(name, help, visit);
        for (code, counter) in CODES.zip(self.codes.get().into_iter().flat_map(|codes| &**codes)) {
            if counter.get() > 0 {
                visit(Value {
                    name: format!("{name}_{code}").into(),
                    help,
                    label: Some(("", "envoy_response_code", code)),
                    reading: Reading::Counter(counter.get()),
                });
            }
        }
    }
}

// === impl NamedCounters ===

impl NamedCounters {
    /// Adds one.
    pub fn inc(&self, name: &str) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry(name.to_owned()).or_default() += 1;
    }
}

impl Stat for NamedCounters {
    fn visit(&self, name: &'static str, help: &'static str, visit: &mut dyn FnMut(Value)) {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (second, count) in counters.iter() {
            visit(Value {
                name: format!("{name}.{second}").into(),
                help,
                label: None,
                reading: Reading::Counter(*count),
            });
        }
    }
}

// === impl ClassCounters ===

impl ClassCounters {
    /// Counts one response.
    pub fn inc(&self, status: u16) {
        if CODES.contains(&status) {
            self.0[usize::from(status / 100 - 1)].inc();
        }
    }
}

impl Stat for ClassCounters {
    fn visit(&self, name: &'static str, help: &'static str, visit: &mut dyn FnMut(Value)) {
        for (class, counter) in (1_u16..).zip(&self.0) {
            visit(Value {
                name: format!("{name}_{class}xx").into(),
                help,
                label: Some(("xx", "envoy_response_code_class", class)),
                reading: Reading::Counter(counter.get()),
            });
        }
    }
}
