//! PROXY protocol headers that endpoints are sent, beside real Envoy. The endpoints are listeners of the
//! same proxy, which say in a header whom they were told of.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use weir_tests::{certificates::Authority, certificates::inline, envoy, http};

use crate::proxies::{Ports, Proxy};

const BOOTSTRAP: &str = include_str!("upstream_proxy_protocol.bootstrap.yaml");
/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(proxy: fn(&str, Ports) -> Proxy) -> Proxy {
    let authority = Authority::new("root");
    let mut bootstrap = BOOTSTRAP
        .replace("@CERTIFICATE@", &authority.issue(&["a.test"]).inline())
        .replace("@CA@", &inline(&authority.pem));
    for name in ["end", "tls"] {
        let port = crate::proxies::free_port().to_string();
        bootstrap = bootstrap.replace(&format!("@PORT:{name}@"), &port);
    }
    proxy(&bootstrap, Ports::free())
}

impl Proxy {
    /// What an endpoint was told, for requests one after the other on one connection.
    fn told(&self, path: &str, is_bytes: bool, times: usize) -> Vec<String> {
        self.told_after(self.port(is_bytes, false), b"", path, times)
    }

    /// The same of a connection that begins with a header.
    fn told_after(&self, port: u16, header: &[u8], path: &str, times: usize) -> Vec<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let client = stream.local_addr().expect("an address").to_string();
        stream.write_all(header).expect("sent");
        let ask = |_| {
            let request = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("sent");
            let head = http::read_head(&mut stream).expect("an answer");
            let head = head.expect("an answer").to_lowercase();
            let mut body = [0; 4];
            std::io::Read::read_exact(&mut stream, &mut body).expect("a body");
            let told = head.lines().find(|line| line.starts_with("x-told: "));
            let told = told.unwrap_or(&head).replace(&client, "CLIENT");
            told.replace(&address.to_string(), "LISTENER")
        };
        (0..times).map(ask).collect()
    }

    fn dials(&self, cluster: &str) -> u64 {
        let page = http::get(self.admin(), "/stats").expect("stats").body;
        let name = format!("cluster.{cluster}.upstream_cx_total: ");
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|value| value.parse().ok()).expect("a count")
    }
}

#[test]
fn endpoints_are_told_of_clients_as_by_envoy() {
    if !envoy::available() {
        return;
    }
    let [envoy, weir] = [start(Proxy::envoy), start(Proxy::weir)];
    for (path, is_bytes, added) in [
        ("/v1", false, ""),
        ("/v2", false, "mesh"),
        ("/tls", false, ""),
        ("/", true, "mesh"),
    ] {
        // Of one client requests share a connection, those of others have their own.
        for times in [1, 3, 2] {
            let told = |proxy: &Proxy| proxy.told(path, is_bytes, times);
            let (ours, theirs) = (told(&weir), told(&envoy));
            assert_eq!(ours, theirs, "left: Weir, right: Envoy: {path}");
            let expected = format!("x-told: CLIENT LISTENER [{added}] [] [] []");
            assert_eq!(ours, vec![expected; times], "{path}");
        }
    }
    for cluster in ["v1", "v2", "tls"] {
        assert_eq!(weir.dials(cluster), envoy.dials(cluster), "{cluster}");
    }
}

#[test]
fn what_a_header_says_beside_addresses_is_passed_on_as_by_envoy() {
    if !envoy::available() {
        return;
    }
    let [envoy, weir] = [start(Proxy::envoy), start(Proxy::weir)];
    // Which chain serves a connection goes by the port in its header.
    for (port, passed) in [
        (2, "[] [aa] [bb] []"),
        (3, "[] [] [bb] []"),
        (4, "[mesh] [] [] []"),
        (5, "[] [aa] [bb] []"),
    ] {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1b".to_vec();
        header.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, port]);
        for (kind, value) in [(224, b"aa"), (225, b"bb"), (226, b"cc")] {
            header.extend([kind, 0, 2]);
            header.extend(value);
        }
        let told = |proxy: &Proxy| proxy.told_after(proxy.port(false, true), &header, "/", 2);
        let (ours, theirs) = (told(&weir), told(&envoy));
        assert_eq!(ours, theirs, "left: Weir, right: Envoy: {port}");
        let expected = format!("x-told: 10.0.0.1:1 10.0.0.2:{port} {passed}");
        assert_eq!(ours, vec![expected; 2], "{port}");
    }
}
