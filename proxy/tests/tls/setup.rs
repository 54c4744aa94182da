//! Bootstraps with TLS, and the data plane that they make.

use std::{future::Future, net::SocketAddr, time::Duration};

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Options, Server},
};

use weir_tests::eventually::eventually;

use crate::proxy::Proxy;

/// Far beyond what anything here takes: a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Of a listener: SNI and ALPN are read before a chain is chosen.
pub(crate) const TLS_INSPECTOR: &str = r#", listener_filters: [ { name: tls, typed_config: {
  "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } } ]"#;

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let patient = async { tokio::time::timeout(PATIENCE, test).await };
    local.block_on(&runtime, patient).expect("no hang")
}

/// `, transport_socket: ..` with a context of these fields, in flow style.
pub(crate) fn socket(kind: &str, context: &str) -> String {
    format!(
        r#", transport_socket: {{ name: tls, typed_config: {{
          "@type": {TYPES}.transport_sockets.tls.v3.{kind}TlsContext, {context} }} }}"#
    )
}

/// A filter chain that relays to the cluster `up`. `more` is further fields, each behind a comma.
pub(crate) fn tcp_chain(more: &str) -> String {
    format!(
        r#"{{ filters: [ {{ name: tcp, typed_config: {{
          "@type": {TYPES}.filters.network.tcp_proxy.v3.TcpProxy,
          stat_prefix: in, cluster: up }} }} ]{more} }}"#
    )
}

/// A filter chain that sends requests to the cluster `up`.
pub(crate) fn http_chain(manager: &str, more: &str) -> String {
    format!(
        r#"{{ filters: [ {{ name: http, typed_config: {{
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager,
          stat_prefix: in{manager},
          route_config: {{ virtual_hosts: [ {{ name: any, domains: ["*"], routes: [
            {{ match: {{ prefix: / }}, route: {{ cluster: up }} }} ] }} ] }},
          http_filters: [ {{ name: router, typed_config: {{
            "@type": {TYPES}.filters.http.router.v3.Router }} }} ] }} }} ]{more} }}"#
    )
}

/// The cluster `up`. `more` is further fields, each behind a comma.
pub(crate) fn cluster(address: SocketAddr, more: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "{{ name: up, type: STATIC, connect_timeout: 5s{more}, load_assignment: {{ cluster_name: up, \
         endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: \
         {{ address: {ip}, port_value: {port} }} }} }} }} ] }} ] }} }}"
    )
}

/// A listener, `in`, of these chains. `more` is further fields of it, each behind a comma.
pub(crate) fn bootstrap(chains: &str, more: &str, cluster: &str, resources: &str) -> String {
    format!(
        r#"{{ static_resources: {{ listeners: [ {{ name: in,
          address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}{more},
          filter_chains: [ {chains} ] }} ],
          clusters: [ {cluster} ]{resources} }} }}"#
    )
}

/// Waits until a stat of the proxy has this value: workers count after their peers have heard.
pub(crate) fn until_stat(proxy: &Proxy, kind: &str, name: &str, value: i64) {
    let reached = eventually(PATIENCE, || (proxy.stat(kind, name) == value).then_some(()));
    assert!(reached.is_ok(), "{name} is {}", proxy.stat(kind, name));
}

pub(crate) fn start(text: &str) -> Proxy {
    start_with(text, |_| {})
}

pub(crate) fn start_with(text: &str, change: impl FnOnce(&mut Options)) -> Proxy {
    let message = json::read_bootstrap(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let bootstrap = convert::bootstrap(message.clone());
    let bootstrap = bootstrap.unwrap_or_else(|error| panic!("{error}"));
    let mut options = Options::new(message);
    change(&mut options);
    Proxy::of(Server::start(&bootstrap, options).expect("a free port"))
}
