//! STRICT_DNS and LOGICAL_DNS, and both as DnsCluster.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use weir_tests::{
    dns::{Answer, Server},
    envoy,
    eventually::eventually,
    http,
};

use super::pair::{PATIENCE, Pair, RESOLVER};
use crate::proxies::Proxy;

const A: &str = "127.71.0.1";
const B: &str = "127.71.0.2";
const C: &str = "127.71.0.3";

/// What a cluster has besides its name and type.
const REST: &str = "connect_timeout: 5s, load_assignment: { cluster_name: c, endpoints: \
     [{ locality: { region: r, zone: z }, lb_endpoints: [{ endpoint: { address: \
     { socket_address: { address: NAME, port_value: @PORT@ } } } }] }] }";

fn cluster(name: &str, kind: &str, host: &str) -> String {
    format!("{{ name: {name}, {kind}, {} }}", REST.replace("NAME", host))
}

const STRICT: &str = "type: STRICT_DNS, dns_refresh_rate: 0.05s, dns_lookup_family: V4_ONLY";
const LOGICAL: &str = "type: LOGICAL_DNS, dns_refresh_rate: 0.05s, dns_lookup_family: V4_ONLY";

fn dns_cluster(single: bool) -> String {
    format!(
        "cluster_type: {{ name: envoy.cluster.dns, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, dns_refresh_rate: 0.05s, \
         dns_lookup_family: V4_ONLY, all_addresses_in_single_endpoint: {single} }} }}"
    )
}

fn start(clusters: &[(&str, &str)]) -> Pair {
    let names = Server::start(Ipv4Addr::LOCALHOST);
    for (name, _) in clusters {
        names.has(&format!("{name}.test"), &[A, B]);
    }
    let messages = clusters
        .iter()
        .map(|(name, kind)| cluster(name, kind, &format!("{name}.test")));
    let messages: Vec<_> = messages.collect();
    let listed: Vec<_> = clusters.iter().map(|(name, _)| *name).collect();
    Pair::start(names, &[A, B, C], (&listed, &messages.join(", ")), RESOLVER)
}

#[test]
fn each_address_of_a_name_is_an_endpoint_for_as_long_as_it_is_one() {
    if !envoy::available() {
        return;
    }
    let extension = dns_cluster(false);
    let clusters = [("strict", STRICT), ("extension", &extension)];
    let pair = start(&clusters);
    for (cluster, _) in clusters {
        let name = format!("{cluster}.test");
        pair.until(cluster, &[A, B]);
        pair.alike(|it| (it.described(cluster), it.members(cluster)));
        pair.names.has(&name, &[B, C]);
        pair.until(cluster, &[B, C]);
        pair.alike(|it| (it.described(cluster), it.members(cluster)));
        pair.until_more(cluster, "update_no_rebuild");
        // What cannot be answered changes nothing.
        pair.names.set(&name, Answer::Code(2));
        pair.until_more(cluster, "update_failure");
        pair.until(cluster, &[B, C]);
        // That there is no such name is an answer.
        pair.names.set(&name, Answer::NoSuchName);
        pair.until(cluster, &[]);
        pair.until_more(cluster, "update_success");
        let none = pair.alike(|it| (it.answer(cluster), it.members(cluster)));
        assert_eq!(none.0, (503, "no healthy upstream".to_owned()));
        // As is that it has no address.
        pair.names.has(&name, &[A]);
        pair.until(cluster, &[A]);
        pair.names.has(&name, &[]);
        pair.until(cluster, &[]);
        pair.names.has(&name, &[C]);
        pair.until(cluster, &[C]);
        let one = pair.alike(|it| (it.answer(cluster), it.members(cluster)));
        assert_eq!(one.0, (200, C.to_owned()));
        pair.alike(|it| it.stat(cluster, "update_empty"));
    }
}

#[test]
fn a_logical_endpoint_is_all_addresses_of_a_name() {
    if !envoy::available() {
        return;
    }
    let extension = dns_cluster(true);
    let clusters = [("logical", LOGICAL), ("extension", &extension)];
    let pair = start(&clusters);
    for (cluster, _) in clusters {
        let name = format!("{cluster}.test");
        pair.until(cluster, &[A]);
        let see = |it: &Proxy| {
            (
                it.described(cluster),
                it.members(cluster),
                it.answer(cluster),
            )
        };
        pair.alike(see);
        pair.names.has(&name, &[C, A]);
        pair.until(cluster, &[C]);
        let moved = pair.alike(see);
        assert_eq!(moved.2, (200, C.to_owned()));
        // It does not go because nobody knows of it any more.
        for answer in [
            Answer::NoSuchName,
            Answer::Addresses(Vec::new(), 60),
            Answer::Code(2),
        ] {
            pair.names.set(&name, answer);
            pair.until_more(cluster, "update_failure");
            pair.until(cluster, &[C]);
        }
        pair.alike(see);
    }
}

#[test]
fn a_connection_outlives_the_address_it_went_to() {
    if !envoy::available() {
        return;
    }
    let kinds = [("strict", STRICT), ("logical", LOGICAL)];
    for (cluster, kind) in kinds {
        let pair = start(&[(cluster, kind)]);
        let name = format!("{cluster}.test");
        pair.names.has(&name, &[A]);
        pair.until(cluster, &[A]);
        let streams: Vec<_> = pair.proxies.iter().map(connect).collect();
        pair.names.has(&name, &[B]);
        pair.until(cluster, &[B]);
        for mut stream in streams {
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                .expect("written");
            let head = http::read_head(&mut stream)
                .expect("a head")
                .expect("an answer");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let mut body = [0; A.len()];
            stream.read_exact(&mut body).expect("a body");
            assert_eq!(body, A.as_bytes());
        }
    }
}

/// A connection of bytes through the proxy, to its endpoint.
fn connect(proxy: &Proxy) -> TcpStream {
    let active = || proxy.stat_of_any("upstream_cx_active");
    let before = active();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(true, false)));
    let stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let reached = eventually(PATIENCE, || (active() > before).then_some(()));
    reached.expect("an endpoint is reached");
    stream
}

#[test]
fn a_logical_endpoint_is_reached_at_its_next_address_where_the_first_refuses() {
    if !envoy::available() {
        return;
    }
    let pair = start(&[("logical", LOGICAL)]);
    pair.names.has("logical.test", &["127.71.0.9", B]);
    pair.until("logical", &["127.71.0.9"]);
    let counts = |it: &Proxy| {
        ["upstream_cx_total", "upstream_cx_connect_fail"].map(|name| it.stat("logical", name))
    };
    let counted = pair.alike(|it| {
        let before = counts(it);
        assert_eq!(it.answer("logical"), (200, B.to_owned()));
        let after = counts(it);
        [after[0] - before[0], after[1] - before[1]]
    });
    // Each address that was tried.
    assert_eq!(counted, [2, 0]);
}

#[test]
fn names_of_several_priorities_fail_over() {
    if !envoy::available() {
        return;
    }
    let names = Server::start(Ipv4Addr::LOCALHOST);
    names.has("first.test", &[A]);
    names.has("second.test", &[B, C]);
    let locality = |name: &str, priority: u32| {
        format!(
            "{{ priority: {priority}, locality: {{ region: r{priority} }}, lb_endpoints: \
             [{{ load_balancing_weight: 3, endpoint: {{ hostname: called-{priority}, address: {{ \
             socket_address: {{ address: {name}, port_value: @PORT@ }} }} }} }}] }}"
        )
    };
    let cluster = format!(
        "{{ name: c, {STRICT}, connect_timeout: 5s, load_assignment: {{ cluster_name: c, \
         endpoints: [{}, {}] }} }}",
        locality("first.test", 0),
        locality("second.test", 1)
    );
    let pair = Pair::start(names, &[A, B, C], (&["c"], &cluster), RESOLVER);
    pair.until("c", &[A, B, C]);
    pair.alike(|it| (it.described("c"), it.members("c"), it.answer("c")));
    pair.names.set("first.test", Answer::NoSuchName);
    pair.until("c", &[B, C]);
    pair.alike(|it| (it.described("c"), it.members("c")));
    for proxy in &pair.proxies {
        assert_eq!(proxy.answer("c").0, 200);
    }
}

#[test]
fn a_proxy_begins_once_it_knows_where_its_clusters_are() {
    if !envoy::available() {
        return;
    }
    let pair = start(&[("strict", STRICT)]);
    // Nothing was waited for but the listener.
    assert_eq!(pair.alike(|it| it.answer("strict").0), 200);
}
