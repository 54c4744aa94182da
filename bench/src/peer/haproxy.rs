//! HAProxy's configuration. It has no detection, so it is told by scenario what it will see.

use super::config::APPLICATION_CLIENT;
use crate::{
    pods::{SERVER, Side},
    scenario::Protocol,
};

/// Connections to the server are shared as Envoy and Weir do it.
pub(super) fn config(side: Side, protocol: Protocol, port: u16, connections: u64) -> String {
    let (mode, server) = match protocol {
        Protocol::Http1 => ("http", ""),
        Protocol::Http2 => ("http", " proto h2"),
        Protocol::Tcp => ("tcp", ""),
    };
    let source = match side {
        Side::Outbound => String::new(),
        Side::Inbound => format!(" source {APPLICATION_CLIENT}"),
    };
    format!(
        "global\n  nbthread 1\n  maxconn {connections}\n\
         defaults\n  mode {mode}\n  http-reuse always\n\
         \x20 timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         frontend sidecar\n  bind :{bind}\n  default_backend service\n\
         backend service\n  server backend {SERVER}:{port}{server}{source}\n",
        bind = side.port(),
    )
}
