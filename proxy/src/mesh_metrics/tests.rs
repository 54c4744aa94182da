use std::{net::IpAddr, sync::Arc};

use tokio::sync::mpsc;
use weir_api::{names, workload::Workload};

use super::*;
use crate::{
    config::endpoint::{Endpoint, LoadAssignment, LocalityEndpoints},
    demand::{self, Demand, DemandReceiver},
};

const PEER: &str = "10.4.0.7";

fn workload(name: &str, labels: &[(&str, &'static str)]) -> Workload {
    Workload::new(name, "shop", |key| {
        let found = labels.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| *value)
    })
}

/// The metrics of `web`, what one of its workers counts with, and what that asks for.
fn web() -> (Arc<MeshMetrics>, Reporter, DemandReceiver) {
    named("weir", &[])
}

fn named(prefix: &str, without: &[&str]) -> (Arc<MeshMetrics>, Reporter, DemandReceiver) {
    let metrics = MeshMetrics::new(Settings {
        prefix: prefix.to_owned(),
        own: workload("web-v2", &[("app", "web"), ("version", "v2")]),
        cluster: "Kubernetes".to_owned(),
        without: without
            .iter()
            .map(|label| label.parse().expect("a label"))
            .collect(),
    });
    let (sender, demands) = demand::channel();
    let reporter = metrics.reporter(&snapshot(None), sender);
    (metrics, reporter, demands)
}

/// Of a control plane that is there, and says who has [`PEER`].
fn snapshot(peer: Option<Workload>) -> Arc<Snapshot> {
    let mut snapshot = Snapshot {
        discovery_available: true,
        ..Snapshot::default()
    };
    let address: IpAddr = PEER.parse().expect("an address");
    if let Some(peer) = peer {
        let endpoint = Endpoint {
            workload: Some(Arc::new(peer)),
            ..Endpoint::at((address, 15006).into())
        };
        let locality = LocalityEndpoints {
            endpoints: vec![endpoint.into()],
            ..LocalityEndpoints::default()
        };
        let assignment = LoadAssignment {
            cluster_name: names::workload(address),
            localities: vec![locality],
            ..LoadAssignment::default()
        };
        let name = names::workload(address);
        snapshot.endpoints.insert(name, Arc::new(assignment));
    }
    Arc::new(snapshot)
}

fn text(metrics: &MeshMetrics) -> String {
    let mut page = String::new();
    let mut text = metrics.text(&|_, _| true);
    while text.write_some(&mut page) {}
    page
}

fn line<'p>(page: &'p str, start: &str) -> &'p str {
    let mut lines = page.lines().filter(|line| line.starts_with(start));
    let line = lines.next().unwrap_or_else(|| panic!("no {start}: {page}"));
    assert_eq!(lines.next(), None, "{start}");
    line
}

const GET: Kind = Kind {
    protocol: Protocol::Http,
    response_code: 200,
    grpc_status: None,
    flags: ["", "", ""],
};
const REQUEST: Event = Event::Request {
    duration_us: 1_500,
    request_bytes: 10,
    response_bytes: 2_000,
};

fn key<'a>(service: &'a str, peer: Option<&'a Workload>, kind: Kind) -> Key<'a> {
    Key {
        side: Side::Source,
        peer: End {
            workload: peer,
            principal: None,
        },
        own_principal: None,
        service,
        security: Security::Unknown,
        kind,
    }
}

#[test]
fn a_request_has_the_labels_that_istio_gives_it() {
    let (metrics, reporter, _demands) = web();
    let (sender, _) = demand::channel();
    let other = metrics.reporter(&snapshot(None), sender);
    let pay = workload("pay", &[]);
    let key = key("pay.shop.svc.cluster.local", Some(&pay), GET);
    reporter.count(&key, REQUEST);
    reporter.count(&key, REQUEST);
    other.count(&key, REQUEST);
    let page = text(&metrics);
    let labels = concat!(
        r#"reporter="source",source_workload="web-v2",source_canonical_service="web","#,
        r#"source_canonical_revision="v2",source_workload_namespace="shop","#,
        r#"source_principal="unknown",source_app="web",source_version="v2","#,
        r#"source_cluster="Kubernetes",destination_workload="pay","#,
        r#"destination_workload_namespace="shop",destination_principal="unknown","#,
        r#"destination_app="unknown",destination_version="unknown","#,
        r#"destination_service="pay.shop.svc.cluster.local","#,
        r#"destination_canonical_service="pay",destination_canonical_revision="latest","#,
        r#"destination_service_name="pay",destination_service_namespace="shop","#,
        r#"destination_cluster="Kubernetes",request_protocol="http",response_flags="-","#,
        r#"connection_security_policy="unknown",response_code="200",grpc_response_status="""#,
    );
    for line in [
        format!("weir_requests_total{{{labels}}} 3"),
        format!("weir_request_duration_milliseconds_bucket{{{labels},le=\"1\"}} 0"),
        format!("weir_request_duration_milliseconds_bucket{{{labels},le=\"5\"}} 3"),
        format!("weir_request_duration_milliseconds_bucket{{{labels},le=\"+Inf\"}} 3"),
        format!("weir_request_duration_milliseconds_sum{{{labels}}} 4.500"),
        format!("weir_request_duration_milliseconds_count{{{labels}}} 3"),
        format!("weir_request_bytes_sum{{{labels}}} 30"),
        format!("weir_response_bytes_sum{{{labels}}} 6000"),
        "weir_mesh_metrics_series{} 2".to_owned(),
    ] {
        assert!(page.lines().any(|known| known == line), "{line}\n{page}");
    }
}

#[test]
fn names_begin_as_the_settings_say() {
    let (metrics, reporter, _demands) = named("istio", &[]);
    reporter.count(&key("pay.shop.svc.cluster.local", None, GET), REQUEST);
    let page = text(&metrics);
    let mut lines = page.lines().filter(|line| !line.starts_with('#'));
    assert!(lines.clone().count() > 60, "{page}");
    assert!(lines.all(|line| line.starts_with("istio_")), "{page}");
}

#[test]
fn a_connection_is_counted_while_it_lives() {
    let (metrics, reporter, _demands) = web();
    let kind = Kind {
        protocol: Protocol::Tcp,
        response_code: 0,
        ..GET
    };
    let key = key("db.shop.svc.cluster.local", None, kind);
    let (to_server, to_client) = (5, 7);
    reporter.count(&key, Event::Opened);
    reporter.count(
        &key,
        Event::Moved {
            to_server,
            to_client,
        },
    );
    let page = text(&metrics);
    for (metric, value) in [
        ("weir_tcp_connections_opened_total", "1"),
        ("weir_tcp_connections_closed_total", "0"),
        ("weir_tcp_received_bytes_total", "5"),
        ("weir_tcp_sent_bytes_total", "7"),
    ] {
        let line = line(&page, metric);
        assert!(line.ends_with(&format!(" {value}")), "{line}");
        assert!(line.contains(r#"request_protocol="tcp""#), "{line}");
        assert!(!line.contains("response_code"), "{line}");
    }
}

#[test]
fn no_address_is_a_label_and_what_has_no_service_is_named_by_its_cluster() {
    for (service, host, name) in [
        (
            "10-4-0-7.db.shop.svc.cluster.local",
            "db.shop.svc.cluster.local",
            "db",
        ),
        (
            "2001-db8--7.db.shop.svc.cluster.local",
            "db.shop.svc.cluster.local",
            "db",
        ),
        ("PassthroughCluster", "unknown", "PassthroughCluster"),
        ("", "unknown", "unknown"),
        ("partner.example", "partner.example", "partner.example"),
        ("a\"b\\c\nd", r#"a\"b\\c\nd"#, r#"a\"b\\c\nd"#),
    ] {
        let (metrics, reporter, _demands) = web();
        reporter.count(&key(service, None, GET), REQUEST);
        let page = text(&metrics);
        let line = line(&page, "weir_requests_total");
        let host = format!("destination_service=\"{host}\"");
        let name = format!("destination_service_name=\"{name}\"");
        assert!(line.contains(&host) && line.contains(&name), "{line}");
    }
}

#[test]
fn what_finds_no_room_overflows_and_what_is_idle_for_an_hour_is_forgotten() {
    let (metrics, reporter, _demands) = web();
    for number in 0..MAX_SERIES + 3 {
        reporter.count(&key(&format!("s{number}.example"), None, GET), REQUEST);
    }
    let page = text(&metrics);
    let overflow = page
        .lines()
        .find(|line| line.contains(r#"reporter="overflow""#));
    assert!(overflow.expect("one").ends_with(" 3"), "{overflow:?}");
    let number = |page: &str, name: &str| line(page, name).rsplit(' ').next().map(str::to_owned);
    let series = "weir_mesh_metrics_series";
    assert_eq!(number(&page, series), Some(MAX_SERIES.to_string()));
    let overflowed = "weir_mesh_metrics_overflow_total";
    assert_eq!(number(&page, overflowed).as_deref(), Some("3"));
    for _ in 0..359 {
        reporter.age();
    }
    reporter.count(&key("s0.example", None, GET), REQUEST);
    reporter.age();
    let page = text(&metrics);
    assert_eq!(number(&page, series).as_deref(), Some("1"));
    let evicted = number(&page, "weir_mesh_metrics_evicted_total");
    assert_eq!(evicted, Some((MAX_SERIES - 1).to_string()));
}

#[test]
fn labels_that_are_left_out_make_one_series_of_those_that_differ_in_nothing_else() {
    let (metrics, reporter, _demands) = named("weir", &["response_code", "response_flags"]);
    for code in [200, 404, 503] {
        let kind = Kind {
            response_code: code,
            ..GET
        };
        reporter.count(&key("pay.shop.svc.cluster.local", None, kind), REQUEST);
    }
    let page = text(&metrics);
    let lines: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("weir_requests_total"))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with(" 3"), "{lines:?}");
    assert!(!page.contains("response_code") && !page.contains("response_flags"));
    let buckets = page.lines().filter(|line| line.contains("le=\"+Inf\"} 3"));
    assert_eq!(buckets.count(), 3, "{page}");
}

#[test]
fn an_event_of_an_unknown_peer_waits_until_the_control_plane_has_said_who_it_is() {
    let (metrics, reporter, mut demands) = web();
    let address: IpAddr = PEER.parse().expect("an address");
    let key = Key {
        side: Side::Destination,
        ..key("web.shop.svc.cluster.local", None, GET)
    };
    let count = || reporter.of_peer(address, &key, REQUEST);
    count();
    count();
    assert_eq!(demands.try_recv(), Ok(Demand::Workload(address)));
    assert_eq!(demands.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    assert!(!text(&metrics).contains("weir_requests_total"));
    reporter.apply(&snapshot(Some(workload("pay", &[]))));
    let page = text(&metrics);
    let known = line(&page, "weir_requests_total");
    assert!(known.contains(r#"source_workload="pay""#), "{known}");
    assert!(known.ends_with(" 2"), "{known}");

    // Nobody has the address now.
    reporter.apply(&snapshot(None));
    for _ in 0..30 {
        reporter.age();
    }
    count();
    reporter.age();
    let page = text(&metrics);
    let unknown = page.lines().find(|line| {
        line.starts_with("weir_requests_total") && line.contains(r#"source_workload="unknown""#)
    });
    assert!(unknown.expect("one").ends_with(" 1"), "{unknown:?}");
}
