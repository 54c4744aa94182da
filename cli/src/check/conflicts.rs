//! What is known to get in the way: other meshes, Cilium's socket load balancer, PodSecurity, CNI
//! plugins.

use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{ConfigMap, Namespace},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use weir_api::sidecar;

use super::{
    facts::{Facts, name_of},
    finding::Finding,
    nodes::shorten,
};

const CHECK: &str = "conflicts";
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

/// Another mesh that puts proxies into pods.
struct Mesh {
    name: &'static str,
    /// How the names of its webhooks end.
    webhooks: &'static str,
    /// Labels and annotations by which a namespace asks for it, and the values that do not.
    marks: &'static [(&'static str, &'static [&'static str])],
}

const MESHES: [Mesh; 4] = [
    Mesh {
        name: "Istio",
        webhooks: ".istio.io",
        marks: &[
            ("istio-injection", &["disabled"]),
            ("istio.io/rev", &[]),
            ("istio.io/dataplane-mode", &["none"]),
        ],
    },
    Mesh {
        name: "Linkerd",
        webhooks: ".linkerd.io",
        marks: &[("linkerd.io/inject", &["disabled"])],
    },
    Mesh {
        name: "Kuma",
        webhooks: "kuma.io",
        marks: &[("kuma.io/sidecar-injection", &["disabled", "false"])],
    },
    Mesh {
        name: "Consul",
        webhooks: "consul.hashicorp.com",
        marks: &[("connect-inject", &["disabled"])],
    },
];

/// DaemonSets that program the network of pods for another mesh.
const CNI_PLUGINS: [&str; 3] = ["istio-cni-node", "linkerd-cni", "kuma-cni-node"];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![match &facts.cilium {
        Err(unread) => unread.finding(CHECK),
        Ok(configs) => cilium(configs),
    }];
    findings.extend(meshes(facts));
    findings.push(pod_security(facts));
    match &facts.daemon_sets {
        Err(unread) => findings.push(unread.finding(CHECK)),
        Ok(sets) => findings.extend(plugins(sets)),
    }
    findings
}

fn cilium(configs: &[ConfigMap]) -> Finding {
    let says = |key: &str, values: &[&str]| {
        let mut data = configs
            .iter()
            .filter_map(|config| config.data.as_ref()?.get(key));
        data.any(|value| values.contains(&value.as_str()))
    };
    let in_pods = says("kube-proxy-replacement", &["true", "strict"])
        || says("bpf-lb-sock", &["true"])
        || says("enable-host-reachable-services", &["true"]);
    if configs.is_empty() {
        Finding::ok(
            CHECK,
            "the network is not Cilium's, which may rewrite addresses in the pod's sockets",
        )
    } else if in_pods && !says("bpf-lb-sock-hostns-only", &["true"]) {
        Finding::failure(
            CHECK,
            "Cilium's socket load balancer replaces Services' addresses before a sidecar can see \
             them",
            "helm upgrade cilium cilium/cilium -n kube-system --reuse-values --set \
             socketLB.hostNamespaceOnly=true, \
             then restart the Cilium pods and the pods with sidecars",
        )
    } else {
        Finding::ok(
            CHECK,
            "Cilium leaves the addresses of Services to the sidecars",
        )
    }
}

fn meshes(facts: &Facts) -> Vec<Finding> {
    let webhooks = match &facts.mutating {
        Ok(webhooks) => webhooks,
        Err(unread) => return vec![unread.finding(CHECK)],
    };
    let is_there = |mesh: &&Mesh| {
        let mut entries = webhooks
            .iter()
            .flat_map(|one| one.webhooks.iter().flatten());
        entries.any(|entry| entry.name.ends_with(mesh.webhooks))
    };
    MESHES
        .iter()
        .filter(is_there)
        .map(|mesh| beside(mesh, facts))
        .collect()
}

fn beside(mesh: &Mesh, facts: &Facts) -> Finding {
    let both = facts
        .meshed()
        .filter(|(_, namespace)| asks_for(mesh, &namespace.metadata));
    let both: Vec<&str> = both.map(|(name, _)| name).collect();
    let name = mesh.name;
    if both.is_empty() {
        return Finding::ok(
            CHECK,
            format!("{name} is installed, too, and no namespace asks for both"),
        );
    }
    let (mark, _) = mesh.marks[0];
    Finding::failure(
        CHECK,
        format!(
            "pods in {} get a sidecar of {name} beside Weir's",
            shorten(&both)
        ),
        format!(
            "take the label or annotation {mark} (or its like) from the namespaces that move to \
             Weir"
        ),
    )
}

fn asks_for(mesh: &Mesh, namespace: &ObjectMeta) -> bool {
    let marked = |key: &str, no: &[&str]| {
        let labels = namespace.labels.as_ref().and_then(|labels| labels.get(key));
        let value = labels.or_else(|| namespace.annotations.as_ref()?.get(key));
        value.is_some_and(|value| !no.contains(&value.as_str()))
    };
    mesh.marks.iter().any(|(key, no)| marked(key, no))
}

fn pod_security(facts: &Facts) -> Finding {
    if let Err(unread) = &facts.namespaces {
        return unread.finding(CHECK);
    }
    let is_strict = |namespace: &Namespace| {
        let level = namespace
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(POD_SECURITY));
        level.is_some_and(|level| ["baseline", "restricted"].contains(&level.as_str()))
    };
    let strict = facts.meshed().filter(|(_, namespace)| is_strict(namespace));
    let strict: Vec<&str> = strict.map(|(name, _)| name).collect();
    if strict.is_empty() {
        return Finding::ok(
            CHECK,
            "PodSecurity refuses sidecars in no namespace that asks for them",
        );
    }
    Finding::failure(
        CHECK,
        format!(
            "PodSecurity refuses pods with sidecars in {}: {} needs NET_ADMIN",
            shorten(&strict),
            sidecar::INIT_CONTAINER
        ),
        format!(
            "kubectl label namespace {} {POD_SECURITY}=privileged --overwrite",
            strict[0]
        ),
    )
}

fn plugins(sets: &[DaemonSet]) -> Option<Finding> {
    let found = sets
        .iter()
        .map(name_of)
        .filter(|name| CNI_PLUGINS.contains(name));
    let found: Vec<&str> = found.collect();
    (!found.is_empty()).then(|| {
        Finding::warning(
            CHECK,
            format!(
                "another mesh programs pods' networks by a CNI plugin: {}",
                found.join(", ")
            ),
            "see that it leaves alone the namespaces that ask for Weir",
        )
    })
}
