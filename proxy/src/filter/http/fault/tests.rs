use std::time::Duration;

use super::*;
use crate::{
    config::{
        http_filter::{
            HttpFilterConfig,
            fault::{AbortWith, FaultAbort, FaultDelay, FaultRateLimit, FaultRuntimeKeys},
        },
        matcher::{StringMatcher, StringPattern},
        route::{HeaderCondition, HeaderMatcher},
    },
    filter::http::{
        ActiveFilters,
        tests::{Fixture, chain, overridden, stats},
    },
    http::edits::Edits,
    metadata::Metadata,
    runtime::{Entry, FractionalPercent, Layer, Runtime},
};

/// A filter that does nothing.
fn nothing() -> Fault {
    let key = |name: &str| format!("fault.http.{name}");
    Fault {
        delay: None,
        abort: None,
        response_rate_limit: None,
        upstream_cluster: String::new(),
        headers: Vec::new(),
        downstream_nodes: Vec::new(),
        max_active_faults: None,
        disable_downstream_cluster_stats: false,
        filter_metadata: None,
        runtime: FaultRuntimeKeys {
            delay_percent: key("delay.fixed_delay_percent"),
            delay_duration: key("delay.fixed_duration_ms"),
            abort_percent: key("abort.abort_percent"),
            abort_http_status: key("abort.http_status"),
            abort_grpc_status: key("abort.grpc_status"),
            max_active_faults: key("max_active_faults"),
            response_rate_limit_percent: key("rate_limit.response_percent"),
        },
    }
}

fn abort(with: AbortWith, percent: u32) -> Fault {
    Fault {
        abort: Some(FaultAbort {
            with,
            percentage: FractionalPercent::percent(percent),
            body: String::new(),
        }),
        ..nothing()
    }
}

fn delay(fixed: Option<u64>, percent: u32) -> Fault {
    Fault {
        delay: Some(FaultDelay {
            fixed: fixed.map(Duration::from_millis),
            percentage: FractionalPercent::percent(percent),
        }),
        ..nothing()
    }
}

fn limit(fixed_kbps: Option<u64>, percent: u32) -> Fault {
    Fault {
        response_rate_limit: Some(FaultRateLimit {
            fixed_kbps,
            percentage: FractionalPercent::percent(percent),
        }),
        ..nothing()
    }
}

/// A filter that answers every request.
pub(in crate::filter::http) fn abort_all(status: u16) -> Fault {
    abort(AbortWith::Http(status), 100)
}

/// What is done to a request: `200`, `gRPC 14`, `5ms`, `1024B/s`, or nothing.
fn done(fault: Fault, fields: &str, runtime: &[(&str, &str)], random: u64) -> String {
    let (filters, _) = chain(vec![("f", HttpFilterConfig::Fault(Box::new(fault)))]);
    let mut fixture = Fixture::new(&format!("GET / HTTP/1.1\r\nHost: h{fields}"), Vec::new());
    fixture.random.set(random);
    fixture.runtime = with(runtime);
    let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
    let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
    let step = fixture.decode(&mut active, &mut edits, &mut metadata);
    match step {
        Step::Reply(reply) => match reply.of_filter.and_then(|filter| filter.grpc_status) {
            Some(status) => format!("gRPC {status}"),
            None => reply.status.to_string(),
        },
        Step::WaitUntil(until) => format!("{}ms", (until - fixture.now).as_millis()),
        Step::WholeBody { .. } | Step::Wait(_) => "it waits".to_owned(),
        Step::Continue => match active.response_throttle() {
            Some(throttle) => format!("{}B/s", throttle.bytes_per_second()),
            None => String::new(),
        },
    }
}

fn with(values: &[(&str, &str)]) -> Runtime {
    let entries = values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Entry::from_text(value)));
    Runtime::new(vec![Layer {
        name: "test".to_owned(),
        is_admin: false,
        entries: entries.collect(),
    }])
}

#[test]
fn requests_are_aborted_as_configured_asked_for_and_overridden() {
    const HTTP: AbortWith = AbortWith::Http(503);
    const GRPC: AbortWith = AbortWith::Grpc(14);
    const ASKED: AbortWith = AbortWith::Header;
    const CLUSTER: &str = "\r\nx-envoy-downstream-service-cluster: c";
    let asks = |name: &str, value| format!("\r\nx-envoy-fault-abort-{name}: {value}");
    let key = "fault.http.abort.abort_percent";
    for (with, percent, fields, runtime, random, expected) in [
        (HTTP, 100, String::new(), &[][..], 99, "503"),
        (HTTP, 0, String::new(), &[], 0, ""),
        (HTTP, 50, String::new(), &[], 49, "503"),
        (HTTP, 50, String::new(), &[], 50, ""),
        (HTTP, 0, String::new(), &[(key, "50")], 49, "503"),
        (HTTP, 100, String::new(), &[(key, "50")], 50, ""),
        (HTTP, 100, CLUSTER.to_owned(), &[(key, "0")], 0, "503"),
        (
            HTTP,
            100,
            CLUSTER.to_owned(),
            &[("fault.http.c.abort.abort_percent", "0")],
            0,
            "",
        ),
        (
            HTTP,
            100,
            String::new(),
            &[("fault.http.abort.http_status", "404")],
            0,
            "404",
        ),
        (
            HTTP,
            100,
            String::new(),
            &[("fault.http.abort.http_status", "99")],
            0,
            "503",
        ),
        (
            HTTP,
            100,
            CLUSTER.to_owned(),
            &[
                ("fault.http.abort.http_status", "404"),
                ("fault.http.c.abort.http_status", "405"),
            ],
            0,
            "405",
        ),
        (GRPC, 100, String::new(), &[], 0, "gRPC 14"),
        (
            GRPC,
            100,
            String::new(),
            &[("fault.http.abort.grpc_status", "5")],
            0,
            "gRPC 5",
        ),
        (ASKED, 100, String::new(), &[], 0, ""),
        (ASKED, 100, asks("request", "418"), &[], 0, "418"),
        (ASKED, 100, asks("request", "600"), &[], 0, ""),
        (ASKED, 100, asks("request", "x"), &[], 0, ""),
        (ASKED, 100, asks("grpc-request", "3"), &[], 0, "gRPC 3"),
        (
            ASKED,
            100,
            asks("request", "418") + &asks("request-percentage", "5"),
            &[],
            5,
            "",
        ),
        (
            ASKED,
            100,
            asks("request", "418") + &asks("request-percentage", "5"),
            &[],
            4,
            "418",
        ),
        (
            ASKED,
            10,
            asks("request", "418") + &asks("request-percentage", "50"),
            &[],
            20,
            "",
        ),
    ] {
        let text = format!("{with:?} {percent} {fields:?} {runtime:?} {random}");
        assert_eq!(
            done(abort(with, percent), &fields, runtime, random),
            expected,
            "{text}"
        );
    }
}

#[test]
fn requests_are_held_back_as_configured_asked_for_and_overridden() {
    let asks = |value| format!("\r\nx-envoy-fault-delay-request: {value}");
    let percentage = "\r\nx-envoy-fault-delay-request-percentage: 10";
    let key = "fault.http.delay.fixed_duration_ms";
    for (fixed, percent, fields, runtime, random, expected) in [
        (Some(5), 100, String::new(), &[][..], 0, "5ms"),
        (Some(5), 10, String::new(), &[], 10, ""),
        (
            Some(5),
            10,
            String::new(),
            &[("fault.http.delay.fixed_delay_percent", "20")],
            10,
            "5ms",
        ),
        (Some(5), 100, String::new(), &[(key, "7")], 0, "7ms"),
        (Some(5), 100, String::new(), &[(key, "0")], 0, ""),
        (None, 100, String::new(), &[], 0, ""),
        (None, 100, asks("12"), &[], 0, "12ms"),
        (None, 100, asks("-1"), &[], 0, ""),
        (None, 100, asks("12") + percentage, &[], 10, ""),
        (None, 100, asks("12") + percentage, &[], 9, "12ms"),
    ] {
        let text = format!("{fixed:?} {percent} {fields:?} {runtime:?} {random}");
        assert_eq!(
            done(delay(fixed, percent), &fields, runtime, random),
            expected,
            "{text}"
        );
    }
    assert!(done(delay(None, 100), &asks("18446744073709551615"), &[], 0).ends_with("ms"));
}

#[test]
fn responses_are_slowed_down_as_configured_asked_for_and_overridden() {
    let asks = |value| format!("\r\nx-envoy-fault-throughput-response: {value}");
    let key = "fault.http.rate_limit.response_percent";
    for (fixed, percent, fields, runtime, expected) in [
        (Some(1), 100, String::new(), &[][..], "1024B/s"),
        (Some(1), 0, String::new(), &[], ""),
        (Some(1), 0, String::new(), &[(key, "100")], "1024B/s"),
        (None, 100, String::new(), &[], ""),
        (None, 100, asks("2"), &[], "2048B/s"),
        (None, 100, asks("0"), &[], ""),
    ] {
        let text = format!("{fixed:?} {percent} {fields:?} {runtime:?}");
        assert_eq!(
            done(limit(fixed, percent), &fields, runtime, 0),
            expected,
            "{text}"
        );
    }
}

#[test]
fn faults_are_for_the_requests_that_they_name() {
    let header = |name: &str| HeaderMatcher {
        name: name.to_owned(),
        condition: HeaderCondition::Value(StringMatcher {
            pattern: StringPattern::Exact("1".to_owned()),
            ignore_case: false,
        }),
        invert: false,
        treat_missing_as_empty: false,
    };
    let for_cluster = |cluster: &str| Fault {
        upstream_cluster: cluster.to_owned(),
        ..abort_all(500)
    };
    let for_node = || Fault {
        downstream_nodes: vec!["a".to_owned(), "b".to_owned()],
        ..abort_all(500)
    };
    let for_headers = || Fault {
        headers: vec![header("x-a"), header("x-b")],
        ..abort_all(500)
    };
    for (fault, fields, expected) in [
        (for_cluster("web"), "", "500"),
        (for_cluster("other"), "", ""),
        (for_node(), "", ""),
        (for_node(), "\r\nx-envoy-downstream-service-node: b", "500"),
        (for_node(), "\r\nx-envoy-downstream-service-node: c", ""),
        (for_headers(), "\r\nx-a: 1", ""),
        (for_headers(), "\r\nx-a: 1\r\nx-b: 1", "500"),
    ] {
        assert_eq!(done(fault, fields, &[], 0), expected, "{fields}");
    }
}

#[test]
fn a_delay_may_end_in_an_abort_and_counts_once() {
    let fault = Fault {
        filter_metadata: Some(serde_json::Map::from_iter([("k".to_owned(), 1.into())])),
        ..Fault {
            delay: delay(Some(5), 100).delay,
            ..abort_all(500)
        }
    };
    let (filters, registry) = chain(vec![("f", HttpFilterConfig::Fault(Box::new(fault)))]);
    let head = "GET / HTTP/1.1\r\nHost: h\r\nx-envoy-downstream-service-cluster: c";
    let fixture = Fixture::new(head, Vec::new());
    let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
    let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
    let step = fixture.decode(&mut active, &mut edits, &mut metadata);
    assert!(matches!(step, Step::WaitUntil(_)) && active.has_delayed());
    let step = fixture.decode(&mut active, &mut edits, &mut metadata);
    assert!(matches!(step, Step::Reply(_)));
    assert!(metadata.get("f").is_some_and(|said| said.contains_key("k")));
    let counted = |active: u64| {
        let counts = [
            ("fault.aborts_injected", 1),
            ("fault.delays_injected", 1),
            ("fault.active_faults", active),
            ("fault.c.aborts_injected", 1),
            ("fault.c.delays_injected", 1),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts
            .map(|(name, count)| (name.to_owned(), count))
            .collect::<Vec<_>>()
    };
    assert_eq!(stats(&registry), counted(1));
    drop(active);
    assert_eq!(stats(&registry), counted(0));
}

#[test]
fn no_more_faults_are_active_than_may_be() {
    let fault = Fault {
        max_active_faults: Some(1),
        ..delay(Some(5), 100)
    };
    let (filters, registry) = chain(vec![("f", HttpFilterConfig::Fault(Box::new(fault)))]);
    let fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", Vec::new());
    let begin = || {
        let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
        let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
        let step = fixture.decode(&mut active, &mut edits, &mut metadata);
        (active, matches!(step, Step::WaitUntil(_)))
    };
    let (first, delayed) = begin();
    assert!(delayed);
    assert!(!begin().1);
    drop(first);
    assert!(begin().1);
    let overflow = ("fault.faults_overflow".to_owned(), 1);
    assert!(stats(&registry).contains(&overflow));
}

#[test]
fn a_route_replaces_the_filters_configuration() {
    let config = RouteSpecificFilterConfig::Fault(Box::new(abort_all(404)));
    let (filters, _) = chain(vec![("f", HttpFilterConfig::Fault(Box::new(nothing())))]);
    let fixture = Fixture::new(
        "GET / HTTP/1.1\r\nHost: h",
        vec![overridden("f", Some(config), None)],
    );
    let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
    let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
    let step = fixture.decode(&mut active, &mut edits, &mut metadata);
    assert!(matches!(step, Step::Reply(reply) if reply.status == 404));
}
