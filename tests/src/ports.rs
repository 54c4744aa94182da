//! Ports of this machine's loopback.

use std::{
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};

use crate::eventually::eventually;

/// Where [`free`] looks. Below Linux's `ip_local_port_range` (32768 to 60999), so that no connection and
/// nobody who asks for port 0 is given one of them; below the node ports of Kubernetes.
const RANGE: Range<u16> = 20_000..30_000;

/// An address that nobody listens on, and that this process is not told again before it was told all
/// others. For programs that must be told a port and for connections that must be refused; all else
/// takes port 0.
///
/// # Panics
/// Where all ports are taken.
#[must_use]
pub fn free() -> SocketAddr {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        // Processes that run at the same time begin at different places.
        let random = RandomState::new().hash_one(());
        AtomicU16::new(u16::try_from(random % RANGE.len() as u64).unwrap_or_default())
    });
    let mut addresses = RANGE.map(|_| {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % (RANGE.end - RANGE.start);
        SocketAddr::from((Ipv4Addr::LOCALHOST, RANGE.start + next))
    });
    addresses
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a port")
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
