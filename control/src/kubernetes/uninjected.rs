//! Pods that should have a sidecar and have none, and sidecars that never reached a control plane:
//! found, and reported. Nothing is done about them.
//!
//! The first were made while the webhook was not reached, or before Weir was installed or the namespace
//! was labelled. Every few minutes the pods of the namespaces in question are listed, a page at a
//! time, and decided about as the webhook does; no pod is kept.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        core::v1::{Namespace, ObjectReference, Pod},
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    core::{ApiResource, PartialObjectMeta},
};
use serde_json::json;
use tokio::sync::watch;
use weir_api::sidecar::{PROXY_CONTAINER, UNCONNECTED};
use weir_discovery::xds::Hub;
use weir_injector::webhook::Injector;

use super::{
    Shared,
    events::{Events, Kind, Note},
    failure,
    namespaces::Namespaces,
    scope::Scope,
};
use crate::run::Known;

mod report;
mod unconnected;

pub(crate) use report::Report;
use report::{Unconnected, Uninjected, has_sidecar, owner};
use unconnected::Candidate;

/// Time between two looks at all pods.
const INTERVAL: Duration = Duration::from_secs(120);
/// Time between two looks where namespaces changed in between.
const SOON: Duration = Duration::from_secs(15);
/// Time until a look that failed is tried again.
const RETRY: Duration = Duration::from_secs(15);
/// Pods of a page: some megabytes at most, which are dropped before the next one.
const PAGE: u32 = 100;
/// Pods that are named one by one; all are counted.
const NAMED: usize = 500;

/// Looks for them.
pub(crate) struct Reconciler {
    pub(crate) client: Client,
    /// Name of the webhook configuration that says which pods reach the webhook.
    pub(crate) configuration: String,
    pub(crate) injector: Arc<Injector>,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) shared: Shared,
    pub(crate) events: Events,
    pub(crate) report: Arc<Mutex<Report>>,
    /// Knows who is connected to this replica.
    pub(crate) hub: Arc<Hub>,
    /// Port at which a sidecar says how it is.
    pub(crate) status_port: u16,
}

/// What was found in one look.
struct Found {
    report: Report,
    uninjected: BTreeMap<String, u64>,
    /// Sidecars that are not connected here.
    elsewhere: Vec<Candidate>,
    connected: HashSet<(String, String)>,
    now: Timestamp,
}

// === impl Reconciler ===

impl Reconciler {
    /// Begins when all is known to decide by. Never returns.
    pub(crate) async fn run(self, mut known: watch::Receiver<Known>) {
        if known.wait_for(Known::all).await.is_err() {
            return;
        }
        let mut changes = self.namespaces.changes();
        loop {
            let wait = match self.scan().await {
                Ok(found) => {
                    self.tell(found).await;
                    INTERVAL
                }
                Err(reason) => {
                    tracing::warn!(reason, "cannot look for pods without a sidecar");
                    let mut report = self.lock();
                    (report.complete, report.error) = (false, Some(reason));
                    RETRY
                }
            };
            // A namespace that was labelled is looked at soon, yet not with each change of one.
            tokio::time::sleep(wait.min(SOON)).await;
            tokio::select! {
                () = tokio::time::sleep(wait.saturating_sub(SOON)) => {}
                Ok(()) = changes.changed() => {}
            }
        }
    }

    async fn tell(&self, found: Found) {
        let Found {
            mut report,
            uninjected,
            elsewhere,
            ..
        } = found;
        let never = unconnected::never_connected(elsewhere, self.status_port).await;
        let mut counts = BTreeMap::new();
        for pod in &never {
            *counts.entry(pod.namespace.clone()).or_default() += 1;
            self.say_unconnected(pod);
        }
        if !never.is_empty() {
            let total = never.len();
            tracing::warn!(
                total,
                "sidecars never reached a control plane: see /debug/uninjectedz"
            );
        }
        report.unconnected = never.into_iter().map(Unconnected::from).collect();
        if report.total > 0 {
            let total = report.total;
            tracing::warn!(
                total,
                "pods have no sidecar and should: see /debug/uninjectedz"
            );
        }
        self.shared.metrics.set_uninjected(uninjected);
        self.shared.metrics.set_unconnected(counts);
        *self.lock() = report;
    }

    /// Looks at all pods once.
    async fn scan(&self) -> Result<Found, String> {
        let now = Timestamp::try_from((self.shared.clock)());
        let mut found = Found {
            report: Report::default(),
            uninjected: BTreeMap::new(),
            elsewhere: Vec::new(),
            connected: unconnected::connected(&self.hub),
            now: now.unwrap_or(Timestamp::UNIX_EPOCH),
        };
        let webhooks = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        let configuration = webhooks.get_opt(&self.configuration).await;
        // Without a webhook no pod is to be injected.
        if let Some(configuration) = configuration.map_err(|error| failure(&error))? {
            let scope = Scope::read(&configuration)?;
            let namespaces = Api::<PartialObjectMeta<Namespace>>::all(self.client.clone());
            let all = namespaces.list(&ListParams::default()).await;
            for namespace in all.map_err(|error| failure(&error))? {
                if scope.has_namespace(namespace.labels()) {
                    self.scan_namespace(&namespace, &scope, &mut found).await?;
                }
            }
        }
        let report = &mut found.report;
        report.scanned_at = Some(found.now.to_string());
        report.truncated = report.total > report.pods.len() as u64;
        report.complete = true;
        Ok(found)
    }

    async fn scan_namespace(
        &self,
        namespace: &PartialObjectMeta<Namespace>,
        scope: &Scope,
        all: &mut Found,
    ) -> Result<(), String> {
        let name = namespace.name_any();
        let resource = ApiResource::erase::<Pod>(&());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &name, &resource);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let pods = api.list(&page).await.map_err(|error| failure(&error))?;
            for pod in &pods.items {
                if has_sidecar(pod) {
                    self.namespaces.has_sidecar(&name);
                    let is_here = all.connected.contains(&(name.clone(), pod.name_any()));
                    if !is_here && all.elsewhere.len() < NAMED {
                        all.elsewhere
                            .extend(unconnected::candidate(pod, &name, all.now));
                    }
                } else if scope.has_pod(namespace.labels(), pod.labels())
                    && let Some(found) = self.judge(pod, &name)
                {
                    *all.uninjected.entry(name.clone()).or_default() += 1;
                    all.report.total += 1;
                    self.say(pod, &found);
                    if all.report.pods.len() < NAMED {
                        all.report.pods.push(found);
                    }
                }
            }
            match pods.metadata.continue_ {
                Some(next) if !next.is_empty() => page.continue_token = Some(next),
                _ => return Ok(()),
            }
        }
    }

    /// Decides about a pod that has no sidecar as the webhook would.
    fn judge(&self, pod: &DynamicObject, namespace: &str) -> Option<Uninjected> {
        let phase = pod.data["status"]["phase"].as_str().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() || ["Succeeded", "Failed"].contains(&phase) {
            return None;
        }
        let raw = json!({"metadata": pod.metadata, "spec": pod.data["spec"]});
        let decision = self.injector.decide(&raw, namespace).ok()?;
        decision.injects().then(|| Uninjected {
            namespace: namespace.to_owned(),
            name: pod.name_any(),
            owner: owner(pod),
            reason: decision.to_string(),
        })
    }

    fn say(&self, pod: &DynamicObject, found: &Uninjected) {
        let restart = match &found.owner {
            Some(_) => "delete the pod, and the one that takes its place gets one",
            None => "make the pod anew",
        };
        self.events.say(Note {
            about: reference(&found.namespace, &found.name, pod.uid()),
            kind: Kind::Warning,
            reason: "SidecarMissing",
            action: "Reconcile",
            text: format!(
                "the pod has no sidecar and should have one: {}. It was made when the webhook was \
                 not called; {restart}",
                found.reason
            ),
        });
    }

    fn say_unconnected(&self, pod: &Candidate) {
        self.events.say(Note {
            about: reference(&pod.namespace, &pod.name, pod.uid.clone()),
            kind: Kind::Warning,
            reason: UNCONNECTED,
            action: "Reconcile",
            text: format!(
                "the sidecar has never reached the control plane, so that all traffic passes as \
                 without a mesh. Its log says why once a minute: kubectl logs -n {} {} -c \
                 {PROXY_CONTAINER}; weir check knows the usual causes",
                pod.namespace, pod.name
            ),
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Report> {
        // Nothing panics while it is held.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reference(namespace: &str, name: &str, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid,
        resource_version: None,
        field_path: None,
    }
}

#[cfg(test)]
mod tests;
