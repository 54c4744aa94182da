//! Pods that should have a sidecar and have none, or have that of another version.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use serde_json::Value;
use weir_api::{annotations, sidecar};
use weir_injector::Decision;

use super::{
    facts::{Facts, Read, each_raw, name_of},
    finding::Finding,
    nodes::shorten,
    outside::{self, Means},
    rules::Rule,
    scope::Scope,
    unconnected::Accused,
};

const CHECK: &str = "pods";
/// Pods a page: what is held at once.
const PAGE: u32 = 250;

/// What became of all pods.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Pods that should have a sidecar and have none, by namespace.
    without: BTreeMap<String, Vec<String>>,
    /// Pods with a sidecar of another image than new pods get, by namespace.
    outdated: BTreeMap<String, Vec<String>>,
    /// How many have one, by namespace.
    with: BTreeMap<String, usize>,
    /// Pods that leave the mesh, as `namespace/name`, by the means they use.
    pub(super) outside: BTreeMap<Means, Vec<String>>,
    /// Pods whose sidecar never reached the control plane, as they are.
    pub(super) unconnected: Vec<Value>,
    /// The rules that select a pod with a sidecar, by their place in the list.
    pub(super) rules: BTreeSet<usize>,
}

/// What is looked for among all pods.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookedFor<'a> {
    /// Pods that Events speak of.
    pub(super) accused: &'a Accused,
    /// Rules, of which each is to select one.
    pub(super) rules: &'a [Rule],
}

// === impl Census ===

impl Census {
    /// Namespaces with sidecars.
    pub(super) fn namespaces(&self) -> BTreeSet<&str> {
        self.with.keys().map(String::as_str).collect()
    }

    /// Takes one pod into account.
    fn count(
        &mut self,
        pod: &Value,
        namespace: &Namespace,
        scope: &Scope,
        looked_for: &LookedFor<'_>,
    ) {
        let text = |path: &str| pod.pointer(path).and_then(Value::as_str);
        // What has ended or is about to is past injecting.
        let ended = matches!(text("/status/phase"), Some("Succeeded" | "Failed"));
        if ended || pod.pointer("/metadata/deletionTimestamp").is_some() {
            return;
        }
        let into = name_of(namespace).to_owned();
        let name = text("/metadata/name").unwrap_or_default().to_owned();
        let image = sidecar_image(pod);
        if image.is_some() || scope.covers(namespace) {
            for means in outside::means(pod, image.is_some(), scope.config.istio_labels) {
                let pods = self.outside.entry(means).or_default();
                pods.push(format!("{into}/{name}"));
            }
        }
        match image {
            Some(image) => {
                *self.with.entry(into.clone()).or_default() += 1;
                let rules = looked_for.rules.iter().enumerate();
                let selecting = rules.filter(|(_, rule)| rule.selects(pod));
                self.rules.extend(selecting.map(|(index, _)| index));
                let uid = looked_for.accused.get(&(into.clone(), name.clone()));
                let is_same =
                    |uid: &Option<String>| uid.is_none() || uid.as_deref() == text("/metadata/uid");
                if uid.is_some_and(is_same) {
                    self.unconnected.push(pod.clone());
                }
                let own = pod
                    .pointer("/metadata/annotations")
                    .and_then(|all| all.get(annotations::PROXY_IMAGE));
                if image != scope.config.image && own.is_none() {
                    self.outdated.entry(into).or_default().push(name);
                }
            }
            None if scope
                .decision(namespace, pod)
                .is_some_and(Decision::injects) =>
            {
                self.without.entry(into).or_default().push(name);
            }
            None => {}
        }
    }
}

/// What became of these pods of one namespace.
#[cfg(test)]
pub(super) fn census(
    pods: &[Value],
    namespace: &Namespace,
    scope: &Scope,
    rules: &[Rule],
) -> Census {
    let mut census = Census::default();
    let looked_for = LookedFor {
        accused: &Accused::new(),
        rules,
    };
    for pod in pods {
        census.count(pod, namespace, scope, &looked_for);
    }
    census
}

/// Looks at every pod, a page at a time.
pub(super) async fn read(
    client: &Client,
    scope: &Scope,
    namespaces: &[Namespace],
    looked_for: &LookedFor<'_>,
) -> Read<Census> {
    let by_name: BTreeMap<&str, &Namespace> =
        namespaces.iter().map(|one| (name_of(one), one)).collect();
    let mut census = Census::default();
    // Raw, as the injector reads them.
    let read = each_raw(client, "/api/v1/pods", PAGE, |pod| {
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        if let Some(namespace) = namespace.and_then(|name| by_name.get(name)) {
            census.count(&pod, namespace, scope, looked_for);
        }
    });
    read.await?;
    Ok(census)
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let census = match &facts.pods {
        Ok(census) => census,
        Err(unread) => return vec![unread.finding(CHECK)],
    };
    let mut findings = Vec::new();
    for (namespace, pods) in &census.without {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "pods in {namespace} should have a sidecar and have none: {}",
                named(pods)
            ),
            format!(
                "they were made before Weir would inject them: kubectl rollout restart -n \
                     {namespace} deployment"
            ),
        ));
    }
    for (namespace, pods) in &census.outdated {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "pods in {namespace} have a sidecar of another version: {}",
                named(pods)
            ),
            format!("kubectl rollout restart -n {namespace} deployment"),
        ));
    }
    let all: usize = census.with.values().sum();
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!("every pod that should have a sidecar has one ({all} pods)"),
        ));
    }
    findings
}

pub(super) fn named(pods: &[String]) -> String {
    shorten(&pods.iter().map(String::as_str).collect::<Vec<_>>())
}

fn sidecar_image(pod: &Value) -> Option<&str> {
    let list = |path: &str| {
        pod.pointer(path)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let mut all = list("/spec/initContainers").chain(list("/spec/containers"));
    let proxy = all.find(|container| {
        container.get("name").and_then(Value::as_str) == Some(sidecar::PROXY_CONTAINER)
    })?;
    proxy.get("image").and_then(Value::as_str).or(Some(""))
}
