//! Resources that are not the same for every client: who a client is, and what of that makes a
//! difference.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use weir_api::{
    node::{self, NodeId},
    sidecar::PodPort,
    xds::{
        envoy::config::core::v3 as core,
        google::protobuf::{Struct, value::Kind as Value},
    },
};

use super::OutboundMode;
use crate::model::{Caller, Labels, NamespacedName, Snapshot};

/// What a client says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// Its pod, if it is a sidecar.
    pub pod: Option<NamespacedName>,
    /// The addresses of its pod.
    pub addresses: Vec<IpAddr>,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// The ports that the pod's containers declare.
    pub ports: Vec<PodPort>,
    /// Whether it speaks mutual TLS.
    pub mutual_tls: bool,
}

/// What of a client makes a difference to a resource. Clients of equal views share one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// Nothing.
    #[default]
    Everyone,
    /// That it speaks mutual TLS, and who it is, for rules that ask.
    MutualTls(Option<Caller>),
    /// Which pod it is.
    Sidecar(Arc<Client>),
    /// Who it is, for rules that ask.
    Caller(Caller),
    /// Who it is, and what becomes of its connections to what the mesh does not know.
    Outside(Caller, OutboundMode),
    /// What it means by a group of endpoints, and where it is.
    Subset(Labels, Box<View>),
    /// Which zone it is in.
    Zone(Arc<str>),
    /// Which node it is on.
    Node(Arc<str>),
}

/// For whom a resource may differ after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// For everybody.
    All,
    /// For single sidecars.
    Pods {
        /// Those of these pods.
        pods: BTreeSet<NamespacedName>,
        /// And those of pods that the model does not know.
        unknown: bool,
    },
}

// === impl Client ===

impl Client {
    /// Reads what a client says about itself. What cannot be read is left out: such a client is
    /// served like any other.
    #[must_use]
    pub fn of(node: &core::Node) -> Self {
        let Ok(id) = node.id.parse::<NodeId>() else {
            return Self::default();
        };
        let text = |key: &str| node.metadata.as_ref().and_then(|fields| text(fields, key));
        let others = text(node::INSTANCE_IPS).unwrap_or_default().split(',');
        let others = others.filter_map(|address| address.parse().ok());
        let mut addresses: Vec<IpAddr> = std::iter::once(id.ip).chain(others).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let ports = text(node::APP_PORTS).map(serde_json::from_str);
        Self {
            pod: Some(NamespacedName::new(&id.namespace, &id.pod)),
            addresses,
            node: text(node::NODE_NAME)
                .filter(|name| !name.is_empty())
                .map(Arc::from),
            ports: ports.and_then(Result::ok).unwrap_or_default(),
            mutual_tls: text(node::MUTUAL_TLS) == Some(node::MUTUAL_TLS_YES),
        }
    }
}

fn text<'a>(fields: &'a Struct, key: &str) -> Option<&'a str> {
    match fields.fields.get(key)?.kind.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

impl Client {
    /// Its namespace, if it is a sidecar.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.pod.as_ref().map(|pod| &*pod.namespace)
    }
}

// === impl View ===

impl View {
    /// Who the client is, where rules ask.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Caller(caller) | Self::MutualTls(Some(caller)) | Self::Outside(caller, _) => {
                Some(caller)
            }
            Self::Subset(_, place) => place.caller(),
            Self::MutualTls(None) | Self::Everyone | Self::Sidecar(_) => None,
            Self::Zone(_) | Self::Node(_) => None,
        }
    }

    /// The namespace of who calls, where it matters.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.caller().map(|it| &*it.namespace)
    }
}

// === impl Scope ===

impl Scope {
    /// Whether the resource may differ for this client. `snapshot` is the one after the change.
    #[must_use]
    pub fn covers(&self, snapshot: &Snapshot, client: &Client) -> bool {
        match self {
            Self::All => true,
            Self::Pods { pods, unknown } => client.pod.as_ref().is_some_and(|pod| {
                pods.contains(pod) || *unknown && snapshot.pod_named(pod).is_none()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, metadata: &[(&str, &str)]) -> core::Node {
        let value = |text: &str| weir_api::xds::google::protobuf::Value {
            kind: Some(Value::StringValue(text.to_owned())),
        };
        let fields = metadata
            .iter()
            .map(|(key, text)| ((*key).to_owned(), value(text)));
        core::Node {
            id: id.to_owned(),
            metadata: Some(Struct {
                fields: fields.collect(),
            }),
            ..core::Node::default()
        }
    }

    #[test]
    fn a_sidecar_says_its_pod_addresses_node_and_ports() {
        let client = Client::of(&node(
            "sidecar~10.4.0.7~web-0.shop~shop.svc.cluster.local",
            &[
                ("INSTANCE_IPS", "10.4.0.7,fd00::7"),
                ("NODE_NAME", "node-1"),
                ("APP_PORTS", r#"[{"name":"http","containerPort":8080}]"#),
            ],
        ));
        assert_eq!(client.pod, Some(NamespacedName::new("shop", "web-0")));
        assert_eq!(client.addresses.len(), 2);
        assert_eq!(client.node.as_deref(), Some("node-1"));
        assert_eq!(client.ports[0].container_port, 8080);
    }

    #[test]
    fn what_cannot_be_read_is_nobody_in_particular() {
        assert_eq!(Client::of(&node("envoy", &[])), Client::default());
        let id = "sidecar~10.4.0.7~web-0.shop~shop.svc.cluster.local";
        let client = Client::of(&node(id, &[("APP_PORTS", "8080"), ("NODE_NAME", "")]));
        assert!(client.ports.is_empty() && client.node.is_none());
    }

    #[test]
    fn a_scope_covers_its_pods_and_those_that_are_not_known() {
        let of = |name: &str, unknown| Scope::Pods {
            pods: [NamespacedName::new("shop", name)].into(),
            unknown,
        };
        let client = |name: &str| Client {
            pod: Some(NamespacedName::new("shop", name)),
            ..Client::default()
        };
        let nothing = Snapshot::default();
        assert!(of("a", false).covers(&nothing, &client("a")));
        assert!(!of("a", false).covers(&nothing, &client("b")));
        assert!(of("a", true).covers(&nothing, &client("b")));
        assert!(!of("a", true).covers(&nothing, &Client::default()));
        assert!(Scope::All.covers(&nothing, &Client::default()));
    }
}
