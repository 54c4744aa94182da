use std::time::{Instant, UNIX_EPOCH};

use tokio::task::JoinHandle;
use weir_discovery::{
    manifests::Directory,
    model::{Index, Snapshot},
    rules::gateway::CONTROLLER_NAME,
    xds::Generator,
};

use super::*;
use crate::kubernetes::fake::FakeApi;

const AT: &str = "namespaces/shop/httproutes/it";

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.4.0.10, ports: [{name: http, port: 80}, {name: grpc, port: 90}, {name: tcp-raw, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: pods, namespace: shop}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: name, namespace: shop}
spec: {type: ExternalName, externalName: a.example}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: other}
spec: {clusterIP: 10.4.0.11, ports: [{name: http, port: 80}]}
";

const GRPC: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: web, port: 90}]
  rules: [{backendRefs: [{name: web, port: 90}]}]
";

fn snapshot(manifests: &str) -> Arc<Snapshot> {
    let directory = tempfile::tempdir().expect("temporary directory");
    std::fs::write(directory.path().join("it.yaml"), manifests).expect("written");
    let opened = Directory::open(directory.path(), rules::Settings::default());
    let mut index = Index::default();
    let events = opened.expect("manifests").1.into_iter();
    events.for_each(|event| index.apply(event));
    index.commit().expect("something").0
}

struct Kept {
    api: FakeApi,
    hub: Arc<Hub>,
    leads: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kept() -> Kept {
    let api = FakeApi::new();
    let hub = Arc::new(Hub::new(Generator::default()));
    let leads = watch::Sender::new(true);
    let keeper = RouteStatusKeeper {
        client: api.client(),
        hub: hub.clone(),
        rules: rules::Settings::default(),
        shared: Shared {
            clock: Arc::new(|| UNIX_EPOCH),
            ..Shared::default()
        },
        leads: leads.subscribe(),
    };
    let task = tokio::spawn(keeper.run());
    let kept = Kept {
        api,
        hub,
        leads,
        task,
    };
    kept.publish(SERVICES);
    kept
}

impl Kept {
    fn publish(&self, manifests: &str) {
        let snapshot = snapshot(manifests);
        self.hub
            .publish(&snapshot, &Default::default(), Instant::now());
    }

    fn put(&self, generation: i64, spec: &Value, status: &Value) {
        let metadata = json!({"generation": generation});
        self.api.put(
            AT,
            json!({"metadata": metadata, "spec": spec, "status": status}),
        );
    }

    /// The conditions of our entry about a parent once they are as wanted, in words.
    async fn until(&self, parent: usize, wanted: &str) -> Value {
        let said = |object: Option<&Value>| {
            let entries = object?["status"]["parents"].as_array()?;
            let ours = entries
                .iter()
                .filter(|it| it["controllerName"] == CONTROLLER_NAME);
            Some(words(ours.collect::<Vec<_>>().get(parent)?))
        };
        let fits = |object: Option<&Value>| said(object).as_deref() == Some(wanted);
        let patience = Duration::from_secs(600);
        let found = tokio::time::timeout(patience, self.api.until(AT, fits)).await;
        found.unwrap_or_else(|_| panic!("{wanted}: {:#?}", self.api.get(AT)))
    }
}

/// As `Accepted ResolvedRefs=BackendNotFound`.
fn words(entry: &Value) -> String {
    let conditions = entry["conditions"].as_array().into_iter().flatten();
    let words = conditions.map(|it| {
        let (kind, reason) = (it["type"].as_str(), it["reason"].as_str());
        let (kind, reason) = (kind.unwrap_or_default(), reason.unwrap_or_default());
        match it["status"] == "True" {
            true => kind.to_owned(),
            false => format!("{kind}={reason}"),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn parent(fields: &Value) -> Value {
    let mut parent = json!({"group": "", "kind": "Service"});
    for (key, value) in fields.as_object().into_iter().flatten() {
        parent[key] = value.clone();
    }
    parent
}

fn to(backend: &Value) -> Value {
    json!({"parentRefs": [parent(&json!({"name": "web"}))], "rules": [{"backendRefs": [backend]}]})
}

#[tokio::test(start_paused = true)]
async fn a_status_says_what_becomes_of_the_route_at_each_parent() {
    let kept = kept();
    let own =
        json!({"type": "ExtensionRef", "extensionRef": {"group": "a", "kind": "b", "name": "c"}});
    let both = json!([{"type": "RequestRedirect", "requestRedirect": {}},
                      {"type": "URLRewrite", "urlRewrite": {"hostname": "a"}}]);
    let good = json!({"backendRefs": [{"name": "web", "port": 80}]});
    let of = |parents: Value, rules: Value| {
        let parents = parents.as_array().into_iter().flatten();
        json!({"parentRefs": parents.map(parent).collect::<Vec<_>>(), "rules": rules})
    };
    let at = |parent: Value| of(json!([parent]), json!([good]));
    let ruled = |rules: Value| of(json!([{"name": "web"}]), rules);
    for (spec, wanted) in [
        (at(json!({"name": "web"})), "Accepted ResolvedRefs"),
        (
            at(json!({"name": "web", "port": 80, "sectionName": "http"})),
            "Accepted ResolvedRefs",
        ),
        (
            at(json!({"name": "none"})),
            "Accepted=NoMatchingParent ResolvedRefs",
        ),
        (
            at(json!({"name": "web", "port": 99})),
            "Accepted=NoMatchingParent ResolvedRefs",
        ),
        (
            at(json!({"name": "web", "sectionName": "x"})),
            "Accepted=NoMatchingParent ResolvedRefs",
        ),
        (
            at(json!({"name": "web", "port": 81})),
            "Accepted=NoMatchingParent ResolvedRefs",
        ),
        (
            at(json!({"name": "pods"})),
            "Accepted=NoMatchingParent ResolvedRefs",
        ),
        (
            at(json!({"name": "web", "zone": "a"})),
            "Accepted=UnsupportedValue ResolvedRefs",
        ),
        (
            ruled(json!([{"filters": [own]}])),
            "Accepted=UnsupportedValue ResolvedRefs",
        ),
        (
            ruled(json!([{"filters": both}])),
            "Accepted=IncompatibleFilters ResolvedRefs",
        ),
        (
            ruled(json!([good, {"filters": [own]}])),
            "Accepted ResolvedRefs PartiallyInvalid",
        ),
        (
            to(&json!({"name": "none", "port": 80})),
            "Accepted ResolvedRefs=BackendNotFound",
        ),
        (
            to(&json!({"name": "web", "port": 8})),
            "Accepted ResolvedRefs=BackendNotFound",
        ),
        (
            to(&json!({"name": "web", "port": 81})),
            "Accepted ResolvedRefs=UnsupportedProtocol",
        ),
        (
            to(&json!({"name": "name", "port": 80})),
            "Accepted ResolvedRefs=InvalidKind",
        ),
        (
            to(&json!({"group": "a", "kind": "B", "name": "c"})),
            "Accepted ResolvedRefs=InvalidKind",
        ),
        (
            to(&json!({"name": "far", "namespace": "other", "port": 80})),
            "Accepted ResolvedRefs=RefNotPermitted",
        ),
    ] {
        kept.put(1, &spec, &Value::Null);
        kept.until(0, wanted).await;
    }
    let dropped = ruled(json!([good, {"filters": [own]}]));
    kept.put(7, &dropped, &Value::Null);
    let route = kept
        .until(0, "Accepted ResolvedRefs PartiallyInvalid")
        .await;
    let entry = &route["status"]["parents"][0];
    assert_eq!(entry["parentRef"], parent(&json!({"name": "web"})));
    for condition in entry["conditions"].as_array().expect("conditions") {
        assert_eq!(condition["observedGeneration"], 7, "{condition}");
        assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:00:00Z");
    }
    let message = entry["conditions"][2]["message"]
        .as_str()
        .expect("a message");
    assert!(
        message.starts_with("Dropped Rule 1: spec.rules[1].filters[0].type"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_route_needs_comes_and_goes_and_its_status_follows() {
    let kept = kept();
    kept.put(1, &to(&json!({"name": "new", "port": 80})), &Value::Null);
    kept.until(0, "Accepted ResolvedRefs=BackendNotFound").await;
    let with = SERVICES.replace("name: far, namespace: other", "name: new, namespace: shop");
    kept.publish(&with);
    kept.until(0, "Accepted ResolvedRefs").await;

    let on_the_port = parent(&json!({"name": "web", "port": 90}));
    let spec = json!({"parentRefs": [on_the_port], "rules": [{"backendRefs": [{"name": "web", "port": 90}]}]});
    kept.put(2, &spec, &Value::Null);
    kept.until(0, "Accepted ResolvedRefs").await;
    kept.publish(&format!("{SERVICES}---{GRPC}"));
    kept.until(0, "Accepted=Conflicted ResolvedRefs").await;
    kept.publish(SERVICES);
    kept.until(0, "Accepted ResolvedRefs").await;
}

#[tokio::test(start_paused = true)]
async fn entries_of_others_stay_and_what_is_right_is_not_written() {
    let kept = kept();
    let gateway = json!({"name": "a-gateway"});
    let of_others = json!({"parentRef": gateway, "controllerName": "a.example/gateway",
        "conditions": [{"type": "Accepted", "status": "True"}]});
    let stale = json!({"parentRef": parent(&json!({"name": "gone"})), "controllerName": CONTROLLER_NAME,
        "conditions": []});
    let mut spec = to(&json!({"name": "web", "port": 80}));
    spec["parentRefs"] = json!([gateway, parent(&json!({"name": "web"}))]);
    kept.put(1, &spec, &json!({"parents": [stale, of_others]}));
    let route = kept.until(0, "Accepted ResolvedRefs").await;
    let parents = route["status"]["parents"].as_array().expect("parents");
    assert_eq!(parents.len(), 2, "{parents:?}");
    assert_eq!(parents[0], of_others);

    // Who writes the same thing again and again writes nothing.
    assert_eq!(kept.api.writes(), ["PATCH httproutes shop/it"]);
    kept.publish(SERVICES);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept.api.writes(), [""; 0]);

    // A condition of somebody else within an entry of ours is theirs.
    let mut status = route["status"].clone();
    let theirs = json!({"type": "a.example/Seen", "status": "True"});
    let conditions = status["parents"][1]["conditions"].as_array_mut();
    conditions.expect("conditions").push(theirs.clone());
    spec["rules"] = json!([{"backendRefs": [{"name": "none", "port": 80}]}]);
    kept.put(2, &spec, &status);
    let said = "Accepted ResolvedRefs=BackendNotFound a.example/Seen";
    kept.until(0, said).await;

    // Without a parent of ours nothing of ours is left.
    kept.put(
        3,
        &json!({"parentRefs": [gateway]}),
        &kept.api.get(AT).expect("it")["status"],
    );
    let left = |route: Option<&Value>| {
        route.is_some_and(|it| it["status"]["parents"] == json!([of_others]))
    };
    kept.api.until(AT, left).await;
}

#[tokio::test(start_paused = true)]
async fn only_who_leads_writes_and_a_write_that_failed_is_tried_again() {
    let kept = kept();
    kept.leads.send_replace(false);
    tokio::time::sleep(Duration::from_secs(5)).await;
    kept.put(1, &to(&json!({"name": "web", "port": 80})), &Value::Null);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept.api.writes(), [""; 0]);

    kept.api.fail(Some(("PATCH httproutes", 500)));
    kept.leads.send_replace(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept.api.get(AT).expect("it")["status"], Value::Null);
    kept.api.fail(None);
    kept.until(0, "Accepted ResolvedRefs").await;

    // One of a newer generation than ours was judged by somebody who knows more.
    let mut route = kept.api.get(AT).expect("it");
    route["status"]["parents"][0]["conditions"][0]["observedGeneration"] = json!(9);
    kept.api.writes();
    kept.put(
        1,
        &to(&json!({"name": "none", "port": 80})),
        &route["status"],
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kept.api.writes(), [""; 0]);
}
