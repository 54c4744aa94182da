//! The sidecar's bootstrap, in the words of Envoy's API. Real Envoy takes it too.
//!
//! Everything passes as it came: no header added or rewritten, no timeout and no limit that the
//! application would notice, but for heads of requests, which strangers could fill a sidecar with.

use std::{
    io::{self, Write as _},
    net::IpAddr,
};

use anyhow::Context;
use serde_json::{Value, json};
use weir_api::{
    inbound_demands::InboundDemands,
    inbound_tls::{Served, TlsMode},
    names, ports,
    sidecar::PodPort,
    spiffe::TrustDomain,
    xds::{
        codec,
        envoy::config::{bootstrap::v3 as proto, listener::v3::Listener},
        json::{self as text, JsonError},
    },
};

use crate::{failure::Failure, limits::Limits};

mod inbound;
mod outbound;
mod overload;
mod parts;
mod probe;
mod refused;
mod tls;

use parts::address;

/// Cluster of the control plane.
const CONTROL_PLANE_CLUSTER: &str = "xds-grpc";

/// What the bootstrap is made from.
#[derive(Debug)]
pub(super) struct Sidecar<'a> {
    /// `envoy.config.core.v3.Node`
    pub(super) node: Value,
    /// Ports of the application.
    pub(super) ports: &'a [PodPort],
    /// Clients of the mesh are served by mutual TLS with identities of this trust domain.
    pub(super) mutual_tls: Option<&'a TrustDomain>,
    /// Who is served on the application's ports until the control plane says it, and what is answered to
    /// the kubelet all the same.
    pub(super) demands: InboundDemands,
    /// Where the kubelet's probes come from.
    pub(super) node_addresses: &'a [IpAddr],
    /// The listeners of inbound connections as the control plane had them last, in place of those that
    /// would be made from the above. Empty: there are none.
    pub(super) kept: &'a [Listener],
    /// `host:port`
    pub(super) control_plane: Option<&'a str>,
    /// The pod has an IPv6 address.
    pub(super) has_ipv6: bool,
    /// How much the sidecar may hold.
    pub(super) limits: Limits,
}

/// Prints the bootstrap as YAML.
pub(super) fn print(bootstrap: &proto::Bootstrap) -> Result<(), Failure> {
    let yaml = to_yaml(bootstrap);
    let written = io::stdout().write_all(yaml.as_bytes());
    written.context("standard output").map_err(Failure::Runtime)
}

/// YAML that `envoy --config-path` takes: without the type that goes without saying.
fn to_yaml(bootstrap: &proto::Bootstrap) -> String {
    let yaml = text::to_yaml(&codec::pack_bootstrap(bootstrap));
    let lines = yaml.lines().filter(|line| !line.starts_with("'@type'"));
    lines.map(|line| format!("{line}\n")).collect()
}

// === impl Sidecar ===

impl Sidecar<'_> {
    /// The bootstrap as a message.
    pub(super) fn bootstrap(&self) -> Result<proto::Bootstrap, JsonError> {
        let mut bootstrap = text::read_bootstrap(&self.json().to_string())?;
        let resources = bootstrap.static_resources.iter_mut();
        let listeners = resources.flat_map(|resources| &mut resources.listeners);
        for listener in listeners {
            listener
                .filter_chains
                .iter_mut()
                .for_each(tls::encode_again);
            if let Some(kept) = self.kept.iter().find(|kept| kept.name == listener.name) {
                // That it may be replaced is said here alone.
                let metadata = listener.metadata.take();
                *listener = Listener {
                    metadata,
                    ..codec::copy_listener(kept)
                };
            }
        }
        Ok(bootstrap)
    }

    /// Who is served where rules demand that.
    fn served(&self, mode: TlsMode) -> Served {
        mode.served(self.mutual_tls.is_some())
    }

    /// Who is served on a port, by what is demanded of TLS.
    fn served_on(&self, port: u16) -> Served {
        self.served(self.demands.tls.on(port))
    }

    fn json(&self) -> Value {
        let mut listeners = outbound::listeners(self);
        listeners.extend(inbound::listeners(self));
        let mut clusters = outbound::clusters();
        clusters.extend(inbound::clusters(self));
        let mut bootstrap = json!({
            "node": self.node,
            "admin": { "address": address("127.0.0.1", ports::ADMIN) },
            "overload_manager": overload::overload_manager(self.limits),
            "static_resources": { "listeners": listeners, "clusters": clusters },
        });
        if let Some(control_plane) = self.control_plane {
            let clusters = &mut bootstrap["static_resources"]["clusters"];
            if let Some(clusters) = clusters.as_array_mut() {
                clusters.push(control_plane_cluster(control_plane));
            }
            bootstrap["dynamic_resources"] = json!({ "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": CONTROL_PLANE_CLUSTER } }],
            }});
        }
        bootstrap
    }

    /// The listening addresses, one a family, and the suffix of the listener's name.
    fn families(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let v6 = self.has_ipv6.then_some(("::", names::V6_SUFFIX));
        std::iter::once(("0.0.0.0", "")).chain(v6)
    }
}

/// The control plane. A name is resolved by the client on each connect, so only an address is an
/// endpoint here.
fn control_plane_cluster(control_plane: &str) -> Value {
    let endpoint = control_plane.parse::<std::net::SocketAddr>().ok();
    let endpoints: Vec<Value> = endpoint
        .map(|endpoint| {
            let address = address(&endpoint.ip().to_string(), endpoint.port());
            json!({ "lb_endpoints": [{ "endpoint": { "address": address } }] })
        })
        .into_iter()
        .collect();
    json!({
        "name": CONTROL_PLANE_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": parts::http_protocol(json!({
            "explicit_http_config": { "http2_protocol_options": {} },
        })),
        "load_assignment": { "cluster_name": CONTROL_PLANE_CLUSTER, "endpoints": endpoints },
    })
}

#[cfg(test)]
mod tests;
