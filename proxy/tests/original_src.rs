//! The listener filter `original_src`, on loopback: an endpoint sees the client that a PROXY protocol
//! header names, on a connection with the mark.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
    process::Command,
};

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Options, Server},
};
use weir_tests::skip::{self, Need};

#[test]
fn endpoints_see_the_client_and_the_mark() {
    let owner = std::fs::metadata("/proc/self").expect("Linux").uid();
    if owner != 0 {
        skip::skip(Need::Namespaces, "addresses of others need root");
        return;
    }
    if !skip::has("ss") {
        return;
    }
    let endpoint = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = endpoint.local_addr().expect("an address").port();
    let types = "type.googleapis.com/envoy.extensions.filters";
    let text = format!(
        r#"static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    listener_filters:
    - name: proxy_protocol
      typed_config: {{ "@type": {types}.listener.proxy_protocol.v3.ProxyProtocol }}
    - name: original_src
      typed_config: {{ "@type": {types}.listener.original_src.v3.OriginalSrc, mark: 123 }}
    filter_chains: [ {{ filters: [ {{ name: tcp, typed_config: {{
      "@type": {types}.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: web }} }} ] }} ]
  clusters:
  - {{ name: web, type: STATIC, load_assignment: {{ cluster_name: web, endpoints: [ {{ lb_endpoints: [
      {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }} }}
"#
    );
    let message = json::read_bootstrap(&text).expect("a bootstrap");
    let config = convert::bootstrap(message.clone()).expect("a bootstrap");
    let server = Server::start(&config, Options::new(message)).expect("a free port");
    let snapshot = server.handle().snapshot();
    let address = snapshot.listeners["in"].sockets[0].local_addr();
    let mut client = TcpStream::connect(address.expect("bound")).expect("the proxy listens");
    let header = b"PROXY TCP4 127.0.0.99 127.0.0.1 1000 2000\r\nhello";
    client.write_all(header).expect("written");
    let (mut upstream, peer) = endpoint.accept().expect("dialled");
    let mut hello = [0; 5];
    upstream.read_exact(&mut hello).expect("forwarded");
    assert_eq!(
        (peer.ip(), &hello),
        (Ipv4Addr::new(127, 0, 0, 99).into(), b"hello")
    );
    let sockets = Command::new("ss")
        .args(["-tneH", "dport", "=", &format!(":{port}")])
        .output()
        .expect("ss");
    let sockets = String::from_utf8_lossy(&sockets.stdout).into_owned();
    assert!(sockets.contains("fwmark:0x7b"), "{sockets}");
    server.handle().stop();
}
