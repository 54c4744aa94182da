use serde_json::json;

use super::*;
use crate::{
    dns::{Target, Zone},
    manifest,
};

const MANIFESTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: web}, {name: raw, port: 81}]
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 6379}]}
---
apiVersion: v1
kind: Service
metadata: {name: fixed, namespace: shop}
spec: {clusterIP: 10.96.0.50, ports: [{port: 1}]}
";

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    let manifests = manifest::parse([("a.yaml", MANIFESTS)]).expect("manifests");
    cluster.apply(&manifests).expect("apply");
    let mut add = |name: &str, app: &str, ready: bool, hostname: Option<&str>| {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "namespace": "shop", "labels": { "app": app } },
            "spec": {
                "hostname": hostname, "subdomain": hostname.map(|_| "db"),
                "containers": [{ "name": "app", "ports": [{ "name": "web", "containerPort": 8080 }] }],
            },
        });
        let ip = cluster.next_pod_address().expect("address");
        let pod = serde_json::from_value(object.clone()).expect("pod");
        let status = PodStatus {
            initialized: true,
            ready,
            ..PodStatus::default()
        };
        cluster.pods.insert(
            PodKey::new("shop", name),
            LivePod {
                object,
                pod,
                ip,
                status,
            },
        );
    };
    add("web-a", "web", true, None);
    add("web-b", "web", false, None);
    add("db-0", "db", true, Some("db-0"));
    cluster
}

#[test]
fn services_lead_to_the_ready_pods_they_select() {
    let ports = cluster().service_ports();
    let shown: Vec<String> = ports
        .iter()
        .map(|port| {
            format!(
                "{} {}:{} {:?}",
                port.label, port.cluster_ip, port.port, port.endpoints
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "shop/web:http 10.96.0.11:80 [10.244.0.2:8080]",
            "shop/web:raw 10.96.0.11:81 [10.244.0.2:81]",
            "shop/fixed: 10.96.0.50:1 []",
        ]
    );
}

#[test]
fn names_follow_the_services() {
    let zone = cluster().zone();
    let mut expected = Zone::default();
    let mut add = |name: &str, address: [u8; 4]| {
        expected.insert(name, Target::Addresses(vec![Ipv4Addr::from(address)]));
    };
    add("web.shop.svc.cluster.local", [10, 96, 0, 11]);
    add("fixed.shop.svc.cluster.local", [10, 96, 0, 50]);
    add("db.shop.svc.cluster.local", [10, 244, 0, 4]);
    add("db-0.db.shop.svc.cluster.local", [10, 244, 0, 4]);
    assert_eq!(zone, expected);
}

#[test]
fn slices_hold_unready_pods_as_such() {
    let cluster = cluster();
    let slices = endpoints::slices(&cluster, &cluster.services[0]);
    assert_eq!(slices.len(), 1);
    let ready: Vec<_> = slices[0]["endpoints"]
        .as_array()
        .expect("endpoints")
        .iter()
        .collect();
    assert_eq!(ready[0]["conditions"]["ready"], true);
    assert_eq!(ready[1]["conditions"]["ready"], false);
    assert_eq!(slices[0]["ports"][0]["port"], 8080);
}

#[test]
fn an_address_taken_twice_names_the_service() {
    let mut cluster = cluster();
    let manifests = manifest::parse([("b.yaml", MANIFESTS)]).expect("manifests");
    let error = cluster.apply(&manifests).expect_err("taken").to_string();
    assert_eq!(
        error,
        "Service shop/fixed: spec.clusterIP: 10.96.0.50 is already taken"
    );
}
