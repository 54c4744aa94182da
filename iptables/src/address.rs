//! Addresses of this network namespace, and the one capture adds.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{errno::Errno, ifaddrs::getifaddrs, net::if_::if_nametoindex};

use crate::family::Family;

/// What a namespace has of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// No address: the family does not exist here.
    Absent,
    /// Loopback addresses only.
    Loopback,
    /// Link-local addresses, by which hardly anybody is reached; others may come.
    LinkLocal,
    /// An address others can reach.
    Routable,
}

/// A request of rtnetlink(7) about an address. Of the one type that netlink-packet-route has for all requests
/// the program would carry the readers of links, filters and queues: 0.3 MiB that nothing here is for.
#[derive(Debug)]
struct Request {
    kind: u16,
    address: AddressMessage,
}

/// A message that is no acknowledgement.
#[derive(Debug)]
struct Other;

/// `linux/rtnetlink.h`
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

/// What this namespace has of `family`.
pub fn presence(family: Family) -> io::Result<Presence> {
    let addresses = interface_addresses()?
        .into_iter()
        .map(|(_, address)| address);
    let own = addresses.filter(|address| Family::of(*address) == family);
    Ok(own.map(reach).max().unwrap_or(Presence::Absent))
}

fn reach(address: IpAddr) -> Presence {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    // ::6 on lo is our own doing.
    if address.is_loopback() || address == Family::of(address).inbound_passthrough() {
        Presence::Loopback
    } else if link_local {
        Presence::LinkLocal
    } else {
        Presence::Routable
    }
}

/// Name of the interface that has `address`.
pub(crate) fn interface_of(address: IpAddr) -> io::Result<Option<String>> {
    let mut addresses = interface_addresses()?.into_iter();
    Ok(addresses
        .find(|(_, known)| *known == address)
        .map(|(name, _)| name))
}

fn interface_addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address
            .as_sockaddr_in()
            .map(|address| IpAddr::from(address.ip()));
        let v6 = || {
            address
                .as_sockaddr_in6()
                .map(|address| IpAddr::from(address.ip()))
        };
        Some((interface.interface_name, v4.or_else(v6)?))
    });
    Ok(addresses.collect())
}

/// Adds `address` to `lo`, unless it is there; says whether it was not.
pub(crate) fn add_to_lo(address: Ipv6Addr) -> io::Result<bool> {
    let request = Request::on_lo(RTM_NEWADDR, address)?;
    match request.send(NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Takes `address` from `lo`, if it is there.
pub(crate) fn remove_from_lo(address: Ipv6Addr) -> io::Result<()> {
    match Request::on_lo(RTM_DELADDR, address)?.send(0) {
        Err(error) if error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => Ok(()),
        other => other,
    }
}

// === impl Request ===

impl Request {
    fn on_lo(kind: u16, address: Ipv6Addr) -> io::Result<Self> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.prefix_len = 128;
        message.header.index = if_nametoindex("lo")?;
        message.attributes = vec![
            AddressAttribute::Local(address.into()),
            AddressAttribute::Address(address.into()),
        ];
        Ok(Self {
            kind,
            address: message,
        })
    }

    /// rtnetlink(7): one request, one acknowledgement.
    fn send(self, flags: u16) -> io::Result<()> {
        let mut message = NetlinkMessage::from(self);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);

        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&bytes, 0)?;
        let (answer, _) = socket.recv_from_full()?;
        let answer = NetlinkMessage::<Other>::deserialize(&answer);
        match answer.map_err(io::Error::other)?.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            _ => Ok(()),
        }
    }
}

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.address.buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        self.address.emit(buffer);
    }
}

impl From<Request> for NetlinkPayload<Request> {
    fn from(request: Request) -> Self {
        Self::InnerMessage(request)
    }
}

// === impl Other ===

impl NetlinkDeserializable for Other {
    type Error = std::convert::Infallible;

    fn deserialize(_: &NetlinkHeader, _: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}
