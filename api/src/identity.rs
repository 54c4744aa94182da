//! Who the sidecar is to the kernel: the user and group whose packets are not captured, and the
//! source addresses that mark a connection from the inbound listener to the application.

use std::net::{Ipv4Addr, Ipv6Addr};

/// User the sidecar runs as. Packets of this user leave the pod uncaptured.
pub const PROXY_UID: u32 = 1337;
/// Group the sidecar runs as.
pub const PROXY_GID: u32 = 1337;

/// Source address of connections from the inbound listener to the application. The rules let it
/// past, so that such a connection does not come back to the inbound listener.
pub const INBOUND_PASSTHROUGH_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The same for IPv6; capture adds it to `lo`, because only `::1` is local by itself.
pub const INBOUND_PASSTHROUGH_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);
