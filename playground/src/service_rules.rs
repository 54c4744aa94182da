//! What kube-proxy does: Service addresses rewritten to the addresses of ready endpoints, as
//! iptables rules of the node. A pure function from Services to the text of `iptables-restore`.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddrV4},
};

use crate::address;

/// One port of one Service with the endpoints behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// `namespace/name:port`, a comment in the rules.
    pub label: String,
    /// Address of the Service.
    pub cluster_ip: Ipv4Addr,
    /// Port of the Service.
    pub port: u16,
    /// Transport protocol of the port.
    pub protocol: Protocol,
    /// Ready endpoints.
    pub endpoints: Vec<SocketAddrV4>,
}

/// Transport protocols that rules are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Packet mark of connections whose source must be rewritten so that replies pass the node: those
/// of a pod to itself through a Service. kube-proxy uses the same bit.
const MASQUERADE: &str = "0x4000/0x4000";

/// The rules as input of `iptables-restore`. They replace what is there, in one transaction a table.
#[must_use]
pub fn render(services: &[ServicePort]) -> String {
    let mut chains = String::new();
    let mut jumps = String::new();
    let mut rewrites = String::new();
    for (index, service) in services.iter().enumerate() {
        if service.endpoints.is_empty() {
            continue;
        }
        let ServicePort {
            label,
            cluster_ip,
            port,
            protocol,
            ..
        } = service;
        // Writing to a String cannot fail.
        let _ = writeln!(chains, ":PLAY_SVC_{index} - [0:0]");
        let _ = writeln!(
            jumps,
            "-A PLAY_SERVICES -d {cluster_ip}/32 -p {protocol} -m {protocol} --dport {port} \
             -m comment --comment \"{label}\" -j PLAY_SVC_{index}"
        );
        render_endpoints(&mut chains, &mut rewrites, index, service);
    }
    let (services, dns) = (address::SERVICE_RANGE, address::DNS);
    // What still has a Service's address where packets are forwarded has no endpoint.
    format!(
        "*filter\n\
         -A FORWARD -d {services} -j REJECT\n\
         -A OUTPUT -d {dns}/32 -j ACCEPT\n\
         -A OUTPUT -d {services} -j REJECT\n\
         COMMIT\n\
         *nat\n:PLAY_SERVICES - [0:0]\n{chains}\
         -A PREROUTING -d {services} -j PLAY_SERVICES\n\
         -A OUTPUT -d {services} -j PLAY_SERVICES\n\
         -A POSTROUTING -m mark --mark {MASQUERADE} -j MASQUERADE\n\
         {jumps}{rewrites}COMMIT\n"
    )
}

/// A chain for each endpoint, reached with the probability that makes all equally likely.
fn render_endpoints(chains: &mut String, rules: &mut String, index: usize, service: &ServicePort) {
    let protocol = service.protocol;
    let count = service.endpoints.len();
    for (position, endpoint) in service.endpoints.iter().enumerate() {
        let chain = format!("PLAY_SEP_{index}_{position}");
        let left = count - position;
        let choice = if left > 1 {
            #[expect(clippy::cast_precision_loss, reason = "a playground has few endpoints")]
            let probability = 1.0 / left as f64;
            format!("-m statistic --mode random --probability {probability:.5} ")
        } else {
            String::new()
        };
        let _ = writeln!(chains, ":{chain} - [0:0]");
        let _ = write!(
            rules,
            "-A PLAY_SVC_{index} {choice}-j {chain}\n\
             -A {chain} -s {ip}/32 -j MARK --set-xmark {MASQUERADE}\n\
             -A {chain} -p {protocol} -m {protocol} -j DNAT --to-destination {endpoint}\n",
            ip = endpoint.ip(),
        );
    }
}

// === impl Protocol ===

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(label: &str, last: u8, endpoints: &[&str]) -> ServicePort {
        ServicePort {
            label: label.to_owned(),
            cluster_ip: Ipv4Addr::new(10, 96, 0, last),
            port: 80,
            protocol: Protocol::Tcp,
            endpoints: endpoints
                .iter()
                .map(|text| text.parse().expect("address"))
                .collect(),
        }
    }

    #[test]
    fn rules_match_the_golden_file() {
        let services = [
            service(
                "shop/web:http",
                11,
                &["10.244.0.2:8080", "10.244.0.3:8080", "10.244.0.4:8080"],
            ),
            service("shop/empty:http", 12, &[]),
            service("shop/one:http", 13, &["10.244.0.5:80"]),
        ];
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/service_rules.txt");
        let rendered = render(&services);
        if std::env::var_os("REFRESH_GOLDEN").is_some() {
            std::fs::write(golden, &rendered).expect("write golden file");
        }
        assert_eq!(
            rendered,
            std::fs::read_to_string(golden).expect("golden file")
        );
    }
}
