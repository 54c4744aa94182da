use serde_json::json;

use super::*;
use crate::demo::world::DemoPod;

fn world() -> World {
    let pod = |name: &str, last: u8| DemoPod {
        key: PodKey::new("shop", name),
        ip: [10, 244, 0, last].into(),
        meshed: true,
        echo: true,
        stays: true,
        declared: vec![80],
        container: "app".to_owned(),
        labels: BTreeMap::new(),
    };
    World {
        pods: vec![pod("a", 2), pod("b", 3)],
        services: Vec::new(),
    }
}

fn call() -> Call {
    Call {
        title: "a call".to_owned(),
        from: PodKey::new("shop", "a"),
        url: "http://b/".to_owned(),
        expected: Expected {
            answer_from: Some(vec!["b".to_owned()]),
            status: Some(200),
            outbound: Some("out".to_owned()),
            inbound: vec![(PodKey::new("shop", "b"), "in".to_owned())],
            endpoints: vec!["10.244.0.3:80".parse().expect("address")],
            filter_chain: "http",
            ..Expected::default()
        },
    }
}

fn good() -> (Outcome, Record, BTreeMap<PodKey, Stats>) {
    let outcome = Outcome {
        status: Some(200),
        answer: json!({ "pod": "b" }),
        ..Outcome::default()
    };
    let record = serde_json::from_value(json!({
        "direction": "outbound", "cluster": "out", "filter_chain": "http", "upstream_host": "10.244.0.3:80",
    }));
    let stat = |cluster: &str| Stats::from([(format!("cluster.{cluster}.upstream_rq_total"), 1)]);
    let grown = BTreeMap::from([
        (PodKey::new("shop", "a"), stat("out")),
        (PodKey::new("shop", "b"), stat("in")),
    ]);
    (outcome, record.expect("record"), grown)
}

#[test]
fn a_call_that_did_what_it_should_has_no_fault() {
    let (outcome, record, grown) = good();
    assert_eq!(
        faults(&world(), &call(), &outcome, Some(&record), &grown),
        Vec::<String>::new()
    );
    assert_eq!(
        faults(&world(), &call(), &outcome, None, &grown),
        Vec::<String>::new()
    );
}

#[test]
fn each_thing_that_is_wrong_is_named() {
    let (outcome, record, grown) = good();
    let wrong = Outcome {
        status: Some(503),
        reason: Some("no_endpoints".to_owned()),
        answer: json!({ "pod": "c" }),
        ..Outcome::default()
    };
    let found = faults(&world(), &call(), &wrong, Some(&record), &BTreeMap::new());
    assert_eq!(
        found,
        [
            "status 503 (no_endpoints) instead of 200",
            "answered by c instead of b",
            "the caller's sidecar counted nothing for cluster out",
            "no sidecar behind the Service counted anything for cluster in",
        ]
    );
    let elsewhere = Record {
        cluster: Some("other".to_owned()),
        filter_chain: Some("tcp".to_owned()),
        upstream_host: Some("10.244.0.9:80".parse().expect("address")),
        ..record
    };
    assert_eq!(
        faults(&world(), &call(), &outcome, Some(&elsewhere), &grown).len(),
        3
    );
    let refused = Outcome {
        error: Some("cannot connect".to_owned()),
        ..Outcome::default()
    };
    assert_eq!(
        faults(&world(), &call(), &refused, None, &grown),
        ["cannot connect"]
    );
}

#[test]
fn a_local_call_must_not_pass_the_sidecar() {
    let (outcome, _, grown) = good();
    let mut call = call();
    call.expected.outbound = None;
    call.expected.inbound.clear();
    assert!(faults(&world(), &call, &outcome, None, &BTreeMap::new()).is_empty());
    let passed = grown.keys().map(|key| {
        (
            key.clone(),
            Stats::from([("cluster.outbound|80||b.upstream_cx_total".to_owned(), 1)]),
        )
    });
    let found = faults(&world(), &call, &outcome, None, &passed.collect());
    assert_eq!(
        found,
        ["the sidecar counted a connection that is none of its business"]
    );
}

#[test]
fn growth_is_the_difference() {
    let key = PodKey::new("shop", "a");
    let stats = |value| {
        BTreeMap::from([(
            key.clone(),
            Stats::from([("x".to_owned(), value), ("y".to_owned(), 1)]),
        )])
    };
    assert_eq!(
        grown(&stats(2), &stats(5))[&key],
        Stats::from([("x".to_owned(), 3)])
    );
}
