//! `v1.Pod` to [`Pod`].

use std::{collections::BTreeMap, net::IpAddr};

use super::{Problem, Problems, probe, wire};
use crate::model::{Interner, Pod, Workload};

/// The service account of a pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// Reads a Pod. `None` if it has no name, or has ended and with it the right to its addresses.
pub fn pod(pod: &wire::Pod, names: &Interner, problems: &mut Vec<Problem>) -> Option<Pod> {
    let mut problems = Problems::of("Pod", &pod.metadata, problems);
    let name = problems.name(names)?;
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    let spec = pod.spec.as_ref();
    let annotations = pod.metadata.annotations.as_ref();
    let probes = spec.map(|spec| probe::of(spec, names)).unwrap_or_default();
    let node_addresses = match probes.is_empty() {
        true => Vec::new(),
        false => node_addresses(status),
    };
    let account = spec.and_then(|spec| spec.service_account_name.as_deref());
    let account = account.filter(|account| !account.is_empty());
    Some(Pod {
        workload: workload(&pod.metadata, names),
        addresses: addresses(status, &mut problems),
        sidecar: annotations.is_some_and(wire::Annotations::say_sidecar),
        mutual_tls: annotations.is_some_and(wire::Annotations::say_mutual_tls),
        labels: names.labels(pod.metadata.labels.as_ref().unwrap_or(&BTreeMap::new())),
        service_account: names.text(account.unwrap_or(DEFAULT_ACCOUNT)),
        ready: pod_is_ready(pod),
        probes: names.probes(&probes),
        node_addresses,
        host_network: spec.and_then(|spec| spec.host_network) == Some(true),
        node: spec
            .and_then(|spec| spec.node_name.as_deref())
            .map(|node| names.text(node)),
        name,
    })
}

/// Whether a pod says it takes traffic.
#[must_use]
pub fn pod_is_ready(pod: &wire::Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn addresses(status: Option<&wire::PodStatus>, problems: &mut Problems) -> Vec<IpAddr> {
    let Some(status) = status else {
        return Vec::new();
    };
    let first = status
        .pod_ip
        .iter()
        .map(|text| ("status.podIP".to_owned(), text));
    let all = status.pod_ips.iter().flatten().enumerate();
    let all = all.map(|(at, text)| (format!("status.podIPs[{at}].ip"), &text.ip));
    let mut addresses = Vec::new();
    for (field, text) in first.chain(all).filter(|(_, text)| !text.is_empty()) {
        match text.parse() {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(_) => problems.push(field, format!("{text:?} is not an IP address")),
        }
    }
    // Kept for as long as the pod is: no room for more.
    addresses.shrink_to_fit();
    addresses
}

/// The addresses of its node, which the kubelet writes.
fn node_addresses(status: Option<&wire::PodStatus>) -> Vec<IpAddr> {
    let first = status.and_then(|status| status.host_ip.as_ref());
    let all = status.and_then(|status| status.host_ips.as_ref());
    let all = all.into_iter().flatten().map(|it| &it.ip);
    let all = first.into_iter().chain(all);
    let mut addresses: Vec<IpAddr> = all.filter_map(|text| text.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.shrink_to_fit();
    addresses
}

/// What owns a pod, as people name it. The names of a ReplicaSet of a Deployment and of a Job of a
/// CronJob end in what their owner appended, so the owner's name needs no second look-up.
#[must_use]
pub fn workload(meta: &wire::Meta, names: &Interner) -> Workload {
    let named = |kind: &str, name: &str| Workload {
        kind: names.text(kind),
        name: names.text(name),
    };
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let controls = |owner: &&_| controller(owner);
    let Some(owner) = owners.iter().find(controls).or_else(|| owners.first()) else {
        return named("Pod", meta.name.as_deref().unwrap_or_default());
    };
    let hash = meta
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    let deployment =
        hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    match (owner.kind.as_str(), deployment) {
        ("ReplicaSet", Some(name)) => named("Deployment", name),
        ("Job", _) => match cron_job(&owner.name) {
            Some(name) => named("CronJob", name),
            None => named("Job", &owner.name),
        },
        (kind, _) => named(kind, &owner.name),
    }
}

fn controller(owner: &wire::OwnerReference) -> bool {
    owner.controller == Some(true)
}

/// The CronJob controller appends the minute a Job was due, counted since 1970: eight digits or
/// more for every minute since 1989.
fn cron_job(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    (minute.len() >= 8 && minute.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_belongs_to_what_people_created() {
        let names = Interner::default();
        for (kind, owner, hash, expected) in [
            ("ReplicaSet", "cart-7d9f", Some("7d9f"), "Deployment/cart"),
            ("ReplicaSet", "cart-7d9f", None, "ReplicaSet/cart-7d9f"),
            ("StatefulSet", "db", None, "StatefulSet/db"),
            ("Job", "report-28373160", None, "CronJob/report"),
            ("Job", "migrate-3", None, "Job/migrate-3"),
        ] {
            let meta = wire::Meta {
                labels: hash.map(|hash| [("pod-template-hash".into(), hash.into())].into()),
                owner_references: Some(vec![wire::OwnerReference {
                    kind: kind.into(),
                    name: owner.into(),
                    ..wire::OwnerReference::default()
                }]),
                ..wire::Meta::default()
            };
            assert_eq!(workload(&meta, &names).to_string(), expected);
        }
        let alone = wire::Meta {
            name: Some("once".into()),
            ..wire::Meta::default()
        };
        assert_eq!(workload(&alone, &names).to_string(), "Pod/once");
    }
}
