//! What follows from what was read, without a cluster.

use k8s_openapi::{ByteString, apimachinery::pkg::version::Info};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weir_discovery::rules::KINDS;
use weir_injector::config::SidecarMode;

use super::{
    Names, certificate, conflicts, control_plane,
    facts::Facts,
    finding::{Finding, Level, Report},
    nodes, outside, pods,
    rules::{self, Rule},
    services, webhook,
};

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("as the API has it")
}

fn names() -> Names {
    Names {
        namespace: "weir-system".to_owned(),
        revision: "default".to_owned(),
    }
}

/// A cluster in which everything could be read and nothing is there, but for `webhooks`.
fn cluster(webhooks: &[Value]) -> Facts {
    let mutating = webhooks.iter().cloned().map(object).collect();
    Facts::assume(names(), Info::default(), mutating)
}

fn injector() -> Value {
    json!({
        "metadata": {"name": "weir-injector"},
        "webhooks": [{
            "name": "namespace.injector.weir.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": {"name": "weir-control", "namespace": "weir-system"}},
            "namespaceSelector": {"matchLabels": {"weir.dev/injection": "enabled"}},
            "objectSelector": {"matchExpressions": [
                {"key": "weir.dev/inject", "operator": "NotIn", "values": ["false"]},
            ]},
        }],
    })
}

/// A namespace whose pods are injected, with more labels and annotations.
fn shop(labels: &[(&str, &str)], annotations: &Value) -> Value {
    let mut all = json!({"weir.dev/injection": "enabled"});
    for (key, value) in labels {
        all[key] = json!(value);
    }
    json!({"metadata": {"name": "shop", "labels": all, "annotations": annotations}})
}

/// The messages of a level.
fn said(findings: &[Finding], level: Level) -> Vec<&str> {
    let of_level = findings.iter().filter(|finding| finding.level == level);
    of_level.map(|finding| finding.message.as_str()).collect()
}

#[test]
fn a_kubelet_without_native_sidecars_matters_where_they_are_wanted() {
    let node = |name: &str, version: &str| {
        object(json!({"metadata": {"name": name}, "status": {"nodeInfo": {
            "kubeletVersion": version, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "",
            "osImage": "", "systemUUID": "",
        }}}))
    };
    let mut facts = cluster(&[injector()]);
    facts.nodes = Ok(vec![
        node("new", "v1.33.2-gke.1"),
        node("old", "v1.28.9+k3s1"),
    ]);
    assert_eq!(said(&nodes::check(&facts), Level::Failure).len(), 0);
    facts.scope.config.sidecar = SidecarMode::Native;
    let failures = nodes::check(&facts);
    assert!(
        said(&failures, Level::Failure)[0].ends_with(": old"),
        "{failures:?}"
    );
    facts.scope.config.sidecar = SidecarMode::Classic;
    assert_eq!(said(&nodes::check(&facts), Level::Failure).len(), 0);
}

#[test]
fn cilium_is_in_the_way_where_it_rewrites_addresses_in_pods() {
    for (data, level) in [
        (json!({"kube-proxy-replacement": "true"}), Level::Failure),
        (
            json!({"kube-proxy-replacement": "strict", "bpf-lb-sock-hostns-only": "false"}),
            Level::Failure,
        ),
        (
            json!({"kube-proxy-replacement": "false", "bpf-lb-sock": "true"}),
            Level::Failure,
        ),
        (
            json!({"kube-proxy-replacement": "true", "bpf-lb-sock-hostns-only": "true"}),
            Level::Ok,
        ),
        (json!({"kube-proxy-replacement": "false"}), Level::Ok),
    ] {
        let mut facts = cluster(&[]);
        facts.cilium = Ok(vec![object(json!({"data": data}))]);
        assert_eq!(conflicts::check(&facts)[0].level, level, "{data}");
    }
}

#[test]
fn another_mesh_is_in_the_way_where_a_namespace_asks_for_both() {
    let other = |name: &str, webhook: &str| {
        let mut other = injector();
        other["metadata"]["name"] = json!(name);
        other["webhooks"][0]["name"] = json!(webhook);
        other
    };
    let istio = other(
        "istio-sidecar-injector",
        "namespace.sidecar-injector.istio.io",
    );
    let linkerd = other(
        "linkerd-proxy-injector",
        "linkerd-proxy-injector.linkerd.io",
    );
    for (namespace, both) in [
        (shop(&[], &json!({})), false),
        (
            shop(
                &[("istio-injection", "disabled")],
                &json!({"linkerd.io/inject": "disabled"}),
            ),
            false,
        ),
        (shop(&[("istio-injection", "enabled")], &json!({})), true),
        (shop(&[("istio.io/rev", "canary")], &json!({})), true),
        (shop(&[], &json!({"linkerd.io/inject": "enabled"})), true),
    ] {
        let mut facts = cluster(&[injector(), istio.clone(), linkerd.clone()]);
        facts.namespaces = Ok(vec![object(namespace.clone())]);
        let findings = conflicts::check(&facts);
        assert_eq!(
            said(&findings, Level::Failure).len(),
            usize::from(both),
            "{namespace} {findings:?}"
        );
    }
}

#[test]
fn pod_security_is_in_the_way_only_where_sidecars_are_wanted() {
    let strict = ("pod-security.kubernetes.io/enforce", "restricted");
    let mut facts = cluster(&[injector()]);
    facts.namespaces = Ok(vec![
        object(shop(&[strict], &json!({}))),
        object(json!({"metadata": {"name": "other", "labels": {strict.0: strict.1}}})),
    ]);
    let findings = conflicts::check(&facts);
    let failures = said(&findings, Level::Failure);
    assert_eq!(failures.len(), 1, "{findings:?}");
    assert!(failures[0].contains("in shop: weir-init"), "{findings:?}");
}

#[test]
fn services_whose_affinity_is_to_end_after_a_time_of_their_own_are_named() {
    let service = |name: &str, affinity: &str, seconds: Option<i32>| {
        let config = seconds.map(|seconds| json!({"clientIP": {"timeoutSeconds": seconds}}));
        object(
            json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {
                "sessionAffinity": affinity, "sessionAffinityConfig": config,
            }}),
        )
    };
    let mut facts = cluster(&[injector()]);
    facts.services = Ok(vec![
        service("none", "None", None),
        service("default", "ClientIP", Some(10_800)),
    ]);
    assert_eq!(services::check(&facts), Vec::new());
    facts.services = Ok(vec![service("short", "ClientIP", Some(60))]);
    let findings = services::check(&facts);
    let warnings = said(&findings, Level::Warning);
    assert_eq!(warnings.len(), 1, "{findings:?}");
    assert!(
        warnings[0].ends_with("sidecars: shop/short (60 s)"),
        "{findings:?}"
    );
}

#[test]
fn webhooks_without_a_control_plane_are_said_to_block_pods() {
    let facts = cluster(&[injector()]);
    let findings = control_plane::check(&facts);
    let failures = said(&findings, Level::Failure);
    assert!(
        failures[0].contains("no Deployment weir-control"),
        "{failures:?}"
    );
    assert!(failures[1].contains("leads nowhere"), "{failures:?}");
}

#[test]
fn a_missing_bundle_is_named_by_webhook() {
    let facts = cluster(&[injector()]);
    let findings = webhook::check(&facts);
    let failures = said(&findings, Level::Failure);
    assert!(
        failures[0].starts_with("no caBundle in namespace.injector.weir.dev"),
        "{failures:?}"
    );
}

/// A CA, and a serving certificate it signed, as PEM.
fn certificates() -> (String, String) {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("key");
    let root = ca.self_signed(&key).expect("sign").pem();
    let issuer = rcgen::Issuer::new(ca, key);
    let leaf = rcgen::CertificateParams::new(vec!["weir-control.weir-system.svc".to_owned()]);
    let leaf_key = rcgen::KeyPair::generate().expect("key");
    let leaf = leaf
        .expect("name")
        .signed_by(&leaf_key, &issuer)
        .expect("sign")
        .pem();
    (root, leaf)
}

#[test]
fn a_bundle_that_did_not_sign_the_serving_certificate_is_told() {
    let (root, leaf) = certificates();
    let (other, _) = certificates();
    for (bundle, level) in [(&root, Level::Ok), (&other, Level::Failure)] {
        let mut webhooks = injector();
        webhooks["webhooks"][0]["clientConfig"]["caBundle"] =
            json!(ByteString(bundle.clone().into_bytes()));
        let mut facts = cluster(&[webhooks]);
        let data = json!({"tls.crt": ByteString(leaf.clone().into_bytes())});
        facts.secret = Ok(Some(object(json!({"data": data}))));
        let findings = certificate::check(&facts);
        let last = findings.last().expect("findings");
        assert_eq!(last.level, level, "{findings:?}");
        assert!(
            last.message.contains("weir-control.weir-system.svc"),
            "{findings:?}"
        );
    }
}

#[test]
fn pods_without_the_sidecar_they_should_have_are_counted_by_what_the_webhook_would_do() {
    let facts = cluster(&[injector()]);
    let namespace = object(shop(&[], &json!({})));
    let pod = |name: &str, labels: Value, containers: Value| {
        let metadata = json!({"name": name, "namespace": "shop", "labels": labels});
        json!({"metadata": metadata, "spec": {"containers": containers}})
    };
    let app = json!([{"name": "app", "image": "app"}]);
    let image = facts.scope.config.image.clone();
    let mut host = pod("host", json!({}), app.clone());
    host["spec"]["hostNetwork"] = json!(true);
    let mut done = pod("done", json!({}), app.clone());
    done["status"] = json!({"phase": "Succeeded"});
    let all = [
        pod("bare", json!({}), app.clone()),
        pod("out", json!({"weir.dev/inject": "false"}), app),
        pod(
            "fine",
            json!({}),
            json!([{"name": "weir-proxy", "image": image}]),
        ),
        pod(
            "old",
            json!({}),
            json!([{"name": "weir-proxy", "image": "weir:old"}]),
        ),
        host,
        done,
    ];
    let mut facts = facts;
    facts.pods = Ok(pods::census(&all, &namespace, &facts.scope, &[]));
    let findings = pods::check(&facts);
    let warnings = said(&findings, Level::Warning);
    assert_eq!(warnings.len(), 2, "{findings:?}");
    assert!(warnings[0].starts_with("pods in shop should have") && warnings[0].ends_with(": bare"));
    assert!(
        warnings[1].starts_with("pods in shop have a sidecar of another")
            && warnings[1].ends_with(": old")
    );
    let outside = outside::check(&facts);
    let said = said(&outside, Level::Ok);
    assert_eq!(
        said,
        [
            "outside of the mesh, by a label of their own: shop/out",
            "outside of the mesh, on the host's network: shop/host"
        ]
    );
}

#[test]
fn rules_that_are_not_honoured_and_rules_that_select_no_sidecar_are_named() {
    let mut facts = cluster(&[injector()]);
    assert_eq!(rules::check(&facts)[0].level, Level::Ok);
    let policy = KINDS.iter().find(|it| it.kind == "AuthorizationPolicy");
    let policy = |name: &str, namespace: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": namespace});
        let object = json!({"metadata": metadata, "spec": spec});
        Rule::new(policy.expect("a kind"), object, &names())
    };
    let selecting = |labels: Value| json!({"selector": {"matchLabels": labels}, "rules": [{}]});
    let all = vec![
        policy("all", "shop", json!({})),
        policy("web", "shop", selecting(json!({"app": "web"}))),
        policy("bare", "shop", selecting(json!({"app": "bare"}))),
        policy(
            "both",
            "shop",
            selecting(json!({"app": "web", "tier": "x"})),
        ),
        policy("elsewhere", "bank", selecting(json!({"app": "web"}))),
        policy("mesh", "weir-system", selecting(json!({"app": "web"}))),
    ];
    let pod = |app: &str, container: &str| {
        let metadata = json!({"name": app, "namespace": "shop", "labels": {"app": app}});
        json!({"metadata": metadata, "spec": {"containers": [{"name": container, "image": "x"}]}})
    };
    let pods = [pod("web", "weir-proxy"), pod("bare", "app")];
    let namespace = object(shop(&[], &json!({})));
    facts.pods = Ok(pods::census(&pods, &namespace, &facts.scope, &all));
    facts.rules = Ok(all);
    let findings = rules::check(&facts);
    let warnings = said(&findings, Level::Warning);
    let none = |name: &str| format!("AuthorizationPolicy {name}: spec.selector: selects no pod");
    for (said, name) in warnings
        .iter()
        .zip(["shop/bare", "shop/both", "bank/elsewhere"])
    {
        assert!(said.starts_with(&none(name)), "{warnings:?}");
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let advice = findings[0].advice.as_deref();
    assert_eq!(advice, Some("kubectl get pods -n shop -l app=bare"));
}

#[test]
fn a_revision_has_names_of_its_own_and_only_what_asks_for_it() {
    let names = Names {
        revision: "canary".to_owned(),
        ..names()
    };
    let mut webhooks = injector();
    webhooks["metadata"]["name"] = json!("weir-injector-canary");
    webhooks["webhooks"][0]["namespaceSelector"] =
        json!({"matchLabels": {"weir.dev/rev": "canary"}});
    let all = [injector(), webhooks].map(object).to_vec();
    let mut facts = Facts::assume(names, Info::default(), all);
    let canary = json!({"metadata": {"name": "new", "labels": {"weir.dev/rev": "canary"}}});
    facts.namespaces = Ok(vec![object(shop(&[], &json!({}))), object(canary)]);
    let meshed: Vec<&str> = facts.meshed().map(|(name, _)| name).collect();
    assert_eq!(meshed, ["new"]);
    let findings = control_plane::check(&facts);
    assert!(
        findings[0].message.contains("weir-control-canary"),
        "{findings:?}"
    );
}

#[test]
fn a_report_reads_well_and_parses() {
    let report = Report::new(vec![
        Finding::ok("api-server", "Kubernetes 1.36 answers"),
        Finding::failure("webhooks", "no caBundle", "read the log"),
    ]);
    let text = report.to_string();
    assert!(
        text.contains("FAILURE  webhooks       no caBundle\n"),
        "{text}"
    );
    assert!(text.contains("-> read the log\n"), "{text}");
    assert!(text.ends_with("1 ok, 0 warnings, 1 failure\n"), "{text}");
    let value = serde_json::to_value(&report).expect("json");
    assert_eq!(value.pointer("/checks/1/level"), Some(&json!("failure")));
    assert_eq!(value.pointer("/checks/0/advice"), None);
    assert_eq!(value.pointer("/summary/failures"), Some(&json!(1)));
}

#[test]
fn routes_that_are_not_in_force_are_named_with_what_their_status_says() {
    let mut facts = cluster(&[injector()]);
    let kind = KINDS.iter().find(|it| it.kind == "HTTPRoute");
    let route = |name: &str, controller: &str, status: &str| {
        let condition = json!({"type": "ResolvedRefs", "status": status,
            "reason": "BackendNotFound", "message": "Service shop/x is not there"});
        let entry = json!({"controllerName": controller, "conditions": [condition]});
        let object = json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}]},
            "status": {"parents": [entry, entry]},
        });
        Rule::new(kind.expect("a kind"), object, &names())
    };
    facts.rules = Ok(vec![
        route("good", "weir.dev/mesh", "True"),
        route("others", "a.example/gateway", "False"),
    ]);
    let findings = rules::check(&facts);
    assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
    facts.rules = Ok(vec![route("lost", "weir.dev/mesh", "False")]);
    let findings = rules::check(&facts);
    assert_eq!(
        said(&findings, Level::Warning),
        ["HTTPRoute shop/lost: not ResolvedRefs (BackendNotFound): Service shop/x is not there"]
    );
    let advice = "kubectl get -n shop httproutes.gateway.networking.k8s.io/lost -o jsonpath={.status.parents}";
    assert_eq!(findings[0].advice.as_deref(), Some(advice));
}

#[test]
fn a_policy_that_has_a_service_asked_whom_the_mesh_does_not_know_is_named() {
    let mut facts = cluster(&[injector()]);
    let kind = KINDS.iter().find(|it| it.kind == "AuthorizationPolicy");
    let policy = json!({
        "metadata": {"name": "it", "namespace": "shop"},
        "spec": {"action": "CUSTOM", "provider": {"name": "authz"}, "rules": [{}]},
    });
    facts.rules = Ok(vec![Rule::new(kind.expect("a kind"), policy, &names())]);
    let map = |text: &str| {
        let map = json!({"metadata": {"name": "weir-config"}, "data": {"mesh.yaml": text}});
        Ok(Some(object(map)))
    };
    let unknown =
        "AuthorizationPolicy shop/it: spec.provider.name: \"authz\" is no extension provider";
    let provider =
        "extensionProviders: [{name: authz, envoyExtAuthzGrpc: {service: a.b, port: 1}}]";
    for (config, is_named) in [
        (Ok(None), true),
        (map("accessLog: json"), true),
        (map(""), true),
        (map(provider), false),
        (map("not: known"), false),
    ] {
        facts.config = config;
        let findings = rules::check(&facts);
        let warnings = said(&findings, Level::Warning);
        let named = warnings.iter().any(|it| it.starts_with(unknown));
        assert_eq!(named, is_named, "{warnings:?}");
    }
}

#[test]
fn rules_on_calls_that_say_something_in_vain_are_named_with_what_is_in_their_way() {
    let mut facts = cluster(&[injector()]);
    let rule = |kind: &str, name: &str, spec: Value| {
        let kind = KINDS.iter().find(|it| it.kind == kind).expect("a kind");
        let metadata = json!({"name": name, "namespace": "shop"});
        Rule::new(kind, json!({"metadata": metadata, "spec": spec}), &names())
    };
    let to = |subset: &str| {
        let destination = json!({"host": "web", "subset": subset});
        json!({"hosts": ["web"], "http": [{"route": [{"destination": destination}]}]})
    };
    let subsets = json!({"host": "web", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]});
    let subsets = || rule("DestinationRule", "web", subsets.clone());
    facts.rules = Ok(vec![subsets(), rule("VirtualService", "a", to("v1"))]);
    let findings = rules::check(&facts);
    assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
    let parents = json!([{"group": "", "kind": "Service", "name": "web"}]);
    let backends = json!([{"backendRefs": [{"name": "web", "port": 80}]}]);
    let route = rule(
        "HTTPRoute",
        "r",
        json!({"parentRefs": parents, "rules": backends}),
    );
    facts.rules = Ok(vec![
        subsets(),
        rule("VirtualService", "a", to("v9")),
        route,
    ]);
    assert_eq!(
        said(&rules::check(&facts), Level::Warning),
        [
            "VirtualService shop/a: does not count where HTTPRoute shop/r is about the same Service",
            "VirtualService shop/a: sends requests to subset v9 of Service shop/web, which no \
             DestinationRule has: they are answered 503",
        ]
    );
    let others = ["a", "b"].map(|name| rule("VirtualService", name, to("v1")));
    facts.rules = Ok(others.into_iter().chain([subsets()]).collect());
    assert_eq!(
        said(&rules::check(&facts), Level::Warning),
        [
            "VirtualService shop/b: does not count where VirtualService shop/a is about the same Service"
        ]
    );
    let declared = |name: &str| {
        let ports = json!([{"number": 80, "name": "http", "protocol": "HTTP"}]);
        let spec = json!({"hosts": ["api.example.com"], "ports": ports});
        rule("ServiceEntry", name, spec)
    };
    let of = |host: &str| rule("DestinationRule", "d", json!({"host": host}));
    facts.rules = Ok(vec![declared("a"), of("api.example.com")]);
    assert_eq!(rules::check(&facts)[0].level, Level::Ok);
    facts.rules = Ok(vec![declared("a"), declared("b"), of("web.shop")]);
    assert_eq!(
        said(&rules::check(&facts), Level::Warning),
        [
            "ServiceEntry shop/b: does not count for api.example.com, which ServiceEntry shop/a declares",
            "DestinationRule shop/d: \"web.shop\" is no name of a Service, and no ServiceEntry declares \
             it: what the rule says of it is in force nowhere",
        ]
    );
}
