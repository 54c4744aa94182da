//! Where to dial to prove the outbound redirect.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use ipnet::IpNet;
use nix::unistd::{getegid, geteuid};
use weir_api::{CaptureSpec, capture::Selection, ports};

use crate::{address::interface_of, family::Family};

/// Addresses for documentation (RFC 5737, RFC 3849, RFC 9637), which belong to nobody.
const NOBODY_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(203, 0, 113, 1),
];
const NOBODY_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1),
];

/// A destination the rules send to the outbound port whatever the interface, if there is one:
/// nobody's address where `spec` captures such, else the first one of a captured CIDR.
#[must_use]
pub fn probe_destination(spec: &CaptureSpec, family: Family) -> Option<SocketAddr> {
    let excluded = |address: &IpAddr| {
        spec.exclude_outbound_cidrs
            .iter()
            .any(|net| net.contains(address))
            || address.is_loopback()
    };
    let nobody = || -> Vec<IpAddr> {
        match family {
            Family::V4 => NOBODY_V4.map(IpAddr::from).to_vec(),
            Family::V6 => NOBODY_V6.map(IpAddr::from).to_vec(),
        }
    };
    let addresses = match &spec.include_outbound_cidrs {
        Selection::All => nobody(),
        Selection::Only(nets) => {
            let own = nets.iter().filter(|net| family.has(net));
            own.filter_map(first_host).collect()
        }
    };
    let port_left_alone = |port: &u16| spec.exclude_outbound_ports.contains(port);
    let by_address = || {
        let address = addresses.into_iter().find(|address| !excluded(address))?;
        let port = (ports::REDIRECT_PROBE..).find(|port| !port_left_alone(port))?;
        Some(SocketAddr::new(address, port))
    };
    let by_port = || {
        let address = nobody().into_iter().find(|address| !excluded(address))?;
        let mut included = spec.include_outbound_ports.iter();
        let port = included.find(|port| !port_left_alone(port))?;
        Some(SocketAddr::new(address, *port))
    };
    by_address().or_else(by_port)
}

/// The same, if this process is one whose connections are captured and the way to the
/// destination is one that is captured; else the reason why not.
pub(super) fn destination_here(
    spec: &CaptureSpec,
    family: Family,
) -> Result<SocketAddr, &'static str> {
    let destination =
        probe_destination(spec, family).ok_or("nothing outbound is captured in this family")?;
    let own_user = spec.proxy_uids.contains(&geteuid().as_raw());
    if own_user || spec.proxy_gids.contains(&getegid().as_raw()) {
        return Err("this process has the sidecar's own user or group");
    }
    let interface = route(destination).map_err(|_| "there is no route out of this namespace")?;
    match interface {
        Some(name) if name != "lo" => {
            let mut left_alone = spec.exclude_interfaces.iter();
            match left_alone.any(|interface| interface.as_str() == name) {
                true => Err("the way out is an excluded interface"),
                false => Ok(destination),
            }
        }
        _ => Err("the way out is not by an interface of its own"),
    }
}

/// Interface by which packets to `destination` leave. Connecting a datagram socket sends nothing.
fn route(destination: SocketAddr) -> io::Result<Option<String>> {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(destination)?;
    interface_of(socket.local_addr()?.ip())
}

fn first_host(net: &IpNet) -> Option<IpAddr> {
    match net {
        IpNet::V4(net) => net.hosts().next().map(IpAddr::from),
        IpNet::V6(net) => net.hosts().next().map(IpAddr::from),
    }
}
