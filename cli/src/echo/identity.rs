//! Who answers, who calls, and over what.

use std::{
    env, fs, io,
    net::{IpAddr, SocketAddr},
};

use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Who answers.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Name of the pod, or of the machine.
    pub(super) pod: String,
    /// Namespace of the pod.
    pub(super) namespace: String,
}

/// One connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    local: SocketAddr,
    peer: SocketAddr,
    /// What TLS said, where there is TLS.
    pub(super) tls: Option<Value>,
}

// === impl Identity ===

impl Identity {
    /// The pod's, from the downward API or, failing that, from what every pod has.
    pub(super) fn from_environment() -> Self {
        let pod = env::var("POD_NAME")
            .or_else(|_| env::var("HOSTNAME"))
            .unwrap_or_default();
        let namespace = env::var("POD_NAMESPACE").unwrap_or_else(|_| {
            let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            namespace_of(&text).unwrap_or_default()
        });
        Self { pod, namespace }
    }

    /// Who answers whom, over `protocol`.
    pub(super) fn describe(&self, connection: &Connection, protocol: &str) -> Value {
        let mut value = json!({
            "pod": self.pod,
            "namespace": self.namespace,
            "protocol": protocol,
            "local": connection.local,
            "peer": connection.peer,
        });
        if let Some(tls) = &connection.tls {
            value["tls"] = tls.clone();
        }
        value
    }
}

/// A pod's namespace is the first part of its DNS search domains.
fn namespace_of(resolv_conf: &str) -> Option<String> {
    let search = resolv_conf
        .lines()
        .find_map(|line| line.strip_prefix("search "))?;
    let (namespace, _) = search.split_whitespace().next()?.split_once(".svc.")?;
    Some(namespace.to_owned())
}

// === impl Connection ===

impl Connection {
    pub(super) fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self {
            local: plain(stream.local_addr()?),
            peer: plain(stream.peer_addr()?),
            tls: None,
        })
    }
}

/// An IPv4 address as such, though the socket is one of both families.
fn plain(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_in_the_search_domains() {
        let text = "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local\n";
        assert_eq!(namespace_of(text).as_deref(), Some("shop"));
        assert_eq!(namespace_of("search example.com\n"), None);
    }
}
