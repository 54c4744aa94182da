//! The Kubernetes registry follows a real API server: what is made, changed and deleted there is in
//! the model soon after, with no more rights than the registry asks for.

mod followed;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_discovery::model::{
    Claim, Endpoint, NamespacedName, Protocol, Readiness, ServiceKind, Snapshot,
    TrafficDistribution,
};
use weir_tests::api_server::{ApiServer, Place};

use followed::Followed;

const POD_1: &str = "10.244.7.1";
const POD_2: &str = "10.244.7.2";

fn object(kind: &str, version: &str, namespace: &str, name: &str, rest: &Value) -> String {
    let mut object = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "web"}},
    });
    let fields = rest.as_object().into_iter().flatten();
    for (field, value) in fields {
        object[field] = value.clone();
    }
    object.to_string()
}

fn service(namespace: &str, name: &str, spec: &Value) -> String {
    object("Service", "v1", namespace, name, &json!({"spec": spec}))
}

/// Two pods that run, on a node in zone `b`.
fn run_pods(api: &ApiServer, namespace: &str) -> Result<()> {
    let node = format!("{namespace}-node");
    let labels = json!({
        "topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "b",
    });
    api.create_node(&node, "v1.34.1", &labels)?;
    for (pod, ip) in [("web-1", POD_1), ("web-2", POD_2)] {
        let spec = json!({"spec": {
            "nodeName": node,
            "containers": [{"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}]}],
        }});
        api.apply(&object("Pod", "v1", namespace, pod, &spec))?;
        api.run_pod(namespace, pod, ip)?;
    }
    Ok(())
}

/// All endpoints of the service's port 80.
fn endpoints(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Vec<Endpoint>> {
    let service = snapshot.service(&NamespacedName::new(namespace, name))?;
    Some(service.port(80)?.1.to_vec())
}

fn ready(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    let ready = endpoints.iter();
    let ready = ready.filter(|endpoint| endpoint.readiness == Readiness::Ready);
    ready.map(|endpoint| endpoint.address).collect()
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

#[test]
fn the_model_follows_what_is_made_changed_and_deleted() -> Result<()> {
    let Some(api) = ApiServer::shared().filter(|api| api.has_controllers()) else {
        return Ok(());
    };
    let namespace = api.namespace(&["weir.dev/injection=disabled"])?;
    let ns = namespace.name();
    let followed = Followed::start(api.kubeconfig())?;

    let web = json!({"selector": {"app": "web"}, "ports": [{"name": "main", "port": 80, "targetPort": "http"}]});
    api.apply(&service(ns, "web", &web))?;
    let mut headless = web.clone();
    headless["clusterIP"] = json!("None");
    api.apply(&service(ns, "db", &headless))?;
    run_pods(api, ns)?;
    let found = followed.until("both pods", |snapshot| {
        let found = endpoints(snapshot, ns, "web")?;
        let at_node = found
            .iter()
            .all(|it| &*it.locality.region == "r" && it.pod.is_some());
        (ready(&found) == [at(POD_1, 8080), at(POD_2, 8080)] && at_node).then_some(found)
    })?;
    assert_eq!(&*found[0].locality.zone, "b");
    followed.until("the headless service", |snapshot| {
        let claim = snapshot.claim(at(POD_1, 8080))?;
        (&*claim.service.name == "db").then_some(())
    })?;
    let snapshot = followed.snapshot()?;
    let services = snapshot.services_of(&NamespacedName::new(ns, "web-1"));
    let services: Vec<_> = services.iter().map(|it| &*it.name).collect();
    assert_eq!(services, ["db", "web"]);

    let patch = r#"{"spec":{"ports":[{"name":"main","port":80,"targetPort":"http","appProtocol":"kubernetes.io/h2c"}],"trafficDistribution":"PreferClose"}}"#;
    api.kubectl(&["patch", "service", "web", "-n", ns, "-p", patch])?;
    followed.until("the patch", |snapshot| {
        let service = snapshot.service(&NamespacedName::new(ns, "web"))?;
        let h2 = service.port(80)?.0.hint.protocol == Protocol::Http2;
        let near = TrafficDistribution::PreferSameZone;
        (h2 && service.service.traffic_distribution == near).then_some(())
    })?;

    let unready = r#"{"status":{"conditions":[{"type":"Ready","status":"False"}]}}"#;
    api.kubectl(&[
        "patch",
        "pod",
        "web-1",
        "-n",
        ns,
        "--subresource=status",
        "-p",
        unready,
    ])?;
    followed.until("a pod that is not ready", |snapshot| {
        let found = endpoints(snapshot, ns, "web")?;
        (found.len() == 2 && ready(&found) == [at(POD_2, 8080)]).then_some(())
    })?;
    api.kubectl(&[
        "delete",
        "pod",
        "web-1",
        "-n",
        ns,
        "--force",
        "--grace-period=0",
    ])?;
    followed.until("a pod that is gone", |snapshot| {
        let gone = snapshot.pod(at(POD_1, 0).ip()).is_none();
        (gone && endpoints(snapshot, ns, "web")?.len() == 1).then_some(())
    })?;
    api.kubectl(&["delete", "service", "web", "db", "-n", ns])?;
    followed.until("services that are gone", |snapshot| {
        let mut left = snapshot.services();
        let none = !left.any(|service| &*service.service.name.namespace == ns);
        (none && snapshot.claim(at(POD_2, 8080)).is_none()).then_some(())
    })?;
    assert!(followed.problems().is_empty(), "{:?}", followed.problems());
    Ok(())
}

#[test]
fn services_without_selector_and_external_names_are_what_their_author_says() -> Result<()> {
    let Some(api) = ApiServer::shared() else {
        return Ok(());
    };
    let namespace = api.namespace(&[])?;
    let ns = namespace.name();
    let followed = Followed::start(api.kubeconfig())?;
    let elsewhere =
        json!({"type": "ExternalName", "externalName": "example.com", "ports": [{"port": 80}]});
    api.apply(&service(ns, "elsewhere", &elsewhere))?;
    let spec = json!({"ports": [{"port": 80}], "externalIPs": ["192.0.2.77"]});
    api.apply(&service(ns, "by-hand", &spec))?;
    let slice = json!({
        "addressType": "IPv4",
        "ports": [{"port": 9080}],
        "endpoints": [
            {"addresses": ["198.51.100.1"], "zone": "c", "hints": {"forZones": [{"name": "c"}]}},
            {"addresses": ["198.51.100.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ],
    });
    let mut slice: Value = serde_json::from_str(&object(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        ns,
        "by-hand-1",
        &slice,
    ))?;
    slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!("by-hand");
    api.apply(&slice.to_string())?;
    let found = followed.until("endpoints", |snapshot| {
        endpoints(snapshot, ns, "by-hand").filter(|found| found.len() == 2)
    })?;
    assert_eq!(ready(&found), [at("198.51.100.1", 9080)]);
    assert_eq!(found[1].readiness, Readiness::Draining);
    assert_eq!(&*found[0].hints.zones, ["c".into()]);
    let snapshot = followed.snapshot()?;
    let claim = |ip| {
        snapshot
            .claim(at(ip, 80))
            .map(|claim: &Claim| claim.service.to_string())
    };
    assert_eq!(claim("192.0.2.77"), Some(format!("{ns}/by-hand")));
    let elsewhere = followed.until("an external name", |snapshot| {
        snapshot
            .service(&NamespacedName::new(ns, "elsewhere"))
            .cloned()
    })?;
    assert_eq!(elsewhere.service.kind, ServiceKind::ExternalName);
    assert_eq!(elsewhere.ports().count(), 0);
    Ok(())
}

#[test]
fn to_list_and_watch_its_kinds_is_all_it_needs() -> Result<()> {
    let Some(api) = ApiServer::shared() else {
        return Ok(());
    };
    let namespace = api.namespace(&[])?;
    let ns = namespace.name();
    api.kubectl(&["create", "serviceaccount", "reader", "-n", ns])?;
    let followed = Followed::start(&api.kubeconfig_of(ns, "reader")?)?;
    let refused = |kind: &str| {
        followed
            .last_error(kind)
            .is_some_and(|it| it.contains("403"))
    };
    let kinds = [
        "Service",
        "EndpointSlice",
        "Pod",
        "Node",
        "PeerAuthentication",
        "AuthorizationPolicy",
        "RequestAuthentication",
        "HTTPRoute",
        "GRPCRoute",
        "ReferenceGrant",
        "DestinationRule",
        "VirtualService",
        "ServiceEntry",
        "WorkloadEntry",
        "Sidecar",
    ];
    weir_tests::eventually::eventually(followed::PATIENCE, || {
        kinds.iter().all(|kind| refused(kind)).then_some(())
    })?;
    assert!(
        followed.snapshot().is_err(),
        "nothing is known, and nothing is said"
    );
    // Written out: kubectl makes no role for a kind that the cluster has not.
    let rule = |group: &str, kinds: &[&str]| json!({"apiGroups": [group], "resources": kinds, "verbs": ["list", "watch"]});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": ns},
        "rules": [
            rule("", &["services", "pods", "nodes"]),
            rule("discovery.k8s.io", &["endpointslices"]),
            rule(
                "security.istio.io",
                &["peerauthentications", "authorizationpolicies", "requestauthentications"],
            ),
            rule("gateway.networking.k8s.io", &["httproutes", "grpcroutes", "referencegrants"]),
            rule(
                "networking.istio.io",
                &["destinationrules", "virtualservices", "serviceentries", "workloadentries", "sidecars"],
            ),
        ],
    });
    api.apply(&role.to_string())?;
    let account = format!("--serviceaccount={ns}:reader");
    let role = format!("--clusterrole={ns}");
    api.kubectl(&["create", "clusterrolebinding", ns, &role, &account])?;
    let synced = followed.until("the first lists", |snapshot| {
        snapshot
            .service(&NamespacedName::new("default", "kubernetes"))
            .map(|_| ())
    });
    api.kubectl(&["delete", "clusterrole,clusterrolebinding", ns])?;
    synced
}

#[test]
fn many_objects_made_and_deleted_at_once_are_all_seen() -> Result<()> {
    let Some(api) = ApiServer::shared() else {
        return Ok(());
    };
    let namespace = api.namespace(&[])?;
    let ns = namespace.name();
    let followed = Followed::start(api.kubeconfig())?;
    let count = |snapshot: &Snapshot| {
        let services = snapshot.services();
        services
            .filter(|it| &*it.service.name.namespace == ns)
            .count()
    };
    let spec = json!({"clusterIP": "None", "ports": [{"port": 80}]});
    let services = (0..200).map(|number| service(ns, &format!("s{number}"), &spec));
    let services: Vec<_> = services.collect();
    api.kubectl_with(&["create", "-f", "-"], &services.join("\n"))?;
    followed.until("all services", |snapshot| {
        (count(snapshot) == 200).then_some(())
    })?;
    api.kubectl(&["delete", "services", "--all", "--wait=false", "-n", ns])?;
    followed.until("none left", |snapshot| (count(snapshot) == 0).then_some(()))?;
    let status = followed.status("Service").context("status")?;
    ensure!(status.lists == 1 && status.errors == 0, "{status:?}");
    Ok(())
}

#[test]
fn a_restart_of_the_api_server_loses_nothing() -> Result<()> {
    let Some(mut api) = ApiServer::start(Place::Machine) else {
        return Ok(());
    };
    let ns = "default";
    let followed = Followed::start(api.kubeconfig())?;
    let spec = json!({"ports": [{"port": 80}]});
    for name in ["a", "b", "c"] {
        api.apply(&service(ns, name, &spec))?;
    }
    let has = |snapshot: &Snapshot, name: &str| {
        let service = snapshot.service(&NamespacedName::new(ns, name));
        service.is_some()
    };
    followed.until("three services", |snapshot| {
        let all = ["a", "b", "c"].iter().all(|name| has(snapshot, name));
        all.then_some(())
    })?;
    api.restart()?;
    ensure!(has(&*followed.snapshot()?, "c"), "the last snapshot stays");
    api.kubectl(&["delete", "service", "b", "-n", ns])?;
    api.apply(&service(ns, "d", &spec))?;
    let patch = r#"{"spec":{"ports":[{"port":80,"appProtocol":"http"}]}}"#;
    api.kubectl(&["patch", "service", "a", "-n", ns, "-p", patch])?;
    followed.until("what happened after the restart", |snapshot| {
        let a = snapshot.service(&NamespacedName::new(ns, "a"))?;
        let patched = a.port(80)?.0.hint.protocol == Protocol::Http;
        let others = has(snapshot, "c") && has(snapshot, "d") && !has(snapshot, "b");
        (patched && others).then_some(())
    })?;
    let status = followed.status("Service").context("status")?;
    ensure!(status.restarts + status.errors > 0, "{status:?}");
    ensure!(status.connected, "{status:?}");
    Ok(())
}
