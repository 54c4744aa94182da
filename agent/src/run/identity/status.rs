//! How it stands with the certificate, for metric, log and readiness.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use humantime::{format_duration, format_rfc3339_seconds};
use tokio::sync::watch;
use weir_proxy::{
    stat_set,
    stats::{Registry, Scope},
};

use super::AskError;

/// The same reason is logged again after so long.
const REPEAT: Duration = Duration::from_secs(60);

stat_set! {
    /// `identity.*`: the certificate of the workload, in a sidecar.
    pub(in crate::run) struct IdentityStats {
        /// Whether there is a certificate that has not ended. 0: connections that need one fail;
        /// the readiness answer and the log say why there is none.
        certificate: Gauge,
        /// When it ends, in seconds since 1970.
        not_after_seconds: Gauge,
        /// Certificates that were issued to it.
        renewals: Counter,
        /// Attempts to get one that failed. Each is tried again.
        failures: Counter,
    }
}

/// How it stands with the certificate.
#[derive(Debug)]
pub(in crate::run) struct Status {
    stats: Arc<IdentityStats>,
    /// A line for the readiness answer; empty where there is nothing to say.
    note: watch::Sender<String>,
    not_after: Option<SystemTime>,
    logged: Option<(String, Instant)>,
}

// === impl Status ===

impl Status {
    /// There is none yet. What there is to say for people goes to `note`.
    pub(in crate::run) fn new(registry: &Registry, note: watch::Sender<String>) -> Self {
        let scope = Scope {
            kind: "identity",
            name: String::new(),
            label: "",
        };
        note.send_replace("no workload certificate yet".to_owned());
        Self {
            stats: registry.register(scope),
            note,
            not_after: None,
            logged: None,
        }
    }

    pub(super) fn renewed(&mut self, id: &str, not_after: SystemTime) {
        let ends = not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ends = i64::try_from(ends.as_secs()).unwrap_or(i64::MAX);
        self.stats.certificate.set(1);
        self.stats.not_after_seconds.set(ends);
        self.stats.renewals.inc();
        self.note.send_replace(String::new());
        let ends = format_rfc3339_seconds(not_after);
        if self.not_after.replace(not_after).is_none() || self.logged.take().is_some() {
            tracing::info!(id, %ends, "has a workload certificate");
        } else {
            tracing::debug!(id, %ends, "renewed the workload certificate");
        }
    }

    pub(super) fn failed(&mut self, error: &AskError, now: SystemTime) {
        self.stats.failures.inc();
        let left = self.not_after.and_then(|at| at.duration_since(now).ok());
        self.stats.certificate.set(i64::from(left.is_some()));
        let next_step = error.next_step();
        let state = match left {
            Some(left) => format!(
                "the workload certificate ends in {} and is not renewed",
                format_duration(Duration::from_secs(left.as_secs()))
            ),
            None => "no workload certificate".to_owned(),
        };
        self.note
            .send_replace(format!("{state}: {error}; {next_step}"));
        let reason = error.to_string();
        let is_news = self
            .logged
            .as_ref()
            .is_none_or(|(logged, at)| *logged != reason || at.elapsed() >= REPEAT);
        if is_news {
            let has_one = left.is_some();
            tracing::warn!(
                reason,
                next_step,
                has_one,
                "cannot get a workload certificate"
            );
            self.logged = Some((reason, Instant::now()));
        }
    }
}
