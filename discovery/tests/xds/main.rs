//! The ADS server over loopback: what clients are told, sidecars and real Envoy among them, and when.

mod ads;
mod delta;
mod external;
mod faults;
mod istio;
mod mesh;
mod peer_envoy;
mod routes;
mod sidecar;
