//! The webhook configurations, as far as they can be read: what they trust and what happens without
//! them.

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{MutatingWebhook, WebhookClientConfig},
};

use super::{facts::Facts, finding::Finding};

const CHECK: &str = "webhooks";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(injector) = facts.injector() else {
        return Vec::new();
    };
    let entries: Vec<&MutatingWebhook> = injector.webhooks.iter().flatten().collect();
    let mut findings = vec![bundles(&entries, facts), failure_policy(&entries)];
    findings.extend(elsewhere(&entries, facts));
    findings.extend(configuration(facts));
    findings
}

/// What is wrong with the injector's configuration, if anything.
fn configuration(facts: &Facts) -> Option<Finding> {
    let name = facts.names.config_map();
    let (problem, advice) = match (&facts.config, &facts.scope.bad_config) {
        (Err(unread), _) => return Some(unread.finding(CHECK)),
        (_, Some(reason)) => (
            format!("ConfigMap {name} cannot be used: {reason}"),
            "mend it; until then the control plane goes by the one it read last, or by its \
             defaults",
        ),
        (Ok(None), None) => (
            format!("there is no ConfigMap {name} in {}", facts.names.namespace),
            "install the chart again: it makes the ConfigMap",
        ),
        (Ok(Some(_)), None) => return None,
    };
    Some(Finding::failure(CHECK, problem, advice))
}

/// Every bundle of the injector's and the validator's configurations.
pub(super) fn all_bundles(facts: &Facts) -> Vec<&ByteString> {
    let injector = facts
        .injector()
        .into_iter()
        .flat_map(|one| one.webhooks.iter().flatten());
    let validator = facts
        .validator()
        .into_iter()
        .flat_map(|one| one.webhooks.iter().flatten());
    let clients = injector.map(|entry| &entry.client_config);
    let clients = clients.chain(validator.map(|entry| &entry.client_config));
    clients
        .filter_map(|client| client.ca_bundle.as_ref())
        .collect()
}

fn bundles(entries: &[&MutatingWebhook], facts: &Facts) -> Finding {
    let without: Vec<&str> = entries
        .iter()
        .filter(|entry| bundle(&entry.client_config).is_none())
        .map(|entry| entry.name.as_str())
        .collect();
    if without.is_empty() {
        return Finding::ok(
            CHECK,
            format!(
                "all {} webhooks of the injector have a caBundle",
                entries.len()
            ),
        );
    }
    Finding::failure(
        CHECK,
        format!(
            "no caBundle in {}: the API server will refuse the injector's certificate",
            without.join(", ")
        ),
        format!(
            "the control plane writes it; read its log (kubectl logs -n {} deploy/{}) and see \
             that it may patch {}",
            facts.names.namespace,
            facts.names.control(),
            facts.names.injector()
        ),
    )
}

fn bundle(client: &WebhookClientConfig) -> Option<&ByteString> {
    client
        .ca_bundle
        .as_ref()
        .filter(|bundle| !bundle.0.is_empty())
}

fn failure_policy(entries: &[&MutatingWebhook]) -> Finding {
    if entries
        .iter()
        .all(|entry| entry.failure_policy.as_deref() != Some("Ignore"))
    {
        return Finding::ok(
            CHECK,
            "no pod starts without the sidecar it asks for (failurePolicy: Fail)",
        );
    }
    Finding::warning(
        CHECK,
        "with failurePolicy: Ignore pods start without a sidecar while no control plane answers",
        "set webhooks.failurePolicy=Fail in the chart's values, unless that is what you want",
    )
}

/// A webhook that does not lead to the control plane of this namespace.
fn elsewhere(entries: &[&MutatingWebhook], facts: &Facts) -> Option<Finding> {
    let mut services = entries
        .iter()
        .filter_map(|entry| entry.client_config.service.as_ref());
    let other = services.find(|service| service.namespace != facts.names.namespace)?;
    Some(Finding::failure(
        CHECK,
        format!(
            "the webhooks lead to Service {} in {}",
            other.name, other.namespace
        ),
        format!(
            "name the control plane's namespace: weir check --namespace {}",
            other.namespace
        ),
    ))
}
