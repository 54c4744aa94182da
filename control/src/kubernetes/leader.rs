//! Which of several replicas does what only one should: whoever holds a Lease.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time::Instant};

use super::failure;
use crate::config::LEADER_LEASE as LEASE;

/// How long a Lease counts after it was renewed. As long nobody leads where a leader is killed.
const LASTS: Duration = Duration::from_secs(15);
/// Time between two looks at it. Three may fail before a leader is none any more.
const LOOK: Duration = Duration::from_secs(4);

/// Tries to hold the Lease.
pub(crate) struct Candidate {
    api: Api<Lease>,
    /// Who we are.
    me: String,
    /// What the Lease said last, and since when it has said that, by our own clock.
    seen: Option<(LeaseSpec, Instant)>,
    /// Since when it is known that we hold it.
    renewed: Option<Instant>,
    leads: watch::Sender<bool>,
    /// Whether the last look failed: it is said once for as long as it lasts.
    failing: bool,
}

// === impl Candidate ===

impl Candidate {
    /// `pod` tells replicas apart; outside of a pod there is none, and a number does.
    pub(crate) fn new(client: Client, namespace: &str, pod: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            me: match pod {
                "" => format!("weir-control-{:x}", RandomState::new().hash_one(0)),
                pod => pod.to_owned(),
            },
            seen: None,
            renewed: None,
            leads: watch::Sender::new(false),
            failing: false,
        }
    }

    /// Tells whether we lead.
    pub(crate) fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Never returns.
    pub(crate) async fn run(mut self) {
        loop {
            let looked = self.look().await;
            let again = std::mem::replace(&mut self.failing, looked.is_err());
            match looked {
                Ok(true) => self.renewed = Some(Instant::now()),
                Ok(false) => self.renewed = None,
                Err(_) if again => {}
                Err(error) => {
                    let reason = failure(&error);
                    tracing::warn!(
                        lease = LEASE,
                        reason,
                        "cannot tell who writes statuses of routes"
                    );
                }
            }
            // Before another one takes over, we are none any more.
            let leads = self.renewed.is_some_and(|at| at.elapsed() + LOOK < LASTS);
            let is_news = self.leads.send_if_modified(|known| {
                let changed = *known != leads;
                *known = leads;
                changed
            });
            if is_news {
                tracing::info!(lease = LEASE, leads, "who leads has changed");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether we hold the Lease, which is taken or renewed where that may be.
    async fn look(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.api.get_opt(LEASE).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    labels: Some(super::labels()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.held(0)),
            };
            return mine(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let is_ours = spec.holder_identity.as_deref() == Some(&*self.me);
        if !is_ours && !self.has_ended(&spec) {
            return Ok(false);
        }
        let times = spec.lease_transitions.unwrap_or_default();
        lease.spec = Some(self.held(times + i32::from(!is_ours)));
        // Of two who would take it, the later one is told that it has changed.
        mine(
            self.api
                .replace(LEASE, &PostParams::default(), &lease)
                .await,
        )
    }

    /// Whether whoever holds it has not renewed it in time. Clocks of others tell nothing.
    fn has_ended(&mut self, spec: &LeaseSpec) -> bool {
        let nobody = spec
            .holder_identity
            .as_deref()
            .unwrap_or_default()
            .is_empty();
        match &self.seen {
            Some((seen, since)) if seen == spec => nobody || since.elapsed() >= LASTS,
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                nobody
            }
        }
    }

    fn held(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// A write that somebody else was before is no failure.
fn mine(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
