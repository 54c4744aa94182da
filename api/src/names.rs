//! Names of clusters and listeners, as people read them in stats and configuration dumps.

use std::net::{IpAddr, SocketAddr};

/// Forwards to the original destination of a captured outbound connection.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Forwards a captured inbound connection to the application at the address the peer used.
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// Has no endpoints: what is sent here is refused.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";

/// Listener on [`crate::ports::OUTBOUND`] that hands connections over by original destination.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// Listener on [`crate::ports::INBOUND`].
pub const VIRTUAL_INBOUND: &str = "virtualInbound";

/// What the names of the two end with where they listen on IPv6.
pub const V6_SUFFIX: &str = "_v6";

/// Prefix of the names of outbound listeners, which are subscribed to on demand.
pub const OUTBOUND_LISTENER_PREFIX: &str = "outbound|";

/// Name of the cluster of a service port: `outbound|8000||dest-app.ns.svc.cluster.local`.
#[must_use]
pub fn outbound_cluster(port: u16, host: &str) -> String {
    format!("outbound|{port}||{host}")
}

/// Name of the cluster of a group of endpoints of a service port: `outbound|8000|v1|dest-app.ns.svc.cluster.local`.
#[must_use]
pub fn outbound_subset(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// Name of the cluster of an application port of this pod: `inbound|8080||`.
#[must_use]
pub fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// The port in the name of a cluster of an application port; `None` if the name is not one.
#[must_use]
pub fn inbound_cluster_port(name: &str) -> Option<u16> {
    let port = name.strip_prefix("inbound|")?.strip_suffix("||")?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    // Other spellings of a number are other names, and nobody's.
    (inbound_cluster(port) == name).then_some(port)
}

/// Name of the listener of an outbound destination: `outbound|10.4.0.3:8000`, or
/// `outbound|[2001:db8::3]:8000`.
#[must_use]
pub fn outbound_listener(destination: SocketAddr) -> String {
    format!("{OUTBOUND_LISTENER_PREFIX}{destination}")
}

/// The destination in the name of an outbound listener; `None` if the name is not one.
#[must_use]
pub fn outbound_listener_destination(name: &str) -> Option<SocketAddr> {
    name.strip_prefix(OUTBOUND_LISTENER_PREFIX)?.parse().ok()
}

/// Prefix of the names of load assignments that say whose an address is.
pub const WORKLOAD_PREFIX: &str = "workload|";

/// Name of the load assignment that says, in the metadata of its one endpoint, which workload has an
/// address ([`crate::workload`]): `workload|10.4.0.7`. Asked for by need, as listeners are.
#[must_use]
pub fn workload(address: IpAddr) -> String {
    format!("{WORKLOAD_PREFIX}{address}")
}

/// The address in the name of such a load assignment; `None` if the name is not one.
#[must_use]
pub fn workload_address(name: &str) -> Option<IpAddr> {
    let address = name.strip_prefix(WORKLOAD_PREFIX)?.parse().ok()?;
    // Other spellings of an address are other names, and nobody's.
    (workload(address) == name).then_some(address)
}

/// Whether the filter chain of that name is for what the kubelet asks a pod, to which rules do not apply.
#[must_use]
pub fn is_of_probes(chain: &str) -> bool {
    let what = chain.rsplit('|').next();
    matches!(what, Some("probe" | "probe-tls"))
}

/// Fully qualified name of a Service: `dest-app.ns.svc.cluster.local`.
#[must_use]
pub fn service_host(name: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{name}.{namespace}.svc.{cluster_domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_inbound_clusters_round_trip() {
        assert_eq!(inbound_cluster_port(&inbound_cluster(8080)), Some(8080));
        for name in [
            "inbound|0||",
            "inbound|08080||",
            "inbound|+80||",
            "inbound|80|a|",
            "x",
        ] {
            assert_eq!(inbound_cluster_port(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_workloads_round_trip_in_both_families() {
        for address in ["10.4.0.7", "2001:db8::7"] {
            let address: IpAddr = address.parse().expect("address");
            assert_eq!(workload_address(&workload(address)), Some(address));
        }
        for name in ["workload|2001:DB8::7", "workload|10.4.0.7:80", "10.4.0.7"] {
            assert_eq!(workload_address(name), None, "{name}");
        }
    }

    #[test]
    fn outbound_listener_names_round_trip_in_both_families() {
        for (text, name) in [
            ("10.4.0.3:8000", "outbound|10.4.0.3:8000"),
            ("[2001:db8::3]:8000", "outbound|[2001:db8::3]:8000"),
        ] {
            let address: SocketAddr = text.parse().expect("address");
            assert_eq!(outbound_listener(address), name);
            assert_eq!(outbound_listener_destination(name), Some(address));
        }
        assert_eq!(
            outbound_listener_destination("outbound|8000||a.ns.svc.cluster.local"),
            None
        );
    }
}
