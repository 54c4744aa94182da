//! Identity of a sidecar towards the control plane: the `node.id` of its xDS stream.

use std::{fmt, net::IpAddr, str::FromStr};

/// `sidecar~<pod ip>~<pod>.<namespace>~<namespace>.svc.<cluster domain>`, as Istio writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// First address of the pod.
    pub ip: IpAddr,
    /// Name of the pod.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Domain of the cluster, `cluster.local` unless configured otherwise.
    pub cluster_domain: String,
}

/// Key of the node's metadata: all addresses of the pod, comma-separated.
pub const INSTANCE_IPS: &str = "INSTANCE_IPS";
/// Key of the node's metadata: name of the node that the pod is on.
pub const NODE_NAME: &str = "NODE_NAME";
/// Key of the node's metadata: the ports that the pod's containers declare, a JSON list of
/// [`crate::sidecar::PodPort`].
pub const APP_PORTS: &str = "APP_PORTS";

/// Key of the node's metadata: [`MUTUAL_TLS_YES`] where the sidecar has a certificate of its own, or
/// will have one, and speaks mutual TLS both ways.
pub const MUTUAL_TLS: &str = "MUTUAL_TLS";
/// See [`MUTUAL_TLS`].
pub const MUTUAL_TLS_YES: &str = "true";

/// A `node.id` that is not of the form of [`NodeId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node id {0:?} is not sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>")]
pub struct NodeIdError(String);

// === impl NodeId ===

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ip,
            pod,
            namespace,
            cluster_domain,
        } = self;
        write!(
            f,
            "sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.{cluster_domain}"
        )
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| NodeIdError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<NodeId> {
    let mut parts = text.split('~');
    let (kind, ip, name, domain) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if kind != "sidecar" || parts.next().is_some() {
        return None;
    }
    // Pod names may hold dots, namespaces may not.
    let (pod, namespace) = name.rsplit_once('.')?;
    let cluster_domain = domain.strip_prefix(namespace)?.strip_prefix(".svc.")?;
    let named = |part: &str| (!part.is_empty()).then(|| part.to_owned());
    Some(NodeId {
        ip: ip.parse().ok()?,
        pod: named(pod)?,
        namespace: named(namespace)?,
        cluster_domain: named(cluster_domain)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_round_trip_and_pod_names_may_hold_dots() {
        for text in [
            "sidecar~10.4.0.7~web-0~x",
            "sidecar~10.4.0.7~web-0.shop~other.svc.cluster.local",
            "router~10.4.0.7~web-0.shop~shop.svc.cluster.local",
            "sidecar~10.4.0.7~.shop~shop.svc.cluster.local",
            "",
        ] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
        for text in [
            "sidecar~10.4.0.7~web-0.shop~shop.svc.cluster.local",
            "sidecar~fd00::7~web.v1-0.shop~shop.svc.cluster.local",
        ] {
            let node: NodeId = text.parse().expect("node id");
            assert_eq!(node.to_string(), text);
            assert_eq!(node.namespace, "shop");
        }
    }
}
