//! A release from install to uninstall.

use std::thread;

use serde_json::{Value, json};
use weir_tests::helm::NAMESPACE;
use weir_tests::{api_server::Request, eventually::eventually};

use crate::{
    control_plane::ControlPlane,
    release::{Cluster, PATIENCE},
};

/// User that the control plane is to the API server.
pub(crate) const USER: &str = "system:serviceaccount:weir-system:weir-control";
/// Rights of which no request here tells: sidecars that show a token, an apply that creates (the API
/// server asks for that right itself), what is worth an Event, lists, which an API server that streams
/// them answers by a watch, the status of routes, whose kinds are not there, and what comes seconds later.
const EXCUSED: [&str; 19] = [
    "create tokenreviews.authentication.k8s.io",
    "create configmaps.",
    "create events.events.k8s.io",
    "list services.",
    "list endpointslices.discovery.k8s.io",
    "list peerauthentications.security.istio.io",
    "list authorizationpolicies.security.istio.io",
    "list requestauthentications.security.istio.io",
    "list httproutes.gateway.networking.k8s.io",
    "list grpcroutes.gateway.networking.k8s.io",
    "list referencegrants.gateway.networking.k8s.io",
    "list destinationrules.networking.istio.io",
    "list virtualservices.networking.istio.io",
    "list serviceentries.networking.istio.io",
    "list workloadentries.networking.istio.io",
    "list sidecars.networking.istio.io",
    "patch httproutes/status.gateway.networking.k8s.io",
    "patch grpcroutes/status.gateway.networking.k8s.io",
    "update leases.coordination.k8s.io",
];
/// Namespaces with and without a label.
pub(crate) const ASKING: &str = "asking";
const SILENT: &str = "silent";
const REFUSING: &str = "refusing";

#[test]
fn install_upgrade_rollback_and_uninstall_leave_nothing_that_blocks_pods() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    for (name, label) in [(ASKING, "enabled"), (REFUSING, "disabled"), (SILENT, "")] {
        let labels = json!({"weir.dev/injection": label});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels}});
        cluster.server.apply(&namespace.to_string()).unwrap();
        cluster.await_account(name);
    }
    cluster.upgrade("weir", "replicas=2", &[]).unwrap();
    // Installed, and no replica ready yet: what asks waits, nothing else does.
    cluster.others_are_admitted();
    assert!(cluster.sidecar(ASKING).is_none());
    let service = ["weir-control", NAMESPACE];
    cluster
        .server
        .serve_service(service[1], service[0], 443, 15017)
        .unwrap();
    let bundle = thread::scope(|scope| {
        let _running = ControlPlane::start(scope, &cluster);
        let bundle = cluster.bundle();
        cluster.is_injected_as("native");
        cluster
            .upgrade("weir", "injection.sidecar=classic", &[])
            .unwrap();
        assert_eq!(cluster.bundle(), bundle, "after an upgrade");
        cluster.is_injected_as("classic");
        cluster.helm(&["rollback", "weir", "1"]).unwrap();
        assert_eq!(cluster.bundle(), bundle, "after a rollback");
        cluster.is_injected_as("native");
        cluster.others_are_admitted();
        cluster.passes_the_test_of_the_chart();
        cluster.mistakes_are_refused();
        cluster.renew();
        cluster.is_injected_as("native");
        bundle
    });
    cluster.rights_are_enough();
    // The control plane is gone: so is the sidecar, and nothing but what asks for it is refused.
    let refused = cluster.create(&pod(ASKING, &json!({})), &["--dry-run=server"]);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("failed calling webhook"), "{refused}");
    cluster.others_are_admitted();

    // Uninstalled while it runs, as it is everywhere but here.
    thread::scope(|scope| {
        let _running = ControlPlane::start(scope, &cluster);
        cluster.is_injected_as("native");
        cluster.helm(&["uninstall", "weir"]).unwrap();
        cluster.others_are_admitted();
        assert_eq!(cluster.sidecar(ASKING), Some("none"));
    });
    cluster.webhooks_went_before_what_they_ask();
    assert_eq!(cluster.sidecar(ASKING), Some("none"));
    cluster.nothing_is_left_but_what_clients_trust();

    // Installed again, it goes on with the CA that was left, and running sidecars trust it.
    cluster.upgrade("weir", "replicas=2", &[]).unwrap();
    cluster
        .server
        .serve_service(service[1], service[0], 443, 15017)
        .unwrap();
    thread::scope(|scope| {
        let _running = ControlPlane::start(scope, &cluster);
        assert_eq!(cluster.bundle(), bundle, "after uninstall and install");
        cluster.is_injected_as("native");
    });
}

fn pod(namespace: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "web-", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "web", "image": "web"}], "serviceAccountName": "default"},
    })
}

// === impl Cluster ===

impl Cluster {
    /// Pods that do not ask for a sidecar are admitted, as they are.
    fn others_are_admitted(&self) {
        let says_no = json!({"weir.dev/inject": "false"});
        for (namespace, labels) in [
            (SILENT, json!({})),
            (REFUSING, json!({"weir.dev/inject": "true"})),
            (ASKING, says_no),
            ("kube-system", json!({"weir.dev/inject": "true"})),
            (NAMESPACE, json!({"weir.dev/inject": "true"})),
        ] {
            self.await_account(namespace);
            let admitted = self.create(&pod(namespace, &labels), &["--dry-run=server"]);
            let admitted = admitted.unwrap_or_else(|error| panic!("{namespace}: {error}"));
            assert_eq!(kind_of_sidecar(&admitted), "none", "{namespace}");
        }
    }

    /// What a pod of a namespace would get, or `None` where it is refused.
    fn sidecar(&self, namespace: &str) -> Option<&'static str> {
        let admitted = self
            .create(&pod(namespace, &json!({})), &["--dry-run=server"])
            .ok()?;
        Some(kind_of_sidecar(&admitted))
    }

    /// Waits until pods get this kind of sidecar: a configuration takes a moment to be in force.
    pub(crate) fn is_injected_as(&self, kind: &str) {
        let mut last = None;
        let injected = eventually(PATIENCE, || {
            last = self.sidecar(ASKING);
            (last == Some(kind)).then_some(())
        });
        injected.unwrap_or_else(|error| panic!("{kind}: {error}, but {last:?}"));
    }

    /// The one bundle that every webhook has, as soon as they have it.
    fn bundle(&self) -> Value {
        let found = eventually(PATIENCE, || {
            let webhooks = self.webhooks();
            let mut bundles: Vec<Value> = webhooks
                .iter()
                .map(|webhook| webhook["clientConfig"]["caBundle"].clone())
                .collect();
            bundles.dedup();
            (bundles.len() == 1 && bundles[0].is_string()).then(|| bundles.remove(0))
        });
        found.unwrap()
    }

    /// Between the end of the last replica and that of its webhooks, pods would be refused.
    fn webhooks_went_before_what_they_ask(&self) {
        let requests = self.server.requests_of("administrator").unwrap();
        let deleted: Vec<&str> = requests
            .iter()
            .filter(|it| it.verb == "delete" && !it.name.starts_with("weir-check"))
            .filter(|it| it.name.starts_with("weir-"))
            .map(|it| it.resource.as_str())
            .collect();
        let at = |resource: &str| deleted.iter().position(|deleted| *deleted == resource);
        let webhooks = at("mutatingwebhookconfigurations").unwrap();
        let rest = ["services", "deployments", "serviceaccounts"];
        assert!(
            rest.iter().all(|rest| at(rest).unwrap() > webhooks),
            "{deleted:?}"
        );
    }

    /// What could not be used is refused where it is written.
    fn mistakes_are_refused(&self) {
        let kubectl = |arguments: &[&str]| self.server.kubectl(arguments).unwrap_err().to_string();
        let label = "weir.dev/injection=enable";
        let refused = kubectl(&["label", "namespace", SILENT, "--overwrite", label]);
        assert!(refused.contains("weir.dev/injection"), "{refused}");
        let wrong = r#"--patch={"data":{"injector.yaml":"polciy: enabled"}}"#;
        let map = [
            "patch",
            "configmap",
            "weir-config",
            "--namespace",
            NAMESPACE,
        ];
        let refused = kubectl(&[&map[..], &[wrong]].concat());
        assert!(refused.contains("polciy"), "{refused}");
        let wrong = r#"--patch={"data":{"mesh.yaml":"accessLog: loud"}}"#;
        let refused = kubectl(&[&map[..], &[wrong]].concat());
        assert!(refused.contains("mesh.yaml"), "{refused}");
    }

    /// Has the serving certificate renewed, as half its life would.
    fn renew(&self) {
        let certificate = || {
            let secret = self.server.get(NAMESPACE, "secret", "weir-ca").unwrap();
            secret["data"]["tls.crt"].clone()
        };
        let before = certificate();
        let asked = "weir.dev/rotate=serving-certificate";
        let command = [
            "annotate",
            "secret",
            "weir-ca",
            "--namespace",
            NAMESPACE,
            asked,
        ];
        self.server.kubectl(&command).unwrap();
        eventually(PATIENCE, || (certificate() != before).then_some(())).unwrap();
    }

    fn nothing_is_left_but_what_clients_trust(&self) {
        let selector = "app.kubernetes.io/part-of=weir";
        let kinds = "deployments,services,serviceaccounts,configmaps,secrets,roles,rolebindings,\
            poddisruptionbudgets,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,\
            validatingwebhookconfigurations";
        let command = ["get", kinds, "-A", "-l", selector, "-o", "name"];
        let mut left: Vec<String> = self
            .server
            .kubectl(&command)
            .unwrap()
            .lines()
            .map(ToOwned::to_owned)
            .collect();
        left.retain(|name| {
            !["secret/weir-ca", "configmap/weir-ca-root-cert"].contains(&name.as_str())
        });
        assert!(left.is_empty(), "{left:?}");
    }

    /// Nothing that the control plane asked for was forbidden to its account.
    pub(crate) fn rights_are_enough(&self) {
        let requests = self.server.requests_of(USER).unwrap();
        assert!(requests.len() > 10, "{requests:#?}");
        let forbidden: Vec<&Request> = requests.iter().filter(|it| !it.allowed).collect();
        assert!(forbidden.is_empty(), "{forbidden:#?}");
        let mut unused = self.unused_rights(&requests);
        unused.retain(|right| !EXCUSED.contains(&right.as_str()));
        assert!(unused.is_empty(), "nothing makes use of {unused:?}");
    }

    /// Rights that the chart gives and none of these requests needed, as `verb resource.group`.
    fn unused_rights(&self, requests: &[Request]) -> Vec<String> {
        let used = |verb: &str, group: &str, resource: &str, names: &[Value]| {
            requests.iter().any(|it| {
                let named = names.is_empty() || names.iter().any(|name| *name == *it.name);
                (it.verb.as_str(), it.group.as_str(), it.resource.as_str())
                    == (verb, group, resource)
                    && named
            })
        };
        let mut unused = Vec::new();
        for (kind, namespace) in [("clusterrole", ""), ("role", NAMESPACE)] {
            let role = self.server.get(namespace, kind, "weir-control").unwrap();
            for rule in role["rules"].as_array().unwrap() {
                let words = |list: &str| rule[list].as_array().cloned().unwrap_or_default();
                for group in words("apiGroups") {
                    for resource in words("resources") {
                        for verb in words("verbs") {
                            let [verb, group, resource] =
                                [&verb, &group, &resource].map(|word| word.as_str().unwrap());
                            if !used(verb, group, resource, &words("resourceNames")) {
                                unused.push(format!("{verb} {resource}.{group}"));
                            }
                        }
                    }
                }
            }
        }
        unused
    }
}

/// How the sidecar of a pod is placed.
fn kind_of_sidecar(pod: &Value) -> &'static str {
    let has = |list: &str| {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers
            .into_iter()
            .any(|container| container["name"] == "weir-proxy")
    };
    match (has("initContainers"), has("containers")) {
        (true, _) => "native",
        (_, true) => "classic",
        _ => "none",
    }
}
