//! Whom names are asked of, and how. What a cluster says of it counts before what the bootstrap says.

use std::net::Ipv4Addr;

use weir_tests::{
    dns::{Answer, Server, ips},
    envoy,
};

use super::pair::{Pair, RESOLVER};

const A: &str = "127.71.0.1";
const B: &str = "127.71.0.2";
const CARES: &str =
    "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";

/// A cluster called like the name it looks up, whose type and more is `kind`.
fn cluster(name: &str, kind: &str) -> String {
    format!(
        "{{ name: {name}, {kind}, load_assignment: {{ cluster_name: c, endpoints: [{{ \
         lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {name}.test, \
         port_value: @PORT@ }} }} }} }}] }}] }} }}"
    )
}

fn dns_cluster(fields: &str) -> String {
    format!(
        "cluster_type: {{ name: dns, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, {fields} }} }}"
    )
}

#[test]
fn a_cluster_says_whom_its_names_are_asked_of() {
    if !envoy::available() {
        return;
    }
    let (of_bootstrap, other) = (
        Server::start(Ipv4Addr::LOCALHOST),
        Server::start(Ipv4Addr::LOCALHOST),
    );
    let at = format!(
        "{{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}",
        other.address.port()
    );
    let cares = |fields: &str| {
        format!(
            "typed_dns_resolver_config: {{ name: cares, typed_config: {{ \"@type\": {CARES}, \
             resolvers: [{at}], {fields} }} }}"
        )
    };
    let no_search = "dns_resolver_options: { no_default_search_domain: true }";
    let tcp =
        "dns_resolver_options: { no_default_search_domain: true, use_tcp_for_dns_lookups: true }";
    let strict = "type: STRICT_DNS, dns_lookup_family: V4_ONLY";
    let ways = [
        ("bootstrap", strict.to_owned()),
        ("resolvers", format!("{strict}, dns_resolvers: [{at}]")),
        (
            "resolvers-tcp",
            format!("{strict}, dns_resolvers: [{at}], use_tcp_for_dns_lookups: true"),
        ),
        (
            "resolution",
            format!("{strict}, dns_resolution_config: {{ resolvers: [{at}], {no_search} }}"),
        ),
        (
            "resolution-tcp",
            format!("{strict}, dns_resolution_config: {{ resolvers: [{at}], {tcp} }}"),
        ),
        ("typed", format!("{strict}, {}", cares(no_search))),
        ("typed-tcp", format!("{strict}, {}", cares(tcp))),
        (
            "extension",
            dns_cluster(&format!("dns_lookup_family: V4_ONLY, {}", cares(no_search))),
        ),
    ];
    for (name, _) in &ways {
        let name = format!("{name}.test");
        let answer = match name.contains("-tcp") {
            true => Answer::OnlyTcp(ips(&[B])),
            false => Answer::Addresses(ips(&[B]), 60),
        };
        other.set(&name, answer);
        of_bootstrap.has(&name, &[A]);
    }
    let messages: Vec<_> = ways
        .iter()
        .map(|(name, kind)| cluster(name, kind))
        .collect();
    let pair = Pair::start(
        of_bootstrap,
        &[A, B],
        (&["bootstrap"], &messages.join(", ")),
        RESOLVER,
    );
    pair.until("bootstrap", &[A]);
    for (name, _) in ways.iter().skip(1) {
        pair.until(name, &[B]);
    }
}

#[test]
fn the_bootstrap_says_it_in_two_ways() {
    if !envoy::available() {
        return;
    }
    let names = Server::start(Ipv4Addr::LOCALHOST);
    names.set("c.test", Answer::OnlyTcp(ips(&[A])));
    let message = cluster("c", "type: STRICT_DNS, dns_lookup_family: V4_ONLY");
    let bootstrap = "dns_resolution_config: { resolvers: [{ socket_address: { address: 127.0.0.1, \
         port_value: @DNS@ } }], dns_resolver_options: { use_tcp_for_dns_lookups: true, \
         no_default_search_domain: true } }";
    let pair = Pair::start(names, &[A], (&["c"], &message), bootstrap);
    pair.until("c", &[A]);
}

#[test]
fn families_are_asked_for_alike() {
    if !envoy::available() {
        return;
    }
    let names = Server::start(Ipv4Addr::LOCALHOST);
    let families = ["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"];
    let kinds = ["both", "old", "new", "half", "unsure"];
    let (mut listed, mut messages) = (Vec::new(), Vec::new());
    for kind in kinds {
        for family in families {
            for single in ["STRICT_DNS", "LOGICAL_DNS", "DnsCluster"] {
                let name = format!("{kind}-{family}-{single}")
                    .to_lowercase()
                    .replace('_', "-");
                let host = format!("{name}.test");
                match kind {
                    "both" => names.has(&host, &["::1", A, B]),
                    "old" => names.has(&host, &[A]),
                    "new" => names.has(&host, &["::1"]),
                    "unsure" => {
                        names.has(&host, &[]);
                        names.set_type(&host, 1, Answer::Code(2));
                    }
                    _ => {
                        names.has(&host, &[A]);
                        names.set_type(&host, 28, Answer::Code(2));
                    }
                }
                let fields = format!("dns_lookup_family: {family}");
                messages.push(match single {
                    "DnsCluster" => cluster(&name, &dns_cluster(&fields)),
                    _ => cluster(&name, &format!("type: {single}, {fields}")),
                });
                listed.push(name);
            }
        }
    }
    let routes: Vec<&str> = listed.iter().map(String::as_str).collect();
    let pair = Pair::start(names, &[A], (&routes, &messages.join(", ")), RESOLVER);
    for name in &listed {
        pair.until_answered(name);
        pair.alike(|it| {
            let settled =
                ["update_success", "update_failure"].map(|stat| it.stat(name, stat).min(1));
            (name.clone(), it.described(name), settled)
        });
    }
}

#[test]
fn a_silent_server_is_asked_as_often_as_it_is_said() {
    if !envoy::available() {
        return;
    }
    let names = Server::start(Ipv4Addr::LOCALHOST);
    names.set("c.test", Answer::Silence);
    let resolver = format!(
        "typed_dns_resolver_config: {{ name: cares, typed_config: {{ \"@type\": {CARES}, \
         resolvers: [{{ socket_address: {{ address: 127.0.0.1, port_value: @DNS@ }} }}], \
         query_timeout_seconds: 1, query_tries: 2, \
         dns_resolver_options: {{ no_default_search_domain: true }} }} }}"
    );
    let message = cluster(
        "c",
        "type: STRICT_DNS, dns_lookup_family: V4_ONLY, dns_refresh_rate: 3600s",
    );
    let pair = Pair::start(names, &[A], (&["c"], &message), &resolver);
    pair.until_answered("c");
    pair.alike(|it| it.stat("c", "update_failure"));
    assert_eq!(pair.names.times("c.test"), 4);
}
