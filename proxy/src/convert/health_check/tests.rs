use weir_api::xds::json;

use super::*;
use crate::{config::health_check::Checker, convert};

const REQUIRED: &str = "timeout: 1s, interval: 2s, unhealthy_threshold: 3, healthy_threshold: 4";

/// The health check of a cluster with these fields, or what is wrong with it.
fn read(fields: &str) -> Result<HealthCheck, String> {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: c, health_checks: [ {{ {fields} }} ] }} ] }}"
    );
    let message = json::read_bootstrap(&text).expect(fields);
    let config = convert::bootstrap(message).map_err(|error| error.to_string())?;
    let cluster = config.clusters.into_iter().next().expect("a cluster");
    let cluster = std::sync::Arc::into_inner(cluster).expect("nobody else has it");
    Ok(cluster.health_check.expect("a check"))
}

fn web(fields: &str) -> Result<HealthCheck, String> {
    read(&format!(
        "{REQUIRED}, http_health_check: {{ path: /, {fields} }}"
    ))
}

#[test]
fn what_is_absent_follows_from_what_is_there() {
    let seconds = Duration::from_secs;
    let check = read(&format!("{REQUIRED}, tcp_health_check: {{}}")).expect("sound");
    let expected = Intervals {
        interval: seconds(2),
        no_traffic: seconds(60),
        no_traffic_healthy: seconds(60),
        unhealthy: seconds(2),
        unhealthy_edge: seconds(2),
        healthy_edge: seconds(2),
        initial_jitter: Duration::ZERO,
        jitter: Duration::ZERO,
        jitter_percent: 0,
    };
    assert_eq!(check.intervals, expected);
    assert_eq!(
        (
            check.timeout,
            check.unhealthy_threshold,
            check.healthy_threshold
        ),
        (seconds(1), 3, 4)
    );
    assert!(check.reuse_connection);
    let all = "initial_jitter: 5s, interval_jitter: 6s, interval_jitter_percent: 7, \
        no_traffic_interval: 8s, no_traffic_healthy_interval: 9s, unhealthy_interval: 10s, \
        unhealthy_edge_interval: 11s, healthy_edge_interval: 12s";
    let check = read(&format!("{REQUIRED}, {all}, tcp_health_check: {{}}")).expect("sound");
    let expected = Intervals {
        interval: seconds(2),
        no_traffic: seconds(8),
        no_traffic_healthy: seconds(9),
        unhealthy: seconds(10),
        unhealthy_edge: seconds(11),
        healthy_edge: seconds(12),
        initial_jitter: seconds(5),
        jitter: seconds(6),
        jitter_percent: 7,
    };
    assert_eq!(check.intervals, expected);
    let some = format!(
        "{REQUIRED}, no_traffic_interval: 8s, unhealthy_interval: 10s, tcp_health_check: {{}}"
    );
    let Intervals {
        no_traffic_healthy,
        unhealthy_edge,
        ..
    } = read(&some).expect("sound").intervals;
    assert_eq!(
        (no_traffic_healthy, unhealthy_edge),
        (seconds(8), seconds(10))
    );
}

#[test]
fn text_is_in_hexadecimal_and_bytes_are_as_they_are() {
    let fields =
        "method: POST, send: { text: '00fF' }, receive: [{ binary: aGk= }, { text: '0a' }]";
    let Checker::Http(check) = web(fields).expect("sound").checker else {
        panic!("it is HTTP");
    };
    assert_eq!(check.send, [0, 255]);
    assert_eq!(check.receive, [b"hi".to_vec(), vec![10]]);
    let expected = &check.expected_statuses;
    assert!(matches!(expected.as_slice(), [only] if *only == (200..201)));
    for text in ["", "0", "0g"] {
        let error = web(&format!("receive: [{{ text: '{text}' }}]")).expect_err(text);
        assert!(error.contains("receive[0].text"), "{error}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (fields, problem) in [
        ("tcp_health_check: {}", "health_checks[0].timeout: required"),
        (
            "timeout: 0s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}",
            "health_checks[0].timeout: 0s",
        ),
        (REQUIRED, "health_checks[0].health_checker: required"),
        (
            &format!("{REQUIRED}, tcp_health_check: {{}}, alt_port: 1"),
            "health_checks[0].alt_port: not supported: 1",
        ),
        (
            &format!("{REQUIRED}, tcp_health_check: {{ proxy_protocol_config: {{}} }}"),
            "tcp_health_check.proxy_protocol_config: not supported",
        ),
        (
            &format!("{REQUIRED}, tcp_health_check: {{}}, event_service: {{}}"),
            "event_service: not supported",
        ),
        (
            &format!("{REQUIRED}, custom_health_check: {{ name: envoy.health_checkers.redis }}"),
            "custom_health_check: not supported: \"envoy.health_checkers.redis\"",
        ),
        (
            &format!("{REQUIRED}, grpc_health_check: {{}}"),
            "grpc_health_check: only a cluster that speaks HTTP/2",
        ),
        (
            &format!(
                "{REQUIRED}, tcp_health_check: {{}} }}, {{ {REQUIRED}, tcp_health_check: {{}}"
            ),
            "health_checks[1]: not supported",
        ),
        (
            &format!(
                "{REQUIRED}, tcp_health_check: {{}}, event_logger: [{{ name: x, typed_config: {{ \"@type\": type.googleapis.com/google.protobuf.StringValue, value: x }} }}]"
            ),
            "event_logger[0].typed_config: not supported",
        ),
    ] {
        let error = read(fields).expect_err(fields);
        assert!(error.contains(problem), "{fields}\n{error}");
    }
    for (fields, problem) in [
        (
            "send: { text: '00' }",
            "http_health_check.send: a request with method GET",
        ),
        ("method: CONNECT", "http_health_check.method: CONNECT"),
        (
            "codec_client_type: HTTP3",
            "codec_client_type: not supported: HTTP3",
        ),
        (
            "expected_statuses: [{ start: 200, end: 200 }]",
            "expected_statuses[0]: 200 to 200",
        ),
        (
            "retriable_statuses: [{ start: 99, end: 200 }]",
            "retriable_statuses[0]: 99 to 200",
        ),
        (
            "expected_statuses: [{ start: 500, end: 601 }]",
            "expected_statuses[0]: 500 to 601",
        ),
        (
            "response_buffer_size: 1, receive: [{ text: '0000' }]",
            "receive: 2 bytes",
        ),
        (
            "request_headers_to_add: [{ header: { key: a, value: '%PROTOCOL%' } }]",
            "request_headers_to_add[0].header.value: not supported",
        ),
        (
            "request_headers_to_add: [{ header: { key: ':path', value: x } }]",
            "request_headers_to_add[0].header.key",
        ),
        (
            "request_headers_to_remove: [host]",
            "request_headers_to_remove[0]: \"host\"",
        ),
    ] {
        let error = web(fields).expect_err(fields);
        assert!(error.contains(problem), "{fields}\n{error}");
    }
}
