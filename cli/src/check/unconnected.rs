//! Sidecars that never reached the control plane, and what in their pods would explain it.
//!
//! The control plane finds them and says so in an Event at each pod; here is looked for the cause.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::Namespace,
        events::v1::Event,
        networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::core::{Selector, SelectorExt as _};
use serde_json::Value;
use weir_api::{
    ports,
    sidecar::{PROXY_CONTAINER, env},
};

use super::{
    Names,
    facts::{Facts, name_of},
    finding::Finding,
};

const CHECK: &str = "pods";
/// Pods that are named one by one.
const NAMED: usize = 10;
/// Port of DNS.
const DNS: i32 = 53;

/// Namespace and name of pods, and the uid, where the Event has it.
pub(super) type Accused = BTreeMap<(String, String), Option<String>>;

/// The pods that Events speak of.
pub(super) fn accused(events: &[Event]) -> Accused {
    let pods = events.iter().filter_map(|event| {
        let pod = event
            .regarding
            .as_ref()
            .filter(|it| it.kind.as_deref() == Some("Pod"))?;
        Some(((pod.namespace.clone()?, pod.name.clone()?), pod.uid.clone()))
    });
    pods.collect()
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let (pods, policies) = match (&facts.unconnected, &facts.pods, &facts.policies) {
        (Err(unread), ..) | (_, _, Err(unread)) => return vec![unread.finding(CHECK)],
        (Ok(_), Err(_), _) => return Vec::new(),
        (Ok(_), Ok(census), Ok(policies)) => (&census.unconnected, policies),
    };
    let mut findings: Vec<Finding> = pods
        .iter()
        .take(NAMED)
        .map(|pod| finding(pod, policies, facts))
        .collect();
    let more = pods.len().saturating_sub(NAMED);
    if more > 0 {
        findings.push(Finding::warning(
            CHECK,
            format!("the sidecars of {more} more pods never reached the control plane"),
            "kubectl get events -A --field-selector reason=SidecarUnconnected",
        ));
    }
    findings
}

fn finding(pod: &Value, policies: &[NetworkPolicy], facts: &Facts) -> Finding {
    let text = |path: &str| {
        pod.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let namespaces = facts.namespaces.as_deref().unwrap_or_default();
    let causes = causes(pod, policies, namespaces, &facts.names);
    let why = match causes.is_empty() {
        true => "nothing in the pod or its network policies explains it".to_owned(),
        false => causes.join("; "),
    };
    Finding::warning(
        CHECK,
        format!("the sidecar of {namespace}/{name} never reached the control plane: {why}"),
        format!(
            "kubectl logs -n {namespace} {name} -c {PROXY_CONTAINER} says what fails, once a minute"
        ),
    )
}

/// What keeps the sidecar of a pod from the control plane, as far as objects tell.
pub(super) fn causes(
    pod: &Value,
    policies: &[NetworkPolicy],
    namespaces: &[Namespace],
    names: &Names,
) -> Vec<String> {
    let target = control_plane(pod).unwrap_or_default();
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    let mut causes = Vec::new();
    let expected = format!("{}.{}.svc", names.control(), names.namespace);
    if host != expected && !host.starts_with(&format!("{expected}.")) {
        causes.push(format!(
            "it looks for {host:?}, and the control plane is {expected}"
        ));
    }
    causes.extend(dns(&pod["spec"], host));
    let egress: Vec<&NetworkPolicy> = policies.iter().filter(|it| holds_in(it, pod)).collect();
    if !egress.is_empty() {
        let all: Vec<&str> = egress.iter().map(|policy| name_of(*policy)).collect();
        let all = all.join(", ");
        let rules = || {
            egress
                .iter()
                .flat_map(|it| it.spec.iter().flat_map(|spec| spec.egress.iter().flatten()))
        };
        let to_control = |peer: &NetworkPolicyPeer| leads_to(peer, pod, namespaces, names);
        if !rules()
            .any(|rule| has_port(rule, ports::XDS_TLS.into(), "TCP") && has_peer(rule, to_control))
        {
            let (port, to) = (ports::XDS_TLS, &names.namespace);
            causes.push(format!(
                "NetworkPolicy {all} lets it out, but not to port {port} in {to}"
            ));
        }
        if !rules().any(|rule| has_port(rule, DNS, "UDP")) {
            causes.push(format!(
                "NetworkPolicy {all} lets it out, but not to port {DNS}: it finds no name"
            ));
        }
    }
    causes
}

/// `host:port` that the sidecar was told.
fn control_plane(pod: &Value) -> Option<&str> {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let lists = lists
        .into_iter()
        .filter_map(|list| pod.pointer(list)?.as_array());
    let mut containers = lists.flatten();
    let sidecar = containers.find(|container| container["name"] == PROXY_CONTAINER)?;
    let mut variables = sidecar["env"].as_array()?.iter();
    variables.find(|it| it["name"] == env::CONTROL_PLANE)?["value"].as_str()
}

/// Why the pod's resolver would not know the host.
fn dns(spec: &Value, host: &str) -> Option<String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let aliases = spec["hostAliases"].as_array().into_iter().flatten();
    let mut aliases = aliases.filter(|alias| {
        alias["hostnames"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name == host))
    });
    if let Some(alias) = aliases.next() {
        let ip = alias["ip"].as_str().unwrap_or_default();
        return Some(format!("its hostAliases send {host} to {ip}"));
    }
    match spec["dnsPolicy"].as_str() {
        Some("Default") => Some(format!(
            "its dnsPolicy is Default, and the resolver of its node does not know {host}"
        )),
        Some("None") => Some(format!(
            "its dnsPolicy is None, and the nameservers of its dnsConfig may not know {host}"
        )),
        _ => None,
    }
}

/// Whether the policy limits what the pod may reach.
fn holds_in(policy: &NetworkPolicy, pod: &Value) -> bool {
    let Some(spec) = &policy.spec else {
        return false;
    };
    let is_egress = match &spec.policy_types {
        Some(types) => types.iter().any(|kind| kind == "Egress"),
        None => spec.egress.is_some(),
    };
    let labels = serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap_or_default();
    let selector = spec.pod_selector.clone().unwrap_or_default();
    is_egress
        && policy.metadata.namespace.as_deref() == pod["metadata"]["namespace"].as_str()
        && selects(&selector, &labels)
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// Whether a rule speaks of the port. A name of a port may be any.
fn has_port(rule: &NetworkPolicyEgressRule, wanted: i32, protocol: &str) -> bool {
    let ports = rule.ports.as_deref().unwrap_or_default();
    let fits = |it: &k8s_openapi::api::networking::v1::NetworkPolicyPort| {
        let spoken = it.protocol.as_deref().unwrap_or("TCP") == protocol;
        spoken
            && match &it.port {
                None | Some(IntOrString::String(_)) => true,
                Some(IntOrString::Int(first)) => {
                    (*first..=it.end_port.unwrap_or(*first)).contains(&wanted)
                }
            }
    };
    ports.is_empty() || ports.iter().any(fits)
}

/// Whether a rule speaks of somebody for whom `is_one` says so.
fn has_peer(rule: &NetworkPolicyEgressRule, is_one: impl Fn(&NetworkPolicyPeer) -> bool) -> bool {
    let peers = rule.to.as_deref().unwrap_or_default();
    peers.is_empty() || peers.iter().any(is_one)
}

/// Whether the control plane may be meant. Nobody knows which addresses it has.
fn leads_to(
    peer: &NetworkPolicyPeer,
    pod: &Value,
    namespaces: &[Namespace],
    names: &Names,
) -> bool {
    if peer.ip_block.is_some() {
        return true;
    }
    match &peer.namespace_selector {
        None => pod["metadata"]["namespace"] == names.namespace.as_str(),
        Some(selector) => {
            let mut of_weir = namespaces
                .iter()
                .filter(|it| name_of(*it) == names.namespace);
            of_weir.any(|it| {
                selects(
                    selector,
                    it.metadata.labels.as_ref().unwrap_or(&BTreeMap::new()),
                )
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn object<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("as the API has it")
    }

    fn pod(spec: &Value, target: &str) -> Value {
        let mut pod = json!({"metadata": {"namespace": "shop", "name": "web", "labels": {"app": "web"}},
                             "spec": spec});
        pod["spec"]["initContainers"] = json!([{"name": "weir-proxy", "env": [
            {"name": "WEIR_CONTROL_PLANE", "value": target}]}]);
        pod
    }

    fn policy(spec: &Value) -> NetworkPolicy {
        object(json!({"metadata": {"namespace": "shop", "name": "tight"}, "spec": spec}))
    }

    fn found(pod: &Value, policies: &[NetworkPolicy]) -> String {
        let names = Names {
            namespace: "weir-system".to_owned(),
            revision: "default".to_owned(),
        };
        let weir = json!({"metadata": {"name": "weir-system", "labels": {"team": "mesh"}}});
        causes(pod, policies, &[object(weir)], &names).join("; ")
    }

    const TARGET: &str = "weir-control.weir-system.svc:15012";

    #[test]
    fn the_name_and_the_resolver_are_looked_at() {
        assert_eq!(found(&pod(&json!({}), TARGET), &[]), "");
        assert_eq!(
            found(
                &pod(
                    &json!({}),
                    "weir-control.weir-system.svc.cluster.local:15012"
                ),
                &[]
            ),
            ""
        );
        for (spec, target, cause) in [
            (
                json!({}),
                "weir.other.svc:15012",
                "it looks for \"weir.other.svc\"",
            ),
            (
                json!({"dnsPolicy": "Default"}),
                TARGET,
                "dnsPolicy is Default",
            ),
            (json!({"dnsPolicy": "None"}), TARGET, "dnsPolicy is None"),
            (
                json!({"hostAliases": [{"ip": "10.0.0.9", "hostnames": ["weir-control.weir-system.svc"]}]}),
                TARGET,
                "hostAliases send weir-control.weir-system.svc to 10.0.0.9",
            ),
        ] {
            let found = found(&pod(&spec, target), &[]);
            assert!(found.contains(cause), "{cause}: {found}");
        }
    }

    #[test]
    fn network_policies_are_looked_at() {
        let web = pod(&json!({"dnsPolicy": "ClusterFirst"}), TARGET);
        let dns = json!({"ports": [{"protocol": "UDP", "port": 53}]});
        let control = json!({"to": [{"namespaceSelector": {"matchLabels": {"team": "mesh"}}}],
                             "ports": [{"port": 15000, "endPort": 15020}]});
        let elsewhere = json!({"to": [{"namespaceSelector": {"matchLabels": {"team": "x"}}}]});
        for (spec, port, name) in [
            (
                json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
                false,
                false,
            ),
            (
                json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Egress"]}),
                false,
                false,
            ),
            (
                json!({"podSelector": {}, "policyTypes": ["Egress"]}),
                true,
                true,
            ),
            (
                json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}),
                false,
                false,
            ),
            (json!({"podSelector": {}, "egress": [dns]}), true, false),
            (
                json!({"podSelector": {}, "egress": [dns, control]}),
                false,
                false,
            ),
            (json!({"podSelector": {}, "egress": [control]}), false, true),
            (
                json!({"podSelector": {}, "egress": [dns, elsewhere]}),
                true,
                false,
            ),
        ] {
            let said = found(&web, &[policy(&spec)]);
            assert_eq!(said.contains("not to port 15012"), port, "{spec}: {said}");
            assert_eq!(said.contains("not to port 53"), name, "{spec}: {said}");
        }
    }

    #[test]
    fn an_event_accuses_a_pod() {
        let event = json!({"metadata": {}, "eventTime": null, "reason": "SidecarUnconnected",
            "regarding": {"kind": "Pod", "namespace": "shop", "name": "web", "uid": "u"}});
        let accused = accused(&[object(event)]);
        let pod = ("shop".to_owned(), "web".to_owned());
        assert_eq!(accused.get(&pod), Some(&Some("u".to_owned())));
    }
}
