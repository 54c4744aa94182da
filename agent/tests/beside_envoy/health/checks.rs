//! Hosts that are asked how they are: the same answers to both, and then who is healthy and what was
//! counted.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    thread,
};

use serde_json::Value;
use weir_tests::{envoy, eventually::eventually, http};

use super::{
    Cluster, PATIENCE, Pair,
    asking::{Answer, answering_http2},
    lb_endpoint, refusing,
};
use crate::proxies::Proxy;

/// One check, and none after it for the length of a test.
const ONCE: &str = "timeout: 1s, interval: 3600s, no_traffic_interval: 3600s, unhealthy_threshold: 2, healthy_threshold: 2";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A host that says this to all who connect, once they have said something if it is to wait.
fn host(words: &'static [u8], waits: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut read = [0; 4096];
                while !waits || matches!(stream.read(&mut read), Ok(1..)) {
                    if stream.write_all(words).is_err() {
                        return;
                    }
                    if !waits {
                        // The proxy ends it.
                        let _ = stream.read(&mut read);
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Flags of hosts, the same in JSON, and what was counted.
pub(super) type Settled = (Vec<String>, Vec<Value>, BTreeMap<String, String>);

fn cluster(name: &str, check: &str, hosts: &[SocketAddr]) -> Cluster {
    let endpoints = hosts.iter().map(|host| lb_endpoint(*host, "HEALTHY"));
    let endpoints: Vec<_> = endpoints.collect();
    Cluster {
        name: name.to_owned(),
        fields: format!("health_checks: [{{ {check} }}],"),
        localities: format!("{{ lb_endpoints: [{}] }}", endpoints.join(", ")),
    }
}

/// Once all first checks have ended: flags by the name of the cluster, and what was counted.
pub(super) fn settled(proxy: &Proxy, names: &[&str]) -> BTreeMap<String, Settled> {
    let each = names.iter().map(|name| {
        eventually(PATIENCE, || {
            let ended =
                proxy.stat(name, "health_check.success") + proxy.stat(name, "health_check.failure");
            (ended > 0).then_some(())
        })
        .expect(name);
        let flags: Vec<String> = proxy.flags(name).into_values().collect();
        let mut stats = proxy.stats(name, "health_check.");
        stats.extend(proxy.stats(name, "membership_"));
        (
            (*name).to_owned(),
            (flags, proxy.health_statuses(name), stats),
        )
    });
    each.collect()
}

#[test]
fn what_an_answer_says_of_a_host_it_says_to_both() {
    if !envoy::available() {
        return;
    }
    let web = |fields: &str| format!("{ONCE}, http_health_check: {{ path: /healthz, {fields} }}");
    let tcp = |fields: &str| format!("{ONCE}, tcp_health_check: {{ {fields} }}");
    let answer = |words: &'static str| host(words.as_bytes(), true);
    let rows: Vec<(&str, String, SocketAddr)> = vec![
        ("ok", web(""), answer(OK)),
        ("refused", web(""), refusing()),
        (
            "unavailable",
            web(""),
            answer("HTTP/1.1 503 U\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "moved",
            web(""),
            answer("HTTP/1.1 302 F\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "range",
            web("expected_statuses: [{ start: 300, end: 400 }]"),
            answer("HTTP/1.1 302 F\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "not-in-range",
            web("expected_statuses: [{ start: 300, end: 302 }]"),
            answer("HTTP/1.1 302 F\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "degraded",
            web(""),
            answer("HTTP/1.1 200 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "excluded",
            web(""),
            answer(
                "HTTP/1.1 503 U\r\nx-envoy-immediate-health-check-fail: true\r\ncontent-length: 0\r\n\r\n",
            ),
        ),
        (
            "ok-though-excluded",
            web(""),
            answer(
                "HTTP/1.1 200 OK\r\nx-envoy-immediate-health-check-fail: true\r\ncontent-length: 0\r\n\r\n",
            ),
        ),
        (
            "has",
            web("receive: [{ text: '6f' }, { text: '6b' }]"),
            answer(OK),
        ),
        (
            "has-not",
            web("receive: [{ text: '6b' }, { text: '6f' }]"),
            answer(OK),
        ),
        (
            "too-late",
            web("response_buffer_size: 1, receive: [{ text: '6b' }]"),
            answer(OK),
        ),
        (
            "name",
            web("service_name_matcher: { prefix: 'locations' }"),
            answer(
                "HTTP/1.1 200 OK\r\nx-envoy-upstream-healthchecked-cluster: locations-a\r\ncontent-length: 0\r\n\r\n",
            ),
        ),
        (
            "no-name",
            web("service_name_matcher: { prefix: 'locations' }"),
            answer(OK),
        ),
        ("garbage", web(""), answer("what?\r\n\r\n")),
        (
            "cut",
            web(""),
            host(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab", false),
        ),
        ("silent", web(""), host(b"", true)),
        ("connects", tcp(""), host(b"", true)),
        ("nobody", tcp(""), refusing()),
        (
            "speaks",
            tcp("receive: [{ text: '6869' }]"),
            host(b"oh hi", false),
        ),
        (
            "echoes",
            tcp("send: { text: '6869' }, receive: [{ binary: aGk= }]"),
            host(b"hi", true),
        ),
        (
            "says-nothing",
            tcp("receive: [{ text: '6869' }]"),
            host(b"", true),
        ),
        (
            "not-grpc",
            format!("{ONCE}, grpc_health_check: {{}}"),
            answer(OK),
        ),
    ];
    let clusters: Vec<Cluster> = rows
        .iter()
        .map(|(name, check, host)| {
            let mut cluster = cluster(name, check, &[*host]);
            if check.contains("grpc") {
                cluster.fields.push_str(" http2_protocol_options: {},");
            }
            cluster
        })
        .collect();
    let names: Vec<&str> = rows.iter().map(|(name, _, _)| *name).collect();
    let Pair([envoy, weir]) = Pair::start(&clusters);
    let (envoys, ours) = (settled(&envoy, &names), settled(&weir, &names));
    let differing: Vec<_> = names
        .iter()
        .filter(|name| envoys[**name] != ours[**name])
        .map(|name| {
            format!(
                "{name}\n  Envoy {:?}\n  Weir  {:?}",
                envoys[*name], ours[*name]
            )
        })
        .collect();
    assert!(differing.is_empty(), "\n{}", differing.join("\n"));
}

/// A host that answers the requests of each connection with these, one after the other, and from then on
/// with the last.
fn scripted(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let last = answers.last().into_iter().cycle();
                for answer in answers.iter().chain(last) {
                    if !matches!(http::read_head(&mut stream), Ok(Some(_))) {
                        return;
                    }
                    let head = answer.replace('|', "\r\n");
                    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The lines of a file of events, without their times.
fn events(path: &Path, proxy: &Proxy, of: &str, count: usize) -> Vec<Value> {
    let name = format!("events-{}-{of}", proxy.admin().port());
    eventually(PATIENCE, || {
        let text = fs::read_to_string(path.join(&name)).unwrap_or_default();
        let lines = text.lines().take(count).map(|line| {
            let mut event: Value = serde_json::from_str(line).expect(line);
            let time = event.as_object_mut().and_then(|it| it.remove("timestamp"));
            assert!(time.is_some_and(|time| time.is_string()), "{line}");
            event
        });
        let lines: Vec<Value> = lines.collect();
        (lines.len() == count).then_some(lines)
    })
    .expect("the events")
}

#[test]
fn changes_of_health_follow_thresholds_and_are_written_down_alike() {
    if !envoy::available() {
        return;
    }
    const BAD: &str = "503 U";
    const MEH: &str = "429 T";
    const GOOD: &str = "200 OK";
    const DEGRADED: &str = "200 OK|x-envoy-degraded: yes";
    let scripts: [(&str, &'static [&'static str], &str, usize); 5] = [
        // One is enough at first; then three, after which one bad one is enough.
        ("edges", &[GOOD, BAD, GOOD, BAD, GOOD, GOOD, GOOD], "", 3),
        (
            "retries",
            &[
                GOOD, MEH, GOOD, MEH, MEH, GOOD, MEH, GOOD, GOOD, GOOD, MEH, GOOD,
            ],
            "always_log_health_check_failures: true",
            8,
        ),
        (
            "degrades",
            &[DEGRADED, GOOD, DEGRADED, BAD, GOOD, DEGRADED, GOOD, GOOD],
            "",
            7,
        ),
        ("gone", &[], "always_log_health_check_failures: true", 2),
        (
            "succeeds",
            &[BAD, GOOD, GOOD, GOOD, GOOD],
            "always_log_health_check_success: true",
            6,
        ),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events-@ADMIN@");
    let clusters = scripts.map(|(name, script, fields, _)| {
        let fields = format!(
            "timeout: 30s, interval: 0.03s, no_traffic_interval: 0.03s, unhealthy_threshold: 2, healthy_threshold: 3, \
             event_logger: [{{ name: file, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink, event_log_path: {}-{name} }} }}], \
             http_health_check: {{ path: /, retriable_statuses: [{{ start: 429, end: 430 }}] }}, {fields}",
            path.display()
        );
        let host = match script.is_empty() {
            true => refusing(),
            false => scripted(script),
        };
        cluster(name, &fields, &[host])
    });
    let Pair(proxies) = Pair::start(&clusters);
    for (name, _, _, count) in scripts {
        let [envoys, ours] = proxies
            .each_ref()
            .map(|proxy| events(directory.path(), proxy, name, count));
        assert_eq!(ours, envoys, "{name}");
    }
}

#[test]
fn what_grpc_says_of_a_host_it_says_to_both() {
    if !envoy::available() {
        return;
    }
    let good = Answer::SERVING;
    let rows = [
        ("serving", good),
        (
            "suffix",
            Answer {
                content_type: "application/grpc+proto",
                ..good
            },
        ),
        (
            "not-serving",
            Answer {
                message: &[0, 0, 0, 0, 2, 8, 2],
                ..good
            },
        ),
        (
            "unknown",
            Answer {
                message: &[0, 0, 0, 0, 0],
                ..good
            },
        ),
        (
            "unknown-fields",
            Answer {
                message: &[0, 0, 0, 0, 4, 16, 7, 8, 1],
                ..good
            },
        ),
        (
            "two",
            Answer {
                message: &[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1],
                ..good
            },
        ),
        (
            "compressed",
            Answer {
                message: &[1, 0, 0, 0, 2, 8, 1],
                ..good
            },
        ),
        (
            "cut",
            Answer {
                message: &[0, 0, 0, 0, 9, 8, 1],
                ..good
            },
        ),
        (
            "nothing",
            Answer {
                message: &[],
                ..good
            },
        ),
        (
            "error",
            Answer {
                grpc_status: Some("13"),
                ..good
            },
        ),
        (
            "unimplemented",
            Answer {
                message: &[],
                grpc_status: Some("12"),
                ..good
            },
        ),
        (
            "no-trailers",
            Answer {
                grpc_status: None,
                ..good
            },
        ),
        (
            "not-found",
            Answer {
                status: 404,
                grpc_status: None,
                ..good
            },
        ),
        (
            "page",
            Answer {
                content_type: "text/html",
                ..good
            },
        ),
    ];
    let clusters: Vec<Cluster> = rows
        .iter()
        .map(|(name, answer)| {
            let (host, _) = answering_http2(*answer);
            let mut cluster = cluster(name, &format!("{ONCE}, grpc_health_check: {{}}"), &[host]);
            cluster.fields.push_str(" http2_protocol_options: {},");
            cluster
        })
        .collect();
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let Pair([envoy, weir]) = Pair::start(&clusters);
    let (envoys, ours) = (settled(&envoy, &names), settled(&weir, &names));
    for name in names {
        assert_eq!(ours[name], envoys[name], "{name}");
    }
    assert_eq!(ours["serving"].0, ["healthy"]);
    assert_eq!(ours["not-serving"].0, ["/failed_active_hc"]);
}
