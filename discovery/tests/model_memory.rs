//! What the model costs in memory, in the shape that the API server gives it: a cluster of 3 000
//! services and 30 000 pods behind them. The only test of its program, so that nobody else's memory
//! is counted.

use std::{fmt::Write, fs, sync::Arc};

use weir_discovery::{
    kubernetes::{self, wire},
    model::{Event, Index, Interner, Object},
};

const SERVICES: usize = 3_000;
const ENDPOINTS: usize = 10;

/// Most that an endpoint may cost, with its pod, its share of the service and every table that leads
/// to it: resident memory after the first commit, with what that leaves behind in the allocator.
/// Measured: 1 460 bytes, in pods with names of 30 letters.
const BYTES_PER_ENDPOINT: usize = 1_800;

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.expect("resident memory") * 1024
}

fn address(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)
}

fn service(number: usize) -> String {
    format!(
        r#"{{"metadata":{{"name":"service-{number}","namespace":"namespace-{}","creationTimestamp":"2026-01-01T00:00:00Z"}},"spec":{{"clusterIP":"172.16.{}.{}","ports":[{{"name":"http","port":80,"targetPort":8080}}]}}}}"#,
        number % 100,
        number >> 8,
        number & 255,
    )
}

fn pod_name(service: usize, number: usize) -> String {
    format!("service-{service}-7d9fbc6c5b-x{number:04}")
}

fn pod(service: usize, number: usize) -> String {
    format!(
        r#"{{"metadata":{{"name":"{}","namespace":"namespace-{}","labels":{{"app":"service-{service}","pod-template-hash":"7d9fbc6c5b"}},"ownerReferences":[{{"kind":"ReplicaSet","name":"service-{service}-7d9fbc6c5b","controller":true}}]}},"spec":{{"nodeName":"node-{}","containers":[{{"name":"app","image":"app"}}]}},"status":{{"phase":"Running","podIP":"{}"}}}}"#,
        pod_name(service, number),
        service % 100,
        number % 1000,
        address(number),
    )
}

fn slice(service: usize) -> String {
    let mut endpoints = String::new();
    for number in service * ENDPOINTS..(service + 1) * ENDPOINTS {
        let comma = if endpoints.is_empty() { "" } else { "," };
        write!(
            endpoints,
            r#"{comma}{{"addresses":["{}"],"conditions":{{"ready":true}},"nodeName":"node-{}","zone":"zone-{}","targetRef":{{"kind":"Pod","namespace":"namespace-{}","name":"{}"}}}}"#,
            address(number),
            number % 1000,
            number % 3,
            service % 100,
            pod_name(service, number),
        )
        .expect("a string");
    }
    format!(
        r#"{{"metadata":{{"name":"service-{service}-abcde","namespace":"namespace-{}","labels":{{"kubernetes.io/service-name":"service-{service}"}}}},"addressType":"IPv4","ports":[{{"name":"http","port":8080}}],"endpoints":[{endpoints}]}}"#,
        service % 100,
    )
}

#[test]
fn an_endpoint_costs_one_and_a_half_kilobytes() {
    let names = Interner::default();
    let problems = &mut Vec::new();
    let mut index = Index::default();
    let before = resident();
    for number in 0..SERVICES {
        let read: wire::EndpointSlice = serde_json::from_str(&slice(number)).expect("slice");
        let read = kubernetes::endpoint_slice(&read, &names, problems).expect("slice");
        index.apply(Event::Applied(Object::EndpointSlice(read)));
        let read: wire::Service = serde_json::from_str(&service(number)).expect("service");
        let read = kubernetes::service(&read, &names, problems).expect("service");
        index.apply(Event::Applied(Object::Service(read)));
        for at in number * ENDPOINTS..(number + 1) * ENDPOINTS {
            let read: wire::Pod = serde_json::from_str(&pod(number, at)).expect("pod");
            let read = kubernetes::pod(&read, &names, problems).expect("pod");
            index.apply(Event::Applied(Object::Pod(read)));
        }
    }
    let (snapshot, changes) = index.commit().expect("changes");
    assert_eq!(changes.services.len(), SERVICES);
    drop(changes);
    let each = (resident() - before) / (SERVICES * ENDPOINTS);
    let endpoints = snapshot.services().flat_map(|service| {
        let ports = service.ports();
        ports.flat_map(|(_, endpoints)| endpoints)
    });
    let behind = endpoints.filter(|endpoint| endpoint.pod.is_some()).count();
    assert_eq!(behind, SERVICES * ENDPOINTS);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(Arc::strong_count(&snapshot), 2, "the index and this test");
    assert!(each < BYTES_PER_ENDPOINT, "{each} bytes for each endpoint");
}
