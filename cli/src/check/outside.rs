//! Pods of namespaces with sidecars that leave the mesh, and by which means.

use std::fmt;

use serde_json::Value;
use weir_api::{annotations, identity, sidecar};

use super::{facts::Facts, finding::Finding, pods::named};

const CHECK: &str = "outside";
/// What moves over from Istio says this.
const ISTIO_INJECT: &str = "sidecar.istio.io/inject";
/// Annotations that take traffic away from the sidecar.
const EXCLUSIONS: [&str; 7] = [
    annotations::INCLUDE_OUTBOUND_CIDRS,
    annotations::EXCLUDE_OUTBOUND_CIDRS,
    annotations::EXCLUDE_OUTBOUND_PORTS,
    annotations::INCLUDE_INBOUND_PORTS,
    annotations::EXCLUDE_INBOUND_PORTS,
    annotations::EXCLUDE_INTERFACES,
    annotations::CAPTURE_MODE,
];
/// Capabilities by which a container may change the rules of its pod.
const RIGHTS: [&str; 5] = [
    "NET_ADMIN",
    "SYS_ADMIN",
    "ALL",
    "CAP_NET_ADMIN",
    "CAP_SYS_ADMIN",
];

/// How a pod leaves the mesh, in the words of `admissionPolicy.refuse` of the chart, which refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Means {
    /// A label or annotation of the pod asks for no sidecar.
    Label,
    /// The host's network has none.
    HostNetwork,
    /// An annotation takes traffic away from the sidecar.
    Exclusions,
    /// A container runs as the sidecar's user or group, whose connections are not captured.
    ProxyUser,
    /// A container may change the rules that capture.
    NetAdmin,
}

/// The means that a pod uses, in a namespace whose pods are injected. `istio_labels`: Istio's labels count.
pub(super) fn means(pod: &Value, has_sidecar: bool, istio_labels: bool) -> Vec<Means> {
    let says = |of: &str, key: &str| pod.pointer(of).and_then(|all| all.get(key));
    let is_false = |of: &str, key: &str| says(of, key).and_then(Value::as_str) == Some("false");
    let (labels, notes) = ("/metadata/labels", "/metadata/annotations");
    let opts_out = is_false(labels, annotations::INJECT)
        || is_false(notes, annotations::INJECT)
        || istio_labels && is_false(labels, ISTIO_INJECT);
    let host_network = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let found = match has_sidecar {
        false => vec![
            (Means::Label, opts_out),
            (Means::HostNetwork, host_network && !opts_out),
        ],
        true => vec![
            (
                Means::Exclusions,
                EXCLUSIONS.iter().any(|key| says(notes, key).is_some()),
            ),
            (Means::ProxyUser, any(pod, is_proxy_user)),
            (
                Means::NetAdmin,
                any(pod, |_, container| has_rights(container)),
            ),
        ],
    };
    let used = found.into_iter().filter(|(_, used)| *used);
    used.map(|(means, _)| means).collect()
}

/// Whether any container that is not ours is so. An ephemeral one is never ours.
fn any(pod: &Value, is_so: impl Fn(&Value, &Value) -> bool) -> bool {
    let lists = [
        ("/spec/containers", true),
        ("/spec/initContainers", true),
        ("/spec/ephemeralContainers", false),
    ];
    lists.into_iter().any(|(path, may_be_ours)| {
        let containers = pod.pointer(path).and_then(Value::as_array);
        let mut containers = containers.into_iter().flatten();
        containers.any(|container| !(may_be_ours && is_ours(container)) && is_so(pod, container))
    })
}

fn is_ours(container: &Value) -> bool {
    let name = container.get("name").and_then(Value::as_str);
    [sidecar::PROXY_CONTAINER, sidecar::INIT_CONTAINER]
        .map(Some)
        .contains(&name)
}

/// What a container says counts before what its pod says.
fn is_proxy_user(pod: &Value, container: &Value) -> bool {
    let is = |key: &str, id: u32| {
        let own = container.pointer(&format!("/securityContext/{key}"));
        let said = own.or_else(|| pod.pointer(&format!("/spec/securityContext/{key}")));
        said.and_then(Value::as_u64) == Some(id.into())
    };
    is("runAsUser", identity::PROXY_UID) || is("runAsGroup", identity::PROXY_GID)
}

fn has_rights(container: &Value) -> bool {
    let privileged = container.pointer("/securityContext/privileged");
    let added = container.pointer("/securityContext/capabilities/add");
    let mut added = added.and_then(Value::as_array).into_iter().flatten();
    privileged == Some(&Value::Bool(true))
        || added.any(|name| name.as_str().is_some_and(|name| RIGHTS.contains(&name)))
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Ok(census) = &facts.pods else {
        // It was said already.
        return Vec::new();
    };
    let found = census.outside.iter();
    found
        .map(|(means, pods)| {
            let message = format!("outside of the mesh, {means}: {}", named(pods));
            // What somebody decided for the whole pod and can be read from it is no fault.
            match means {
                Means::Label | Means::HostNetwork => Finding::ok(CHECK, message),
                Means::Exclusions | Means::ProxyUser | Means::NetAdmin => Finding::warning(
                    CHECK,
                    message,
                    format!(
                        "if that is not meant to be, refuse it: admissionPolicy.refuse={{{}}} of \
                         the chart",
                        means.word()
                    ),
                ),
            }
        })
        .collect()
}

// === impl Means ===

impl Means {
    /// The word of the chart.
    fn word(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::HostNetwork => "host-network",
            Self::Exclusions => "exclusions",
            Self::ProxyUser => "proxy-user",
            Self::NetAdmin => "net-admin",
        }
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Label => "by a label of their own",
            Self::HostNetwork => "on the host's network",
            Self::Exclusions => "in part, by annotations that exclude traffic",
            Self::ProxyUser => "in part, with a container that runs as 1337, the sidecar's user",
            Self::NetAdmin => "if they like, with a container that may change iptables",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_means_is_seen_and_what_is_ours_is_none() {
        let sidecar = json!({"name": "weir-proxy", "securityContext": {"runAsUser": 1337}});
        let init = json!({"name": "weir-init",
            "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}});
        let meshed = |metadata: Value, app: Value, ephemeral: Value| {
            json!({"metadata": metadata, "spec": {"initContainers": [init], "containers": [app, sidecar],
                "ephemeralContainers": ephemeral}})
        };
        let app = |context: Value| json!({"name": "app", "securityContext": context});
        let plain = app(json!({}));
        for (pod, expected) in [
            (meshed(json!({}), plain.clone(), json!([])), vec![]),
            (
                meshed(
                    json!({"annotations": {"weir.dev/exclude-outbound-ports": "5432"}}),
                    plain.clone(),
                    json!([]),
                ),
                vec![Means::Exclusions],
            ),
            (
                meshed(json!({}), app(json!({"runAsUser": 1337})), json!([])),
                vec![Means::ProxyUser],
            ),
            (
                meshed(
                    json!({}),
                    app(json!({"runAsGroup": 1337, "privileged": true})),
                    json!([]),
                ),
                vec![Means::ProxyUser, Means::NetAdmin],
            ),
            (
                // The name of ours helps an ephemeral container nothing.
                meshed(json!({}), plain, json!([sidecar])),
                vec![Means::ProxyUser],
            ),
        ] {
            assert_eq!(means(&pod, true, false), expected, "{pod}");
        }
        let alone = |metadata: Value, spec: Value| json!({"metadata": metadata, "spec": spec});
        for (pod, expected) in [
            (alone(json!({}), json!({})), vec![]),
            (
                alone(
                    json!({"labels": {"weir.dev/inject": "false"}}),
                    json!({"hostNetwork": true}),
                ),
                vec![Means::Label],
            ),
            (
                alone(json!({}), json!({"hostNetwork": true})),
                vec![Means::HostNetwork],
            ),
        ] {
            assert_eq!(means(&pod, false, true), expected, "{pod}");
        }
    }

    #[test]
    fn istios_label_counts_where_it_is_honoured() {
        let pod = json!({"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}});
        assert_eq!(means(&pod, false, true), [Means::Label]);
        assert_eq!(means(&pod, false, false), []);
    }

    #[test]
    fn a_container_decides_before_its_pod() {
        let pod = |own: Value| {
            json!({"spec": {"securityContext": {"runAsUser": 1337}, "containers": [
                {"name": "app", "securityContext": own}]}})
        };
        assert_eq!(means(&pod(json!({})), true, false), [Means::ProxyUser]);
        assert_eq!(means(&pod(json!({"runAsUser": 1000})), true, false), []);
    }
}
