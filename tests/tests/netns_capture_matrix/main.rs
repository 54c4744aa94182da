//! Where every connection of a captured pod ends, with real sockets: both families, both
//! backends. The table is the contract of REDIRECT capture.

mod pod;

use Address::{External, InboundPassthrough, Localhost, OtherLoopback, PodIp, ServiceIp};
use Caller::{AppWithProxyGroup, Application, Peer, Proxy, ProxyOtherGroup, ProxyOwnAddress};
use End::{Direct, Inbound, Outbound};
use pod::{Net, World};
use weir_iptables::{Backend, Family};
use weir_tests::netns;

/// Who opens the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller {
    /// The application: user 1000.
    Application,
    /// User 1000 in the proxy's group.
    AppWithProxyGroup,
    /// The proxy: user and group 1337.
    Proxy,
    /// User 1337 in another group.
    ProxyOtherGroup,
    /// The proxy, from this address.
    ProxyOwnAddress(Address),
    /// Another machine.
    Peer,
}

/// Where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Address {
    /// Somebody on another machine.
    External,
    /// An address no interface has.
    ServiceIp,
    /// `127.0.0.1`, `::1`.
    Localhost,
    /// `127.0.0.2`; IPv6 has one loopback address only.
    OtherLoopback,
    /// The pod's own.
    PodIp,
    /// `127.0.0.6`, `::6`.
    InboundPassthrough,
}

/// Where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Where it was going.
    Direct,
    /// At the outbound port, the original destination being known.
    Outbound,
    /// At the inbound port, the original destination being known.
    Inbound,
}

const MATRIX: &[(Caller, Address, u16, End)] = &[
    (Application, External, 80, Outbound),
    (Application, External, 15008, Outbound),
    (Application, ServiceIp, 80, Outbound),
    (Application, Localhost, 8080, Direct),
    (Application, OtherLoopback, 8080, Direct),
    (Application, PodIp, 8080, Direct),
    (Proxy, External, 80, Direct),
    (Proxy, PodIp, 8080, Inbound),
    (Proxy, PodIp, 15008, Direct),
    (ProxyOwnAddress(InboundPassthrough), PodIp, 8080, Direct),
    (Proxy, Localhost, 8080, Direct),
    (Proxy, OtherLoopback, 8080, Inbound),
    // The proof of the redirect, which nobody but us ever dials.
    (
        ProxyOwnAddress(Localhost),
        InboundPassthrough,
        15002,
        Inbound,
    ),
    (Application, InboundPassthrough, 15002, Inbound),
    (AppWithProxyGroup, External, 80, Direct),
    (AppWithProxyGroup, PodIp, 8080, Direct),
    (ProxyOtherGroup, External, 80, Direct),
    (ProxyOtherGroup, PodIp, 8080, Inbound),
    (ProxyOtherGroup, PodIp, 15008, Direct),
    (ProxyOtherGroup, Localhost, 8080, Direct),
    (Peer, PodIp, 8080, Inbound),
    (Peer, PodIp, 9999, Inbound),
    (Peer, PodIp, 15001, Inbound),
    (Peer, PodIp, 15006, Inbound),
    (Peer, PodIp, 15008, Direct),
    (Peer, PodIp, 15020, Direct),
    (Peer, PodIp, 15021, Direct),
    (Peer, PodIp, 15090, Direct),
];

fn every_connection_ends_where_the_matrix_says(backend: Backend, family: Family) {
    if !netns::available() {
        return;
    }
    let _alone = netns::exclusively();
    let net = Net::new(backend).expect("a pod and a peer");
    let world = World::new(&net, family).expect("listeners");
    let mut wrong = Vec::new();
    for row @ (from, to, port, expected) in MATRIX {
        let Some(destination) = net.address(*to, family) else {
            continue;
        };
        match world.connect(*from, (destination, *port).into()) {
            Ok(end) if end == *expected => {}
            other => wrong.push(format!("{row:?}: {other:?}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{backend} {family}:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn nf_tables_ipv4_connections_end_where_the_matrix_says() {
    every_connection_ends_where_the_matrix_says(Backend::NfTables, Family::V4);
}

#[test]
fn nf_tables_ipv6_connections_end_where_the_matrix_says() {
    every_connection_ends_where_the_matrix_says(Backend::NfTables, Family::V6);
}

#[test]
fn legacy_ipv4_connections_end_where_the_matrix_says() {
    every_connection_ends_where_the_matrix_says(Backend::Legacy, Family::V4);
}

#[test]
fn legacy_ipv6_connections_end_where_the_matrix_says() {
    every_connection_ends_where_the_matrix_says(Backend::Legacy, Family::V6);
}

#[test]
fn udp_is_never_touched() {
    if !netns::available() {
        return;
    }
    let _alone = netns::exclusively();
    let net = Net::new(Backend::NfTables).expect("a pod and a peer");
    for family in Family::ALL {
        let pod = (net.address(PodIp, family).expect("address"), 5000).into();
        let peer = (net.address(External, family).expect("address"), 5000).into();
        net.exchange_datagrams(Application, pod, peer)
            .expect("outbound");
        net.exchange_datagrams(Peer, peer, pod).expect("inbound");
    }
}
