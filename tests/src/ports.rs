//! Ports of this machine's loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::eventually::eventually;

/// An address that nobody listens on at the moment. For programs that must be told a port; all else
/// takes port 0.
///
/// # Panics
/// Where loopback has no port left.
#[must_use]
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

/// Waits until somebody accepts connections there.
///
/// # Errors
/// Nobody does within `limit`.
pub fn until_open(address: SocketAddr, limit: Duration) -> Result<()> {
    eventually(limit, || TcpStream::connect(address).ok())
        .map(drop)
        .with_context(|| format!("nobody listens on {address}"))
}
