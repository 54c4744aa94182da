//! What Kubernetes mode counts.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Namespaces that have a line of their own; the rest is summed up under no name.
const NAMESPACES: usize = 100;

/// Counters and gauges. Created once, shared by reference.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// When the CA that signs ends, in seconds since 1970; 0 before it is known.
    ca_not_after: AtomicI64,
    /// Whether the Secret holds a whole CA. 0: somebody broke it, and it is not renewed.
    pub(crate) ca_secret_valid: AtomicU64,
    /// Changes of certificates that this replica made.
    pub(crate) rotations: AtomicU64,
    /// Whether the caBundle of a webhook configuration is right, by its name.
    bundles: Mutex<BTreeMap<String, bool>>,
    /// caBundles that were put right. A rise: somebody else writes them.
    pub(crate) bundle_repairs: AtomicU64,
    /// ConfigMaps with root certificates that were written.
    pub(crate) root_cert_writes: AtomicU64,
    /// Configurations that were taken.
    pub(crate) config_reloads: AtomicU64,
    /// Configurations that were refused. Any: what runs is not what the ConfigMap says.
    pub(crate) config_refusals: AtomicU64,
    /// Whether the configuration in force is what the ConfigMap says.
    pub(crate) config_in_force: AtomicU64,
    /// Events that were written.
    pub(crate) events: AtomicU64,
    /// Events left out because there were too many.
    pub(crate) events_dropped: AtomicU64,
    /// Pods that should have a sidecar and have none, by namespace.
    uninjected: Mutex<BTreeMap<String, u64>>,
    /// Sidecars that never reached a control plane, by namespace.
    unconnected: Mutex<BTreeMap<String, u64>>,
    /// Tokens of sidecars that the API server was asked about.
    pub(crate) token_reviews: AtomicU64,
    /// Statuses of routes that were written.
    pub(crate) route_status_writes: AtomicU64,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn set_ca_not_after(&self, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.ca_not_after.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn set_bundle(&self, configuration: &str, is_right: Option<bool>) {
        let mut bundles = lock(&self.bundles);
        match is_right {
            Some(is_right) => bundles.insert(configuration.to_owned(), is_right),
            None => bundles.remove(configuration),
        };
    }

    pub(crate) fn set_uninjected(&self, counts: BTreeMap<String, u64>) {
        *lock(&self.uninjected) = counts;
    }

    pub(crate) fn set_unconnected(&self, counts: BTreeMap<String, u64>) {
        *lock(&self.unconnected) = counts;
    }

    /// Appends all metrics in the Prometheus text format.
    pub(crate) fn write_prometheus(&self, out: &mut String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
        let left = match self.ca_not_after.load(Ordering::Relaxed) {
            0 => 0,
            at => at - now,
        };
        family(
            out,
            "weir_ca_expiry_seconds",
            "gauge",
            "Time until the CA ends.",
        );
        let _ = writeln!(out, "weir_ca_expiry_seconds {left}");
        for (name, kind, help, value) in [
            (
                "weir_ca_secret_valid",
                "gauge",
                "Whether the Secret holds a whole CA. 0: nothing is renewed.",
                &self.ca_secret_valid,
            ),
            (
                "weir_certificate_rotations_total",
                "counter",
                "Changes of certificates that this replica made.",
                &self.rotations,
            ),
            (
                "weir_ca_bundle_repairs_total",
                "counter",
                "Webhook configurations whose caBundle was written. A rise: somebody else writes too.",
                &self.bundle_repairs,
            ),
            (
                "weir_root_cert_writes_total",
                "counter",
                "ConfigMaps with root certificates that were written.",
                &self.root_cert_writes,
            ),
            (
                "weir_config_reloads_total",
                "counter",
                "Configurations that were taken.",
                &self.config_reloads,
            ),
            (
                "weir_config_refusals_total",
                "counter",
                "Configurations that were refused; the old one stays in force.",
                &self.config_refusals,
            ),
            (
                "weir_config_in_force",
                "gauge",
                "Whether the configuration in force is what the ConfigMap says.",
                &self.config_in_force,
            ),
            (
                "weir_events_total",
                "counter",
                "Kubernetes Events that were written.",
                &self.events,
            ),
            (
                "weir_events_dropped_total",
                "counter",
                "Kubernetes Events left out because there were too many.",
                &self.events_dropped,
            ),
            (
                "weir_token_reviews_total",
                "counter",
                "Tokens of sidecars that the API server was asked about.",
                &self.token_reviews,
            ),
            (
                "weir_route_status_writes_total",
                "counter",
                "Statuses of routes that were written.",
                &self.route_status_writes,
            ),
        ] {
            family(out, name, kind, help);
            let _ = writeln!(out, "{name} {}", value.load(Ordering::Relaxed));
        }
        self.write_labelled(out);
    }

    fn write_labelled(&self, out: &mut String) {
        const MATCHES: &str = "weir_ca_bundle_matches";
        family(
            out,
            MATCHES,
            "gauge",
            "Whether clients that trust the caBundle accept what is served.",
        );
        for (configuration, is_right) in lock(&self.bundles).iter() {
            let value = u8::from(*is_right);
            let _ = writeln!(
                out,
                "{MATCHES}{{configuration=\"{configuration}\"}} {value}"
            );
        }
        by_namespace(
            out,
            "weir_uninjected_pods",
            "Pods that should have a sidecar and have none: see /debug/uninjectedz.",
            &lock(&self.uninjected),
        );
        by_namespace(
            out,
            "weir_unconnected_pods",
            "Pods whose sidecar never reached a control plane: see /debug/uninjectedz.",
            &lock(&self.unconnected),
        );
    }
}

fn by_namespace(out: &mut String, name: &str, help: &str, counts: &BTreeMap<String, u64>) {
    family(out, name, "gauge", help);
    for (namespace, count) in counts.iter().take(NAMESPACES) {
        let _ = writeln!(out, "{name}{{namespace=\"{namespace}\"}} {count}");
    }
    let rest: u64 = counts.values().skip(NAMESPACES).sum();
    let _ = writeln!(out, "{name}{{namespace=\"\"}} {rest}");
}

/// Adds one to a counter.
pub(crate) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_documentation_and_has_help() {
        let documentation = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/control-plane.md");
        let documentation = std::fs::read_to_string(documentation).expect("docs/control-plane.md");
        let mut text = String::new();
        Metrics::default().write_prometheus(&mut text);
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut count = 0;
        for name in names.filter_map(|line| line.split(' ').next()) {
            assert!(documentation.contains(&format!("| `{name}` |")), "{name}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            count += 1;
        }
        assert_eq!(count, 15);
    }

    #[test]
    fn namespaces_beyond_a_hundred_are_summed_up() {
        let metrics = Metrics::default();
        let counts = (0..150).map(|number| (format!("n{number:03}"), 2));
        metrics.set_uninjected(counts.collect());
        let mut text = String::new();
        metrics.write_prometheus(&mut text);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("weir_uninjected_pods{"));
        assert_eq!(lines.count(), NAMESPACES + 1);
        assert!(
            text.contains("weir_uninjected_pods{namespace=\"\"} 100\n"),
            "{text}"
        );
    }
}
