//! Where the sets of all workers are found and added up.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{HistogramReading, StatSet};

/// What a set belongs to: `cluster.<name>`, `listener.<address>`, `http.<prefix>`, `server`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// First part of the stat name, and of the Prometheus metric: `cluster`. Empty: none.
    pub kind: &'static str,
    /// Second part of the stat name: `outbound|80||web`. Empty: none.
    pub name: String,
    /// Prometheus label that carries `name`: `envoy_cluster_name`.
    pub label: &'static str,
}

/// A stat as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name within its scope: `upstream_rq_200`.
    pub name: Cow<'static, str>,
    /// What it counts.
    pub help: &'static str,
    /// In Prometheus the last part of the name becomes a label: the suffix that stays in the
    /// name, the label, and its value.
    pub label: Option<(&'static str, &'static str, u16)>,
    /// The value.
    pub reading: Reading,
}

/// The value of a stat.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(i64),
    /// Of a histogram.
    Histogram(Box<HistogramReading>),
}

/// All stats of one scope, added up, in the order of their declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeReading {
    /// The scope.
    pub scope: Scope,
    /// Its stats.
    pub values: Vec<Value>,
}

/// Finds the stat sets of all workers. Sets are held weakly: the stats of a cluster go when the
/// last worker lets go of the cluster.
#[derive(Debug, Default)]
pub struct Registry {
    scopes: Mutex<BTreeMap<Scope, Vec<Weak<dyn StatSet>>>>,
}

/// A set whose names stand behind a prefix.
#[derive(Debug)]
pub struct Within<S> {
    prefix: String,
    set: S,
}

// === impl Registry ===

impl Registry {
    /// Makes a set and registers it under `scope`.
    pub fn register<S: StatSet + Default + 'static>(&self, scope: Scope) -> Arc<S> {
        let set = Arc::new(S::default());
        self.add(scope, Arc::clone(&set) as Arc<dyn StatSet>);
        set
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller has made it a trait object for this alone"
    )]
    fn add(&self, scope: Scope, set: Arc<dyn StatSet>) {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = scopes.entry(scope).or_default();
        sets.retain(|set| set.strong_count() > 0);
        sets.push(Arc::downgrade(&set));
    }

    /// Registers a set under `scope`, its names behind `prefix`: `rbac.allowed`.
    pub fn register_within<S: StatSet + 'static>(
        &self,
        scope: Scope,
        prefix: impl Into<String>,
        set: S,
    ) -> Arc<Within<S>> {
        let prefix = prefix.into();
        let set = Arc::new(Within { prefix, set });
        self.add(scope, Arc::clone(&set) as Arc<dyn StatSet>);
        set
    }

    /// Reads every stat, in the order of the scopes.
    #[must_use]
    pub fn read(&self) -> Vec<ScopeReading> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.retain(|_, sets| sets.iter().any(|set| set.strong_count() > 0));
        let read = |(scope, sets): (&Scope, &Vec<Weak<dyn StatSet>>)| ScopeReading {
            scope: scope.clone(),
            values: sum(sets.iter().filter_map(Weak::upgrade)),
        };
        scopes.iter().map(read).collect()
    }
}

fn sum(sets: impl Iterator<Item = Arc<dyn StatSet>>) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    for set in sets {
        set.visit(
            &mut |value| match values.iter_mut().find(|known| known.name == value.name) {
                Some(known) => known.reading.add(&value.reading),
                None => values.push(value),
            },
        );
    }
    values
}

// === impl Within ===

impl<S> Deref for Within<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.set
    }
}

impl<S: StatSet> StatSet for Within<S> {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.set.visit(&mut |mut value| {
            value.name.to_mut().insert_str(0, &self.prefix);
            visit(value);
        });
    }
}

// === impl Scope ===

impl Scope {
    /// `cluster.<name>`
    #[must_use]
    pub fn cluster(name: &str) -> Self {
        Self {
            kind: "cluster",
            name: name.to_owned(),
            label: "envoy_cluster_name",
        }
    }

    /// `listener.<stat prefix>`
    #[must_use]
    pub fn listener(stat_prefix: &str) -> Self {
        Self {
            kind: "listener",
            name: stat_prefix.to_owned(),
            label: "envoy_listener_address",
        }
    }

    /// `http.<stat prefix>`
    #[must_use]
    pub fn http(stat_prefix: &str) -> Self {
        Self {
            kind: "http",
            name: stat_prefix.to_owned(),
            label: "envoy_http_conn_manager_prefix",
        }
    }

    /// `tcp.<stat prefix>`
    #[must_use]
    pub fn tcp(stat_prefix: &str) -> Self {
        Self {
            kind: "tcp",
            name: stat_prefix.to_owned(),
            label: "envoy_tcp_prefix",
        }
    }

    /// `dns_cache.<name>`
    #[must_use]
    pub fn dns_cache(name: &str) -> Self {
        Self {
            kind: "dns_cache",
            name: name.to_owned(),
            label: "envoy_dns_cache_name",
        }
    }

    /// Of the process: `server`, `listener_manager`, `control_plane`, ...
    #[must_use]
    pub fn process(kind: &'static str) -> Self {
        Self {
            kind,
            name: String::new(),
            label: "",
        }
    }
}

// === impl Reading ===

impl Reading {
    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counter(sum), Self::Counter(value)) => *sum += value,
            (Self::Gauge(sum), Self::Gauge(value)) => *sum += value,
            (Self::Histogram(sum), Self::Histogram(value)) => sum.add(value),
            // Sets of one scope are of one type, so a name has one kind.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat_set;

    stat_set! {
        /// For the test.
        struct TestStats {
            /// Things.
            things_total: Counter,
            /// Things now.
            things_active: Gauge,
            /// Answers.
            rq: StatusCounters,
        }
    }

    #[test]
    fn workers_are_summed_and_go_with_their_last_owner() {
        let registry = Registry::default();
        let one: Arc<TestStats> = registry.register(Scope::cluster("a"));
        let two: Arc<TestStats> = registry.register(Scope::cluster("a"));
        one.things_total.add(2);
        two.things_total.inc();
        one.things_active.inc();
        two.things_active.dec();
        two.rq.inc(204);
        let read = registry.read();
        let value = |name: &str| {
            let value = read[0].values.iter().find(|value| value.name == name);
            value.map(|value| value.reading.clone())
        };
        assert_eq!(value("things_total"), Some(Reading::Counter(3)));
        assert_eq!(value("things_active"), Some(Reading::Gauge(0)));
        assert_eq!(value("rq_2xx"), Some(Reading::Counter(1)));
        assert_eq!(value("rq_204"), Some(Reading::Counter(1)));
        assert_eq!(value("rq_200"), None);
        drop((one, two));
        assert!(registry.read().is_empty());
    }
}
