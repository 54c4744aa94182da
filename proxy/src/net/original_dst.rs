//! `envoy.filters.listener.original_dst`: where a redirected connection wanted to go.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::address::{LocalAddr, OriginalDst};

/// The original destination of a connection that iptables redirected (`SO_ORIGINAL_DST`, see
/// net/netfilter/nf_nat_core.c); none if it was not redirected.
pub(crate) fn original_destination(stream: &TcpStream, local: LocalAddr) -> Option<OriginalDst> {
    let socket = SockRef::from(stream);
    let address = match local.0 {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    // conntrack answers for connections that were not redirected, too: with our own address.
    address
        .ok()?
        .as_socket()
        .filter(|address| *address != local.0)
        .map(OriginalDst)
}
