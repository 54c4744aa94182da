//! Gateway API's routes in a real API server, with the rights of the chart: followed once their kinds are
//! there, judged where they are written, and told what becomes of them.

use std::thread;

use serde_json::{Value, json};
use weir_tests::{eventually::eventually, helm::NAMESPACE};

use crate::{
    control_plane::ControlPlane,
    release::{Cluster, PATIENCE},
};

const GROUP: &str = "gateway.networking.k8s.io";
const SHOP: &str = "shop";
const CONTROLLER: &str = "weir.dev/mesh";

#[test]
fn routes_are_followed_judged_and_told_what_becomes_of_them() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    cluster
        .server
        .kubectl(&["create", "namespace", SHOP])
        .unwrap();
    cluster.upgrade("weir", "replicas=1", &[]).unwrap();
    cluster
        .server
        .serve_service(NAMESPACE, "weir-control", 443, 15017)
        .unwrap();
    thread::scope(|scope| {
        let _running = ControlPlane::start(scope, &cluster);
        // It was ready before the kinds were there.
        cluster.define_routes();
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": SHOP},
            "spec": {"ports": [{"name": "http", "port": 80}]}}));
        cluster.apply(&route(
            "it",
            &json!({"backendRefs": [{"name": "none", "port": 80}]}),
        ));
        cluster.until("Accepted=True,Accepted ResolvedRefs=False,BackendNotFound");

        // Somebody else's entry stays, and the generation that was judged is the last.
        let of_others = json!({"controllerName": "a.example/gateway", "parentRef": {"name": "a-gateway"},
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let patch = json!([{"op": "add", "path": "/status/parents/0", "value": of_others}]);
        let patch = format!("-p={patch}");
        let args = [
            "patch",
            "httproute",
            "it",
            "-n",
            SHOP,
            "--subresource=status",
            "--type=json",
            &patch,
        ];
        cluster.server.kubectl(&args).unwrap();
        cluster.apply(&route(
            "it",
            &json!({"backendRefs": [{"name": "web", "port": 80}]}),
        ));
        let it = cluster.until("Accepted=True,Accepted ResolvedRefs=True,ResolvedRefs");
        assert_eq!(it["status"]["parents"][0], of_others);
        let ours = &it["status"]["parents"][1]["conditions"][1];
        assert_eq!(ours["observedGeneration"], it["metadata"]["generation"]);

        // Written once: nothing changes any more.
        let version = |it: &Value| it["metadata"]["resourceVersion"].clone();
        cluster
            .server
            .kubectl(&["label", "service", "web", "-n", SHOP, "a=b"])
            .unwrap();
        cluster.apply(&route(
            "other",
            &json!({"backendRefs": [{"name": "web", "port": 80}]}),
        ));
        cluster.until_of(
            "other",
            "Accepted=True,Accepted ResolvedRefs=True,ResolvedRefs",
        );
        let again = cluster.server.get(SHOP, "httproute", "it").unwrap();
        assert_eq!(version(&again), version(&it));
        let lease = cluster
            .server
            .get(NAMESPACE, "lease", "weir-control-leader")
            .unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "weir-control-0");

        cluster.refuses_what_is_forbidden();
    });
    cluster.helm(&["uninstall", "weir"]).unwrap();
}

fn route(name: &str, rule: &Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "HTTPRoute",
           "metadata": {"name": name, "namespace": SHOP},
           "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}], "rules": [rule]}})
}

/// As `Accepted=True,Accepted ResolvedRefs=False,BackendNotFound`.
fn said(route: &Value) -> String {
    let parents = route["status"]["parents"].as_array().into_iter().flatten();
    let ours = parents.filter(|it| it["controllerName"] == CONTROLLER);
    let conditions = ours.flat_map(|it| it["conditions"].as_array().into_iter().flatten());
    let words = conditions.map(|it| {
        let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
        format!("{}={},{}", text("type"), text("status"), text("reason"))
    });
    words.collect::<Vec<_>>().join(" ")
}

// === impl Cluster ===

impl Cluster {
    fn apply(&self, object: &Value) {
        let applied = self
            .server
            .kubectl_with(&["apply", "-f", "-"], &object.to_string());
        applied.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// The kinds as far as an API server has to know them.
    fn define_routes(&self) {
        for (kind, plural, versions) in [
            ("HTTPRoute", "httproutes", &["v1", "v1beta1"][..]),
            ("GRPCRoute", "grpcroutes", &["v1"]),
            ("ReferenceGrant", "referencegrants", &["v1beta1"]),
        ] {
            let versions = versions.iter().enumerate().map(|(index, version)| {
                json!({"name": version, "served": true, "storage": index == 0,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true}}})
            });
            let protected = "api-approved.kubernetes.io";
            let annotations = json!({protected: "https://github.com/kubernetes-sigs/gateway-api"});
            self.apply(&json!({"apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{GROUP}"), "annotations": annotations},
                "spec": {"group": GROUP, "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural,
                              "singular": kind.to_lowercase()},
                    "versions": versions.collect::<Vec<_>>()}}));
        }
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        self.server.kubectl(&established).unwrap();
    }

    fn until(&self, wanted: &str) -> Value {
        self.until_of("it", wanted)
    }

    /// A route once its conditions are these.
    fn until_of(&self, name: &str, wanted: &str) -> Value {
        let mut last = Value::Null;
        let found = eventually(PATIENCE, || {
            last = self.server.get(SHOP, "httproute", name).ok()?;
            (said(&last) == wanted).then(|| last.clone())
        });
        found.unwrap_or_else(|error| panic!("{name}: {wanted}: {error}: {last:#}"))
    }

    fn refuses_what_is_forbidden(&self) {
        let forbidden = route("wrong", &json!({"matches": [{"path": {"value": "//"}}]}));
        let error = self
            .server
            .kubectl_with(&["create", "-f", "-"], &forbidden.to_string());
        let error = error.expect_err("refused").to_string();
        let expected = "weir: spec.rules[0].matches[0].path.value: \"//\" is no path";
        assert!(error.contains(expected), "{error}");
    }
}
