//! Where it happens: the one that is attacked in a namespace of its own, strangers in another.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_tests::netns::{self, NetNs};

/// The one that is attacked.
pub(crate) const TARGET: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Its node, where probes come from.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// A client that means well.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// Addresses that strangers have.
const STRANGERS: u8 = 32;

/// Two namespaces and a link.
pub(crate) struct World {
    pub(crate) target: NetNs,
    pub(crate) others: NetNs,
}

// === impl World ===

impl World {
    /// `None` where this machine cannot have it.
    pub(crate) fn new() -> Option<Self> {
        if !netns::available() {
            return None;
        }
        weir_guard::raise_open_files().expect("files for a thousand connections");
        let (target, others) = (NetNs::new().expect("new"), NetNs::new().expect("new"));
        let ours = format!("{TARGET}/16");
        let theirs = [NODE, CLIENT].into_iter().chain(strangers());
        let theirs: Vec<_> = theirs.map(|address| format!("{address}/16")).collect();
        let theirs: Vec<_> = theirs.iter().map(String::as_str).collect();
        let linked = target.link("eth0", &[&ours], &others, &theirs);
        linked.expect("linked");
        let gateway = NODE.to_string();
        let routed = target.ip(&["route", "add", "default", "via", &gateway]);
        routed.expect("a route");
        Some(Self { target, others })
    }
}

/// Where strangers connect from.
pub(crate) fn strangers() -> impl Iterator<Item = Ipv4Addr> {
    (0..STRANGERS).map(|last| Ipv4Addr::new(10, 77, 1, last + 1))
}

/// A port of the one that is attacked.
pub(crate) fn at(port: u16) -> SocketAddr {
    (IpAddr::from(TARGET), port).into()
}
