//! Pods that should have a sidecar and have none: found, and reported. Nothing is done about them.
//!
//! They were made while the webhook was not reached, or before Weir was installed or the namespace
//! was labelled. Every few minutes the pods of the namespaces in question are listed, a page at a
//! time, and decided about as the webhook does; no pod is kept.

use std::{
    collections::BTreeMap,
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

pub(crate) use report::Report;
use report::{Uninjected, has_sidecar, owner};

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
                Ok((report, counts)) => {
                    self.tell(report, counts);
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

    fn tell(&self, report: Report, counts: BTreeMap<String, u64>) {
        if report.total > 0 {
            let total = report.total;
            tracing::warn!(
                total,
                "pods have no sidecar and should: see /debug/uninjectedz"
            );
        }
        self.shared.metrics.set_uninjected(counts);
        *self.lock() = report;
    }

    /// Looks at all pods once.
    async fn scan(&self) -> Result<(Report, BTreeMap<String, u64>), String> {
        let (mut report, mut counts) = (Report::default(), BTreeMap::new());
        let webhooks = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        let configuration = webhooks.get_opt(&self.configuration).await;
        // Without a webhook no pod is to be injected.
        if let Some(configuration) = configuration.map_err(|error| failure(&error))? {
            let scope = Scope::read(&configuration)?;
            let namespaces = Api::<PartialObjectMeta<Namespace>>::all(self.client.clone());
            let all = namespaces.list(&ListParams::default()).await;
            for namespace in all.map_err(|error| failure(&error))? {
                if scope.has_namespace(namespace.labels()) {
                    self.scan_namespace(&namespace, &scope, &mut report, &mut counts)
                        .await?;
                }
            }
        }
        let now = Timestamp::try_from((self.shared.clock)());
        report.scanned_at = now.ok().map(|now| now.to_string());
        report.truncated = report.total > report.pods.len() as u64;
        report.complete = true;
        Ok((report, counts))
    }

    async fn scan_namespace(
        &self,
        namespace: &PartialObjectMeta<Namespace>,
        scope: &Scope,
        report: &mut Report,
        counts: &mut BTreeMap<String, u64>,
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
                } else if scope.has_pod(namespace.labels(), pod.labels())
                    && let Some(found) = self.judge(pod, &name)
                {
                    *counts.entry(name.clone()).or_default() += 1;
                    report.total += 1;
                    self.say(pod, &found);
                    if report.pods.len() < NAMED {
                        report.pods.push(found);
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
            about: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(found.namespace.clone()),
                name: Some(found.name.clone()),
                uid: pod.uid(),
                resource_version: None,
                field_path: None,
            },
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Report> {
        // Nothing panics while it is held.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
