//! Hosts that fail: the same calls through both, and then who is ejected and what was counted.

use std::{collections::BTreeMap, net::SocketAddr};

use weir_tests::{envoy, eventually::eventually};

use super::{Cluster, PATIENCE, Pair, endpoint, lb_endpoint, refusing, saying};
use crate::proxies::Proxy;

/// Ejected hosts stay ejected for the length of a test, and updates reach Envoy's workers at once.
const LASTING: &str = "interval: 3600s, base_ejection_time: 3600s, max_ejection_time: 3600s";
const AT_ONCE: &str = "common_lb_config: { update_merge_window: 0s },";

/// A cluster of these hosts.
fn cluster(name: &str, outlier_detection: &str, hosts: &[SocketAddr]) -> Cluster {
    let endpoints = hosts.iter().map(|host| lb_endpoint(*host, "HEALTHY"));
    let endpoints: Vec<_> = endpoints.collect();
    Cluster {
        name: name.to_owned(),
        fields: format!("{AT_ONCE} outlier_detection: {{ {outlier_detection} }},"),
        localities: format!("{{ lb_endpoints: [{}] }}", endpoints.join(", ")),
    }
}

/// Three hosts that answer, one that answers 503, and one that refuses.
fn five(name: &str, outlier_detection: &str) -> (Cluster, [SocketAddr; 5]) {
    let hosts = [
        endpoint("200 OK", "a"),
        endpoint("200 OK", "b"),
        endpoint("200 OK", "c"),
        endpoint("503 Unavailable", "bad"),
        refusing(),
    ];
    (cluster(name, outlier_detection, &hosts), hosts)
}

/// Calls a cluster. What its hosts' failures lead to has reached Envoy's workers when a page of its
/// admin interface, which is served by the thread that decides, has come.
fn call(proxy: &Proxy, cluster: &str, times: usize) {
    for _ in 0..times {
        if proxy.ask(cluster).status != 200 {
            proxy.flags(cluster);
        }
    }
}

fn ejected(flags: &BTreeMap<u16, String>) -> Vec<u16> {
    let ejected = flags
        .iter()
        .filter(|(_, flags)| flags.contains("/failed_outlier_check"));
    ejected.map(|(port, _)| *port).collect()
}

fn ports(hosts: &[SocketAddr]) -> Vec<u16> {
    let mut ports: Vec<u16> = hosts.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn who_fails_in_a_row_is_ejected_by_both() {
    if !envoy::available() {
        return;
    }
    // What is ejected: the last so many of the hosts.
    let rows = [
        ("errors", "consecutive_5xx: 3, max_ejection_percent: 100", 2),
        ("twenty", "consecutive_5xx: 3, max_ejection_percent: 20", 1),
        ("ten", "consecutive_5xx: 3", 0),
        ("one", "consecutive_5xx: 3, always_eject_one_host: true", 1),
        (
            "gateway",
            "consecutive_gateway_failure: 2, enforcing_consecutive_gateway_failure: 100, max_ejection_percent: 100",
            2,
        ),
        (
            "detected",
            "consecutive_5xx: 3, enforcing_consecutive_5xx: 0, consecutive_gateway_failure: 4, max_ejection_percent: 100",
            0,
        ),
        (
            "split",
            "split_external_local_origin_errors: true, consecutive_local_origin_failure: 2, consecutive_5xx: 4, max_ejection_percent: 100",
            2,
        ),
        (
            "local",
            "split_external_local_origin_errors: true, consecutive_local_origin_failure: 2, enforcing_consecutive_local_origin_failure: 0, consecutive_5xx: 0, max_ejection_percent: 100",
            0,
        ),
    ];
    let made = rows.map(|(name, fields, _)| five(name, &format!("{LASTING}, {fields}")));
    let (clusters, hosts): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let Pair([envoy, weir]) = Pair::start(&clusters);
    for ((name, _, count), hosts) in rows.into_iter().zip(hosts) {
        for proxy in [&envoy, &weir] {
            call(proxy, name, 60);
            let flags = proxy.flags(name);
            assert_eq!(ejected(&flags).len(), count, "{name} {flags:?}");
            let failing = ports(&hosts[3..]);
            assert!(
                ejected(&flags).iter().all(|port| failing.contains(port)),
                "{name}"
            );
        }
        for prefix in ["outlier_detection.", "membership_", "lb_healthy_panic"] {
            let mut envoys = envoy.stats(name, prefix);
            // Of `detect_degraded_hosts`, which is refused.
            envoys.remove("outlier_detection.ejections_detected_degradation");
            let ours = weir.stats(name, prefix);
            // Where ejections overflow, each further row of failures is counted, and whose turn it was
            // when the first calls came is left to chance.
            let is_counted = |name: &str| name.contains("detected") || name.contains("overflow");
            let both = [ours, envoys].map(|stats| {
                let stats = stats.into_iter();
                let stats = stats.filter(|(stat, _)| count == 2 || !is_counted(stat));
                stats
                    .filter(|(stat, _)| !stat.ends_with("ejections_consecutive_5xx") || count == 2)
                    .collect::<BTreeMap<_, _>>()
            });
            assert_eq!(both[0], both[1], "{name}");
        }
    }
}

#[test]
fn hosts_that_cannot_be_reached_for_bytes_are_ejected_by_both() {
    if !envoy::available() {
        return;
    }
    for split in ["", "split_external_local_origin_errors: true, "] {
        let fields = format!(
            "{LASTING}, {split}consecutive_5xx: 3, consecutive_local_origin_failure: 3, max_ejection_percent: 100"
        );
        let (cluster, hosts) = five("bytes", &fields);
        let Pair(proxies) = Pair::start(&[cluster]);
        for proxy in &proxies {
            for _ in 0..40 {
                if !proxy.connect() {
                    proxy.flags("bytes");
                }
            }
            assert_eq!(ejected(&proxy.flags("bytes")), ports(&hosts[4..]));
            let before = proxy.stat("bytes", "upstream_cx_connect_fail");
            (0..10).for_each(|_| assert!(proxy.connect()));
            assert_eq!(proxy.stat("bytes", "upstream_cx_connect_fail"), before);
        }
        let [envoy, weir] = &proxies;
        let mut envoys = envoy.stats("bytes", "outlier_detection.");
        envoys.remove("outlier_detection.ejections_detected_degradation");
        assert_eq!(weir.stats("bytes", "outlier_detection."), envoys);
    }
}

#[test]
fn a_host_comes_back_when_its_time_is_over() {
    if !envoy::available() {
        return;
    }
    let fields = "interval: 0.1s, base_ejection_time: 0.2s, consecutive_5xx: 1, max_ejection_percent: 20, enforcing_consecutive_gateway_failure: 0";
    let (cluster, _) = five("back", fields);
    let Pair(proxies) = Pair::start(&[cluster]);
    for proxy in &proxies {
        eventually(PATIENCE, || {
            proxy.ask("back");
            (proxy.stat("back", "outlier_detection.ejections_enforced_total") > 0).then_some(())
        })
        .expect("one is ejected");
        eventually(PATIENCE, || {
            let flags = proxy.flags("back");
            let active = proxy.stat("back", "outlier_detection.ejections_active");
            (ejected(&flags).is_empty() && active == 0).then_some(())
        })
        .expect("it comes back");
        assert_eq!(proxy.stat("back", "membership_healthy"), 5);
    }
}

#[test]
fn who_fails_more_often_than_others_is_ejected_by_both() {
    if !envoy::available() {
        return;
    }
    let common = "consecutive_5xx: 0, interval: 1s, base_ejection_time: 3600s, max_ejection_time: 3600s, max_ejection_percent: 100";
    let rate = "success_rate_minimum_hosts: 3, success_rate_request_volume: 3, success_rate_stdev_factor: 1000, enforcing_success_rate: 100";
    let failures = "enforcing_success_rate: 0, enforcing_failure_percentage: 100, failure_percentage_minimum_hosts: 3, failure_percentage_request_volume: 3, failure_percentage_threshold: 90";
    let local = "split_external_local_origin_errors: true, consecutive_local_origin_failure: 0, enforcing_failure_percentage_local_origin: 100, enforcing_local_origin_success_rate: 0, failure_percentage_minimum_hosts: 3, failure_percentage_request_volume: 3, failure_percentage_threshold: 90, enforcing_success_rate: 0";
    for (name, fields, which, counter) in [
        ("rate", rate, 3..5, "ejections_enforced_success_rate"),
        (
            "failures",
            failures,
            3..5,
            "ejections_enforced_failure_percentage",
        ),
        (
            "local",
            local,
            4..5,
            "ejections_enforced_local_origin_failure_percentage",
        ),
    ] {
        let (cluster, hosts) = five(name, &format!("{common}, {fields}"));
        let Pair(proxies) = Pair::start(&[cluster]);
        for proxy in &proxies {
            let counter = format!("outlier_detection.{counter}");
            let wanted = which.len() as u64;
            eventually(PATIENCE, || {
                (0..25).for_each(|_| drop(proxy.ask(name)));
                (proxy.stat(name, &counter) >= wanted).then_some(())
            })
            .expect(name);
            assert_eq!(
                ejected(&proxy.flags(name)),
                ports(&hosts[which.clone()]),
                "{name}"
            );
        }
    }
}

/// Name, what the endpoint says, and whether one such failure makes it an outlier.
type Saying = (&'static str, Option<&'static str>, bool);

#[test]
fn what_counts_as_a_failure_does_so_for_both() {
    if !envoy::available() {
        return;
    }
    const GRPC: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n";
    let grpc: [(&str, &'static str); 3] = [
        (
            "unavailable",
            Box::leak(format!("{GRPC}grpc-status: 14\r\n\r\n").into_boxed_str()),
        ),
        (
            "missing",
            Box::leak(format!("{GRPC}grpc-status: 5\r\n\r\n").into_boxed_str()),
        ),
        (
            "unknown",
            Box::leak(format!("{GRPC}grpc-status: 2\r\n\r\n").into_boxed_str()),
        ),
    ];
    let rows: [Saying; 9] = [
        (
            "cut",
            Some("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab"),
            true,
        ),
        ("closed", Some(""), true),
        ("garbage", Some("what?\r\n\r\n"), true),
        ("silent", None, true),
        (
            "teapot",
            Some("HTTP/1.1 418 T\r\ncontent-length: 0\r\n\r\n"),
            false,
        ),
        (
            "error",
            Some("HTTP/1.1 501 N\r\ncontent-length: 0\r\n\r\n"),
            true,
        ),
        (grpc[0].0, Some(grpc[0].1), true),
        (grpc[1].0, Some(grpc[1].1), false),
        (grpc[2].0, Some(grpc[2].1), true),
    ];
    let fields = format!("{LASTING}, consecutive_5xx: 1, max_ejection_percent: 100");
    let hosts = rows.map(|(_, words, _)| {
        [
            endpoint("200 OK", "a"),
            endpoint("200 OK", "b"),
            saying(words),
        ]
    });
    let clusters: Vec<Cluster> = rows
        .iter()
        .zip(&hosts)
        .map(|((name, _, _), hosts)| cluster(name, &fields, hosts))
        .collect();
    let Pair(proxies) = Pair::start(&clusters);
    for ((name, _, fails), hosts) in rows.iter().zip(&hosts) {
        for proxy in &proxies {
            (0..6).for_each(|_| proxy.ask_by_grpc(name));
            let expected = if *fails {
                ports(&hosts[2..])
            } else {
                Vec::new()
            };
            assert_eq!(ejected(&proxy.flags(name)), expected, "{name}");
        }
    }
}
