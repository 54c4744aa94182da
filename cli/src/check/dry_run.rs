//! Asks the API server for a pod that it does not keep: whether it reaches the injector, trusts it
//! and gets a sidecar back is then no matter of opinion.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use weir_api::{annotations, sidecar};

use super::{
    Names,
    facts::{Facts, each, name_of},
    finding::Finding,
    scope::{REVISION_LABEL, Scope},
};
use crate::cluster::{DEFAULT_REVISION, reason};

const CHECK: &str = "injection";
/// Namespaces that are tried; each costs a request, and one is much like the other.
const MOST: usize = 16;

/// A pod that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DryRun {
    namespace: String,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Injected,
    /// It came back as it was.
    Untouched,
    /// The API server said this.
    Refused(String),
}

/// Asks for a pod in each namespace that has sidecars; if there is none yet, or in the one that is named,
/// for one that asks for a sidecar itself.
pub(super) async fn run(
    client: &Client,
    scope: &Scope,
    namespaces: &[Namespace],
    names: &Names,
    only: Option<&str>,
) -> Vec<DryRun> {
    let meshed = namespaces
        .iter()
        .filter(|namespace| only.is_none() && scope.covers(namespace));
    let mut wanted: Vec<(String, Pod)> = meshed
        .take(MOST)
        .map(|namespace| (name_of(namespace).to_owned(), pod(None)))
        .collect();
    if wanted.is_empty() {
        let asks = pod(Some(&names.revision));
        let raw = serde_json::to_value(&asks).unwrap_or_default();
        let found = namespaces
            .iter()
            .filter(|namespace| only.is_none_or(|only| only == name_of(*namespace)))
            .find(|namespace| scope.injects(namespace, &raw));
        wanted.extend(found.map(|namespace| (name_of(namespace).to_owned(), asks)));
    }
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    each(wanted, async |(namespace, pod): (String, Pod)| {
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let outcome = match api.create(&dry, &pod).await {
            Ok(made) if has_sidecar(&made) => Outcome::Injected,
            Ok(_) => Outcome::Untouched,
            Err(error) => Outcome::Refused(reason(&error)),
        };
        DryRun { namespace, outcome }
    })
    .await
}

/// Whether an API server called the injector, trusted it and heard its answer.
pub(super) fn has_succeeded(facts: &Facts) -> bool {
    let mut outcomes = facts.dry_runs.iter().map(|run| &run.outcome);
    outcomes.any(|outcome| *outcome == Outcome::Injected)
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let runs = &facts.dry_runs;
    let injected: Vec<&str> = runs
        .iter()
        .filter(|run| run.outcome == Outcome::Injected)
        .map(|run| run.namespace.as_str())
        .collect();
    let mut findings = Vec::new();
    if let Err(unread) = &facts.namespaces {
        findings.push(unread.finding(CHECK));
    } else if runs.is_empty() {
        let message = "not checked: in no namespace that was to be tried would a pod get a sidecar";
        let advice = "label one: kubectl label namespace NAME weir.dev/injection=enabled";
        findings.push(Finding::warning(CHECK, message, advice));
    }
    if !injected.is_empty() {
        let message = format!(
            "a pod made in {} gets a sidecar",
            super::nodes::shorten(&injected)
        );
        findings.push(Finding::ok(CHECK, message));
    }
    findings.extend(runs.iter().filter_map(|run| judge(run, facts)));
    findings
}

fn judge(run: &DryRun, facts: &Facts) -> Option<Finding> {
    let namespace = &run.namespace;
    match &run.outcome {
        Outcome::Injected => None,
        Outcome::Untouched => Some(Finding::failure(
            CHECK,
            format!("a pod made in {namespace} gets no sidecar, although it should"),
            format!(
                "with failurePolicy: Ignore the webhook's own error is hidden; look at kubectl get \
                 mutatingwebhookconfiguration {} -o yaml and at the control plane's log",
                facts.names.injector()
            ),
        )),
        Outcome::Refused(reason) => Some(refused(namespace, reason, facts)),
    }
}

fn refused(namespace: &str, reason: &str, facts: &Facts) -> Finding {
    let has = |text: &str| reason.contains(text);
    let message = format!("a pod made in {namespace} is refused: {reason}");
    let own_log = format!(
        "kubectl logs -n {} deploy/{}",
        facts.names.namespace,
        facts.names.control()
    );
    if has("failed calling webhook") && has("injector.weir.dev") {
        let advice = if has("x509") || has("tls:") {
            format!(
                "the API server does not trust the injector's certificate: caBundle is not its \
                 CA's. The control plane mends that; {own_log}"
            )
        } else {
            format!(
                "the API server cannot reach the injector: see that the control plane is ready \
                 ({own_log}), and \
                 that firewalls and NetworkPolicies let the API server connect to its webhook \
                 port (15017, or \
                 webhooks.port of the chart)"
            )
        };
        return Finding::failure(CHECK, message, advice);
    }
    if has("violates PodSecurity") {
        let advice = format!(
            "{} needs NET_ADMIN, which PodSecurity levels baseline and restricted forbid: \
             kubectl label namespace \
             {namespace} pod-security.kubernetes.io/enforce=privileged --overwrite",
            sidecar::INIT_CONTAINER
        );
        return Finding::failure(CHECK, message, advice);
    }
    if has("cannot create resource \"pods\"") {
        return Finding::warning(
            CHECK,
            format!("not checked in {namespace}: you may not make pods there"),
            "run weir check as somebody who may make pods",
        );
    }
    Finding::failure(
        CHECK,
        message,
        "something else in the cluster refuses pods there; ask whom the message names",
    )
}

/// A pod that any cluster takes. `revision` makes it ask for a sidecar itself.
fn pod(revision: Option<&str>) -> Pod {
    let labels = match revision {
        None => json!({}),
        Some(DEFAULT_REVISION) => json!({annotations::INJECT: "true"}),
        Some(revision) => json!({annotations::INJECT: "true", REVISION_LABEL: revision}),
    };
    let pod = json!({
        "metadata": {"generateName": "weir-check-", "labels": labels},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "app",
                "image": "weir.dev/check",
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
                // Namespaces with quotas or limit ranges ask for these.
                "resources": {
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"cpu": "10m", "memory": "16Mi"},
                },
            }],
        },
    });
    serde_json::from_value(pod).expect("it is written above as the API has it")
}

fn has_sidecar(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    all.any(|container| container.name == sidecar::PROXY_CONTAINER)
}
