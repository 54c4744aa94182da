//! TLS on both sides of the data plane, on loopback.

#[path = "tls/chains.rs"]
mod chains;
#[path = "tls/clusters.rs"]
mod clusters;
#[path = "tls/peer.rs"]
mod peer;
#[expect(dead_code, reason = "shared with the tests of HTTP/2")]
#[path = "http2/proxy.rs"]
mod proxy;
#[path = "tls/rough.rs"]
mod rough;
#[path = "tls/secrets.rs"]
mod secrets;
#[path = "tls/setup.rs"]
mod setup;
