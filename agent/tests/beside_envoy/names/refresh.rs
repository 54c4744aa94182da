//! When names are looked up again: those that are, are so many times while the others are not.

use std::net::Ipv4Addr;

use weir_tests::{
    dns::{Answer, Server, ips},
    envoy,
    eventually::eventually,
};

use super::pair::{PATIENCE, Pair, RESOLVER};

/// Soon, and not within any test.
const SOON: &str = "0.02s";
const LATE: &str = "3600s";

/// How a cluster says when.
enum Says {
    Cluster,
    DnsCluster,
}

struct Case {
    name: &'static str,
    says: Says,
    when: String,
    /// Of each answer.
    ttl: u32,
    /// Whether it is asked for again.
    again: bool,
}

fn cases() -> Vec<Case> {
    use Says::{Cluster, DnsCluster};

    let case = |name, says, when: &str, ttl, again| Case {
        name,
        says,
        when: when.replace("SOON", SOON).replace("LATE", LATE),
        ttl,
        again,
    };
    let failing = "dns_refresh_rate: LATE, dns_failure_refresh_rate: { base_interval: ";
    let grows = "dns_failure_refresh_rate: { base_interval: SOON, max_interval: SOON }";
    vec![
        case("often", Cluster, "dns_refresh_rate: SOON", 60, true),
        case("seldom", Cluster, "dns_refresh_rate: LATE", 60, false),
        case(
            "jitter",
            Cluster,
            "dns_refresh_rate: SOON, dns_jitter: LATE",
            60,
            false,
        ),
        case(
            "ttl",
            Cluster,
            "dns_refresh_rate: SOON, respect_dns_ttl: true",
            60,
            false,
        ),
        case(
            "ttl-short",
            Cluster,
            "dns_refresh_rate: LATE, respect_dns_ttl: true",
            1,
            true,
        ),
        case(
            "ttl-none",
            Cluster,
            "dns_refresh_rate: SOON, respect_dns_ttl: true",
            0,
            true,
        ),
        case(
            "fails",
            Cluster,
            &format!("{failing}SOON, max_interval: SOON }}"),
            0,
            true,
        ),
        case("fails-late", Cluster, "dns_refresh_rate: LATE", 0, false),
        case(
            "fails-soon",
            Cluster,
            &format!("dns_refresh_rate: LATE, {grows}"),
            0,
            true,
        ),
        case("d-often", DnsCluster, "dns_refresh_rate: SOON", 60, true),
        case("d-seldom", DnsCluster, "dns_refresh_rate: LATE", 60, false),
        case(
            "d-jitter",
            DnsCluster,
            "dns_refresh_rate: SOON, dns_jitter: LATE",
            60,
            false,
        ),
        case(
            "d-ttl",
            DnsCluster,
            "dns_refresh_rate: SOON, respect_dns_ttl: true",
            60,
            false,
        ),
        case(
            "d-ttl-short",
            DnsCluster,
            "dns_refresh_rate: LATE, respect_dns_ttl: true",
            1,
            true,
        ),
        case(
            "d-ttl-least",
            DnsCluster,
            "dns_refresh_rate: LATE, respect_dns_ttl: true, dns_min_refresh_rate: LATE",
            1,
            false,
        ),
        case(
            "d-fails",
            DnsCluster,
            &format!("dns_refresh_rate: LATE, {grows}"),
            0,
            true,
        ),
        case(
            "d-fails-late",
            DnsCluster,
            "dns_refresh_rate: LATE",
            0,
            false,
        ),
    ]
}

fn message(case: &Case) -> String {
    let Case { name, when, .. } = case;
    let kind = match case.says {
        Says::Cluster => format!("type: STRICT_DNS, dns_lookup_family: V4_ONLY, {when}"),
        Says::DnsCluster => format!(
            "cluster_type: {{ name: dns, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, \
             dns_lookup_family: V4_ONLY, {when} }} }}"
        ),
    };
    format!(
        "{{ name: {name}, {kind}, load_assignment: {{ cluster_name: c, endpoints: [{{ \
         lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {name}.test, \
         port_value: @PORT@ }} }} }} }}] }}] }} }}"
    )
}

#[test]
fn names_are_looked_up_again_when_it_is_said() {
    if !envoy::available() {
        return;
    }
    let (names, cases) = (Server::start(Ipv4Addr::LOCALHOST), cases());
    for case in &cases {
        let answer = match case.name.contains("fails") {
            true => Answer::Code(2),
            false => Answer::Addresses(ips(&["127.71.0.1"]), case.ttl),
        };
        names.set(&format!("{}.test", case.name), answer);
    }
    let messages: Vec<_> = cases.iter().map(message).collect();
    let pair = Pair::start(
        names,
        &["127.71.0.1"],
        (&["often"], &messages.join(", ")),
        RESOLVER,
    );
    let attempts = |name| {
        pair.proxies
            .each_ref()
            .map(|it| it.stat(name, "update_attempt"))
    };
    for case in cases.iter().filter(|case| case.again) {
        let many = || (attempts(case.name).iter().min() > Some(&3)).then_some(());
        eventually(PATIENCE, many).unwrap_or_else(|_| {
            panic!("{}: {:?}, Envoy first", case.name, attempts(case.name));
        });
    }
    for case in cases.iter().filter(|case| !case.again) {
        assert_eq!(attempts(case.name), [1, 1], "{}", case.name);
    }
}
