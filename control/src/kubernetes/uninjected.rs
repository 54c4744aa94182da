//! Pods that should have a sidecar and have none, and sidecars that never reached a control plane:
//! found, and reported. Nothing is done about them.
//!
//! The first were made while the webhook was not reached, or before Weir was installed or the namespace
//! was labelled. Every few minutes the pods of the namespaces in question are listed, a page at a
//! time, and decided about as the webhook does; no pod is kept. Where a pod was reviewed they are looked at
//! soon, for what people are to be told about those that are new.

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
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use weir_api::sidecar::{PROXY_CONTAINER, UNCONNECTED};
use weir_discovery::xds::Hub;
use weir_injector::webhook::Injector;

use super::{
    Shared, decisions,
    events::{Events, Kind, Note},
    failure,
    namespaces::Namespaces,
    reviewed::Reviewed,
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

/// From a review to when its pod is there to be looked at.
const STORED: Duration = Duration::from_secs(1);
/// After a look at one namespace: at least so long, and so many times as long as the look took, for
/// anybody can have it done.
const REST: Duration = Duration::from_millis(200);
const REST_TIMES: u32 = 9;
/// Age up to which a pod is new.
const NEW: i64 = 300;

/// Looks for them.
pub(crate) struct Reconciler {
    pub(crate) client: Client,
    /// Name of the webhook configuration that says which pods reach the webhook.
    pub(crate) configuration: String,
    pub(crate) injector: Arc<Injector>,
    pub(crate) namespaces: Arc<Namespaces>,
    /// Where to look soon.
    pub(crate) reviewed: Arc<Reviewed>,
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
        tokio::join!(self.look_at_all(), self.look_where_reviewed());
    }

    async fn look_at_all(&self) {
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

    async fn look_where_reviewed(&self) {
        loop {
            let namespace = self.reviewed.next().await;
            tokio::time::sleep(STORED).await;
            let began = Instant::now();
            if let Err(reason) = self.look_at(&namespace).await {
                tracing::warn!(namespace, reason, "cannot look at reviewed pods");
            }
            tokio::time::sleep((began.elapsed() * REST_TIMES).max(REST)).await;
        }
    }

    /// Says what people are to know about the new pods of a namespace.
    async fn look_at(&self, namespace: &str) -> Result<(), String> {
        let (Some(scope), Some(about)) = (self.scope().await?, self.namespaces.get(namespace))
        else {
            return Ok(());
        };
        let now = self.now().as_second();
        self.each_pod(namespace, |pod| {
            let is_injected = has_sidecar(pod);
            if is_injected {
                self.namespaces.has_sidecar(namespace);
            }
            let made = pod.creation_timestamp();
            let is_new = made.is_some_and(|made| now - made.0.as_second() < NEW);
            // The API server may not have asked about it.
            if is_new && scope.has_pod(&about.labels, pod.labels()) {
                let note = self.decision(pod, namespace, is_injected);
                note.into_iter().for_each(|note| self.events.say(note));
            }
        })
        .await
    }

    fn decision(&self, pod: &DynamicObject, namespace: &str, is_injected: bool) -> Option<Note> {
        let raw = raw(pod);
        if is_injected {
            let warnings = self.injector.warnings(&raw, namespace).ok()?;
            return decisions::warned(pod, namespace, &warnings);
        }
        let decision = self.injector.decide(&raw, namespace).ok()?;
        decisions::skipped(pod, namespace, decision)
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
        let mut found = Found {
            report: Report::default(),
            uninjected: BTreeMap::new(),
            elsewhere: Vec::new(),
            connected: unconnected::connected(&self.hub),
            now: self.now(),
        };
        if let Some(scope) = self.scope().await? {
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
        self.each_pod(&name, |pod| {
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
        })
        .await
    }

    /// Which pods reach the webhook; without a webhook none does.
    async fn scope(&self) -> Result<Option<Scope>, String> {
        let webhooks = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        let configuration = webhooks.get_opt(&self.configuration).await;
        let configuration = configuration.map_err(|error| failure(&error))?;
        configuration.as_ref().map(Scope::read).transpose()
    }

    /// Shows all pods of a namespace, a page at a time.
    async fn each_pod(
        &self,
        namespace: &str,
        mut show: impl FnMut(&DynamicObject),
    ) -> Result<(), String> {
        let resource = ApiResource::erase::<Pod>(&());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let pods = api.list(&page).await.map_err(|error| failure(&error))?;
            pods.items.iter().for_each(&mut show);
            match pods.metadata.continue_ {
                Some(next) if !next.is_empty() => page.continue_token = Some(next),
                _ => return Ok(()),
            }
        }
    }

    fn now(&self) -> Timestamp {
        let now = Timestamp::try_from((self.shared.clock)());
        now.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Decides about a pod that has no sidecar as the webhook would.
    fn judge(&self, pod: &DynamicObject, namespace: &str) -> Option<Uninjected> {
        let phase = pod.data["status"]["phase"].as_str().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() || ["Succeeded", "Failed"].contains(&phase) {
            return None;
        }
        let decision = self.injector.decide(&raw(pod), namespace).ok()?;
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

/// A pod as the injector reads it.
fn raw(pod: &DynamicObject) -> Value {
    json!({"metadata": pod.metadata, "spec": pod.data["spec"]})
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
