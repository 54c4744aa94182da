//! Checks of one host, one after the other.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    client::Client,
    event::EventLog,
    grpc, http,
    io::Io,
    session::{Event, Failure, FailureKind, Session, Verdict},
    tcp,
};
use crate::{
    boundary::Boundary,
    cluster::{
        health::{CheckTarget, ClusterHealth},
        transport_socket::UpstreamSockets,
    },
    config::health_check::{Checker, HealthCheck},
    random,
};

/// Bytes of an answer that are read. One that goes on fails its check, so that no host can have the
/// control thread read for ever.
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// What the checks of a cluster's hosts have in common.
pub(super) struct Context {
    pub(super) health: Arc<ClusterHealth>,
    pub(super) sockets: UpstreamSockets,
    pub(super) boundary: Boundary,
    pub(super) events: Arc<EventLog>,
    /// Checks that may be under way at a time, of all clusters.
    pub(super) places: Arc<Semaphore>,
}

/// A connection between checks.
#[derive(Default)]
struct Kept {
    http: Option<Client>,
    tcp: Option<Io>,
}

/// Checks a host for as long as it is polled.
pub(super) async fn watch(context: Arc<Context>, target: Arc<CheckTarget>) {
    let Some((check, stats)) = context.health.check() else {
        return;
    };
    let (mut session, mut kept) = (Session::new(), Kept::default());
    let mut seed = random::seed();
    if let Some(wait) = check.intervals.before_first(two(&mut seed)) {
        sleep(wait).await;
    }
    loop {
        // Nobody closes it.
        let Ok(place) = context.places.acquire().await else {
            return;
        };
        stats.attempt.inc_shared();
        let asked = ask(check, &context, &target, &mut kept);
        let verdict = timeout(check.timeout, asked).await.unwrap_or_else(|_| {
            kept = Kept::default();
            Verdict::Failure(Failure::of(FailureKind::NetworkTimeout))
        });
        drop(place);
        let before = target.health.flags();
        let step = session.step(check, before, verdict);
        context.count(verdict);
        context.health.checked(&target, before, step.flags);
        if let Verdict::Success { .. } = verdict {
            context.health.uneject(&target);
        }
        context.tell(&target, &step.events);
        let has_traffic = context.health.has_traffic();
        let intervals = &check.intervals;
        let wait = intervals.after(verdict, step.transition, has_traffic, two(&mut seed));
        sleep(wait).await;
    }
}

fn two(seed: &mut u64) -> [u64; 2] {
    [random::next(seed), random::next(seed)]
}

async fn ask(
    check: &HealthCheck,
    context: &Context,
    target: &CheckTarget,
    kept: &mut Kept,
) -> Verdict {
    match &check.checker {
        Checker::Http(check) => http::check(check, context, target, &mut kept.http).await,
        Checker::Grpc(check) => grpc::check(check, context, target, &mut kept.http).await,
        Checker::Tcp(check) => tcp::check(check, context, target, &mut kept.tcp).await,
    }
}

// === impl Context ===

impl Context {
    /// What chooses the transport socket for a host.
    pub(super) fn said<'c>(&'c self, target: &'c CheckTarget) -> Option<&'c Map<String, Value>> {
        let check = self.health.config().health_check.as_ref();
        let of_check = check.and_then(|check| check.transport_socket_match.as_ref());
        of_check.or(target.transport_socket_match.as_deref())
    }

    /// The name that a check asks for.
    pub(super) fn authority<'c>(
        &'c self,
        target: &'c CheckTarget,
        configured: Option<&'c str>,
    ) -> &'c str {
        match target.check_hostname.as_str() {
            "" => configured.unwrap_or(&self.health.config().name),
            own => own,
        }
    }

    /// How long a host may take.
    pub(super) fn timeout(&self) -> std::time::Duration {
        let check = self.health.config().health_check.as_ref();
        check.map(|check| check.timeout).unwrap_or_default()
    }

    pub(super) fn reuses_connection(&self) -> bool {
        let check = self.health.config().health_check.as_ref();
        check.is_some_and(|check| check.reuse_connection)
    }

    pub(super) fn count_verified(&self) {
        if let Some((_, stats)) = self.health.check() {
            stats.verify_cluster.inc_shared();
        }
    }

    /// Says why a host could not be connected to.
    pub(super) fn note(&self, target: &CheckTarget, error: &dyn std::fmt::Display) {
        tracing::debug!(
            cluster = self.health.config().name, host = %target.host, %error,
            "a health check cannot connect to its host",
        );
    }

    fn count(&self, verdict: Verdict) {
        let Some((_, stats)) = self.health.check() else {
            return;
        };
        match verdict {
            Verdict::Success { .. } => stats.success.inc_shared(),
            Verdict::Failure(Failure { kind, .. }) => {
                stats.failure.inc_shared();
                if kind != FailureKind::Active {
                    stats.network_failure.inc_shared();
                }
            }
        }
    }

    /// Says what has changed.
    fn tell(&self, target: &CheckTarget, events: &[Event]) {
        let config = self.health.config();
        for event in events {
            let (cluster, address) = (&config.name, target.host);
            match event {
                Event::EjectUnhealthy { kind: why, .. } => {
                    tracing::info!(%cluster, %address, ?why, "health checks of a host fail");
                }
                Event::AddHealthy { is_first: false } => {
                    tracing::info!(%cluster, %address, "health checks of a host succeed again");
                }
                _ => {}
            }
            self.events.write(config, target, *event);
        }
    }
}
