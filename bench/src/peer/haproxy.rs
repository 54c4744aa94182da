//! HAProxy's configuration. It has no detection, so it is told by scenario what it will see.

use std::path::Path;

use super::{
    config::APPLICATION_CLIENT,
    identity::{AUTHORITY_FILE, SERVER_NAME, own_file},
    tls::{CIPHER, GROUP},
};
use crate::{
    pods::{SERVER, Side},
    scenario::{Protocol, Scenario, Sessions},
};

/// Connections to the server are shared as Envoy and Weir do it. Certificates lie in `directory`.
pub(super) fn config(
    side: Side,
    scenario: &Scenario,
    connections: u64,
    directory: &Path,
) -> String {
    let protocol = scenario.protocol();
    let (mode, server) = match protocol {
        Protocol::Http1 => ("http", ""),
        Protocol::Http2 => ("http", " proto h2"),
        Protocol::Tcp => ("tcp", ""),
    };
    let tls = scenario.sessions();
    let tls = tls.map(|sessions| tls_words(side, protocol, sessions, directory));
    let tls = tls.unwrap_or_default();
    let (bind_tls, server_tls, source) = match side {
        Side::Outbound => (String::new(), tls, String::new()),
        Side::Inbound => (tls, String::new(), format!(" source {APPLICATION_CLIENT}")),
    };
    format!(
        "global\n  nbthread 1\n  maxconn {connections}\n\
         defaults\n  mode {mode}\n  http-reuse always\n\
         \x20 timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         frontend sidecar\n  bind :{bind}{bind_tls}\n  default_backend service\n\
         backend service\n  server backend {SERVER}:{port}{server}{server_tls}{source}\n",
        bind = side.port(),
        port = scenario.port(),
    )
}

/// Mutual TLS with the other sidecar, which is judged by its authority and, where it is the server, by
/// its DNS name. The cipher is named because OpenSSL prefers a longer key.
fn tls_words(side: Side, protocol: Protocol, sessions: Sessions, directory: &Path) -> String {
    let file = |name: &str| directory.join(name).display().to_string();
    let alpn = match protocol {
        Protocol::Http2 => " alpn h2",
        Protocol::Http1 | Protocol::Tcp => "",
    };
    let own = match (side, sessions) {
        (Side::Inbound, _) => format!(" curves {GROUP}"),
        (Side::Outbound, Sessions::Kept) => format!(" sni str({SERVER_NAME})"),
        (Side::Outbound, Sessions::Forgotten) => {
            format!(" sni str({SERVER_NAME}) no-ssl-reuse")
        }
    };
    format!(
        " ssl crt {crt} ca-file {ca} verify required ssl-min-ver TLSv1.3 ciphersuites {CIPHER}{alpn}{own}",
        crt = file(own_file(side)),
        ca = file(AUTHORITY_FILE),
    )
}
