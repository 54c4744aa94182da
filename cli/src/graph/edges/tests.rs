use super::*;

/// A line with these labels beside both ends'.
fn line(name: &str, reporter: &str, labels: &str, value: f64) -> String {
    format!(
        "weir_{name}{{reporter=\"{reporter}\",source_workload=\"front\",\
         source_workload_namespace=\"shop\",destination_workload=\"pay\",\
         destination_workload_namespace=\"shop\",{labels}}} {value}\n"
    )
}

fn shown(page: &str) -> Vec<(Pair, Shown)> {
    let mut edges = Edges::default();
    edges.add(page);
    edges.into_sorted()
}

#[test]
fn a_pair_counts_by_its_client_and_is_secured_by_its_server() {
    let http = |code: &str| format!("request_protocol=\"http\",response_code=\"{code}\"");
    let secured = http("200") + ",connection_security_policy=\"mutual_tls\"";
    let page = [
        line("requests_total", "source", &http("200"), 7.0),
        line("requests_total", "source", &http("503"), 2.0),
        line("requests_total", "source", &http("0"), 1.0),
        line("requests_total", "destination", &secured, 8.0),
    ];
    let shown = shown(&page.concat());
    assert_eq!(shown.len(), 1);
    let (pair, edge) = &shown[0];
    assert_eq!(pair.source.to_string(), "shop/front");
    assert_eq!(pair.destination.to_string(), "shop/pay");
    assert_eq!((edge.counts.calls, edge.counts.failed), (10.0, 3.0));
    assert_eq!(edge.mutual_tls, Some(1.0));
}

#[test]
fn a_call_of_grpc_fails_by_its_status_and_a_connection_by_its_flags() {
    let grpc = |status: &str| {
        format!("request_protocol=\"grpc\",response_code=\"200\",grpc_response_status=\"{status}\"")
    };
    let tcp = |flags: &str| format!("request_protocol=\"tcp\",response_flags=\"{flags}\"");
    let opened = "tcp_connections_opened_total";
    let page = [
        line("requests_total", "source", &grpc("0"), 5.0),
        line("requests_total", "source", &grpc("14"), 1.0),
        line(opened, "source", &tcp("-"), 3.0),
        line(opened, "source", &tcp("UF"), 1.0),
        line("tcp_sent_bytes_total", "source", &tcp("-"), 100.0),
        line("tcp_received_bytes_total", "source", &tcp("-"), 20.0),
    ];
    let shown = shown(&page.concat());
    let counts = |protocol: &str| {
        let found = shown.iter().find(|(pair, _)| pair.protocol == protocol);
        let counts = &found.expect(protocol).1.counts;
        (counts.calls, counts.failed, counts.bytes)
    };
    assert_eq!(counts("grpc"), (6.0, 1.0, 0.0));
    assert_eq!(counts("tcp"), (4.0, 1.0, 120.0));
}

#[test]
fn quantiles_are_of_what_happened_since_the_earlier_look() {
    let bucket = |bound: &str, count: f64| {
        let labels = format!("request_protocol=\"http\",response_code=\"200\",le=\"{bound}\"");
        line(
            "request_duration_milliseconds_bucket",
            "source",
            &labels,
            count,
        )
    };
    let page = |counts: [f64; 3], total: f64| {
        let labels = "request_protocol=\"http\",response_code=\"200\"";
        let buckets = ["1", "5", "+Inf"].into_iter().zip(counts);
        let buckets: String = buckets.map(|(bound, count)| bucket(bound, count)).collect();
        buckets + &line("requests_total", "source", labels, total)
    };
    let (mut before, mut after) = (Edges::default(), Edges::default());
    before.add(&page([100.0, 100.0, 100.0], 100.0));
    after.add(&page([100.0, 110.0, 110.0], 110.0));
    let shown = after.since(&before).into_sorted();
    let counts = &shown[0].1.counts;
    assert_eq!(counts.calls, 10.0);
    assert_eq!(
        counts.quantile(0.5),
        Some(3.0),
        "half of the way from 1 to 5"
    );
    assert_eq!(Counts::default().quantile(0.5), None);
}
