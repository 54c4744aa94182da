//! The control plane: whether it is installed, runs and can be reached by its Service.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerState, Pod},
    discovery::v1::EndpointSlice,
};

use super::{
    facts::{Facts, name_of},
    finding::Finding,
};

const CHECK: &str = "control-plane";

/// The finding that there is nothing to check.
pub(super) fn not_installed(facts: &Facts) -> Finding {
    let names = &facts.names;
    if let Err(unread) = &facts.mutating {
        return unread.finding(CHECK);
    }
    Finding::failure(
        CHECK,
        format!(
            "Weir is not installed: there is no MutatingWebhookConfiguration {}",
            names.injector()
        ),
        format!(
            "helm install weir charts/weir --namespace {} --create-namespace; if it is installed \
             as another \
             revision, name that with --revision",
            names.namespace
        ),
    )
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &facts.deployment {
        Err(unread) => findings.push(unread.finding(CHECK)),
        Ok(None) => findings.push(left_behind(facts)),
        Ok(Some(deployment)) => {
            let pods = facts.control_pods.as_deref().unwrap_or_default();
            findings.push(running(deployment, pods, facts));
        }
    }
    match &facts.endpoints {
        Err(unread) => findings.push(unread.finding(CHECK)),
        Ok(slices) => findings.push(reachable(slices, facts)),
    }
    findings
}

fn left_behind(facts: &Facts) -> Finding {
    let (names, injector) = (&facts.names, facts.names.injector());
    Finding::failure(
        CHECK,
        format!(
            "there are webhooks ({injector}), but no Deployment {} in {}",
            names.control(),
            names.namespace
        ),
        format!(
            "if it is in another namespace, name that with --namespace; if Weir is gone, \
             kubectl delete mutatingwebhookconfiguration {injector}, for pods that ask for a \
             sidecar \
             cannot be made until then"
        ),
    )
}

fn running(deployment: &Deployment, pods: &[Pod], facts: &Facts) -> Finding {
    let name = facts.names.control();
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let ready = deployment
        .status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0);
    let found = format!("{ready} of {wanted} replicas of {name} are ready");
    if ready >= wanted && ready > 0 {
        return Finding::ok(CHECK, found);
    }
    let troubles: Vec<String> = pods.iter().filter_map(trouble).collect();
    let message = match troubles.is_empty() {
        true => found,
        false => format!("{found}: {}", troubles.join("; ")),
    };
    let advice = format!(
        "kubectl describe pods -n {} -l app.kubernetes.io/name=weir-control",
        facts.names.namespace
    );
    if ready > 0 {
        Finding::warning(CHECK, message, advice)
    } else {
        Finding::failure(CHECK, message, advice)
    }
}

/// Why a pod is not ready, in its own words.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let statuses = status.container_statuses.iter().flatten();
    let mut waiting = statuses.filter_map(|container| waits(container.state.as_ref()?));
    let condition = |kind: &str| {
        let mut conditions = status.conditions.iter().flatten();
        let found = conditions.find(|one| one.type_ == kind && one.status != "True")?;
        found.message.clone().or_else(|| found.reason.clone())
    };
    let why = waiting
        .next()
        .or_else(|| condition("PodScheduled"))
        .or_else(|| condition("Ready"))?;
    Some(format!("{}: {why}", name_of(pod)))
}

fn waits(state: &ContainerState) -> Option<String> {
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.clone().unwrap_or_default();
    match &waiting.message {
        Some(message) => Some(format!("{reason} ({message})")),
        None => Some(reason),
    }
}

fn reachable(slices: &[EndpointSlice], facts: &Facts) -> Finding {
    let service = facts.names.control();
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter());
    let is_ready = |conditions: Option<bool>| conditions.unwrap_or(true);
    let ready = endpoints
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|one| one.ready)))
        .count();
    if ready > 0 {
        return Finding::ok(
            CHECK,
            format!("Service {service} leads to {ready} ready endpoints"),
        );
    }
    Finding::failure(
        CHECK,
        format!(
            "Service {service} in {} leads nowhere: it has no ready endpoint",
            facts.names.namespace
        ),
        "see that the control plane's pods are ready and that the Service selects them",
    )
}
