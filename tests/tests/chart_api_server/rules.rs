//! The kinds of rules that the chart can define, in a real API server.

use std::{fs, thread};

use serde_json::Value;
use weir_process::command::{LIMIT, output};
use weir_tests::{
    eventually::eventually,
    helm::{documents, root},
    skip,
};

use crate::{
    control_plane::ControlPlane,
    release::{Cluster, PATIENCE},
};

const NAMESPACE_OF_RULES: &str = "shop";
const DEFINED: &str = "customResourceDefinitions.enabled=true";
const KINDS: [&str; 8] = [
    "AuthorizationPolicy",
    "PeerAuthentication",
    "RequestAuthentication",
    "DestinationRule",
    "VirtualService",
    "ServiceEntry",
    "WorkloadEntry",
    "Sidecar",
];

#[test]
fn rules_count_once_their_kinds_are_defined_and_stay_when_the_release_goes() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let create = ["create", "namespace", NAMESPACE_OF_RULES];
    cluster.server.kubectl(&create).unwrap();
    cluster.upgrade("weir", "replicas=1", &[]).unwrap();
    cluster
        .server
        .serve_service(weir_tests::helm::NAMESPACE, "weir-control", 443, 15017)
        .unwrap();
    let names = thread::scope(|scope| {
        let _running = ControlPlane::start(scope, &cluster);
        // Nobody serves the kinds yet, and the control plane is ready without them.
        assert_eq!(KINDS.map(|kind| cluster.objects_of(kind)), [0; KINDS.len()]);
        cluster.upgrade("weir", DEFINED, &[]).unwrap();
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        cluster.server.kubectl(&established).unwrap();
        let names = cluster.apply_documented_rules();
        for kind in KINDS {
            let all = names.iter().filter(|name| name.starts_with(kind)).count();
            assert!(all >= 2, "{names:?}");
            let taken = || (cluster.objects_of(kind) == all).then_some(());
            eventually(PATIENCE, taken).unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
        cluster.refuses_malformed_rules();
        cluster.tells_of_rules_that_select_nothing(&names);
        names
    });
    cluster.helm(&["uninstall", "weir"]).unwrap();
    for name in &names {
        let (kind, name) = name.split_once('/').unwrap();
        cluster.server.get(NAMESPACE_OF_RULES, kind, name).unwrap();
    }
    // Installed again under its name, the release takes what it left.
    cluster.upgrade("weir", DEFINED, &[]).unwrap();
    cluster.helm(&["uninstall", "weir"]).unwrap();
    cluster.leaves_definitions_of_others_alone();
}

// === impl Cluster ===

impl Cluster {
    /// Objects of a kind that the control plane was told of.
    fn objects_of(&self, kind: &str) -> usize {
        let response = self.ask("/debug/watchz").unwrap();
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        let body: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let mut watches = body["watches"].as_array().unwrap().iter();
        let watch = watches.find(|watch| watch["kind"] == kind).unwrap();
        usize::try_from(watch["objects"].as_u64().unwrap()).unwrap()
    }

    /// Applies the rules of the documents, each in two versions, and returns them as kind and name.
    fn apply_documented_rules(&self) -> Vec<String> {
        let text = ["docs/traffic.md", "docs/istio.md", "docs/external.md"]
            .map(|path| fs::read_to_string(root().join(path)).unwrap())
            .concat();
        let blocks = text.split("```yaml\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap());
        let rules = blocks.flat_map(documents);
        let mut names = Vec::new();
        for rule in rules.filter(|it| KINDS.iter().any(|kind| it["kind"] == *kind)) {
            for version in ["v1", "v1beta1"] {
                let mut rule = rule.clone();
                let name = format!("{}-{version}", rule["metadata"]["name"].as_str().unwrap());
                rule["metadata"]["name"] = name.clone().into();
                let group = rule["apiVersion"].as_str().unwrap();
                let (group, _) = group.split_once('/').unwrap();
                rule["apiVersion"] = format!("{group}/{version}").into();
                let command = ["apply", "--validate=strict", "-f", "-"];
                let applied = self.server.kubectl_with(&command, &rule.to_string());
                applied.unwrap_or_else(|error| panic!("{rule}: {error}"));
                names.push(format!("{}/{name}", rule["kind"].as_str().unwrap()));
            }
        }
        names
    }

    /// By the schema where that knows better, else by the webhook.
    fn refuses_malformed_rules(&self) {
        for (kind, spec, said) in [
            ("AuthorizationPolicy", "{action: Deny}", "Unsupported value"),
            (
                "PeerAuthentication",
                "{mtls: {mode: strict}}",
                "Unsupported value",
            ),
            (
                "AuthorizationPolicy",
                "{rules: [{to: [{operation: {ports: [http]}}]}]}",
                "weir: spec.rules[0].to[0].operation.ports[0]: ",
            ),
            (
                "PeerAuthentication",
                "{portLevelMtls: {80: {mode: STRICT}}}",
                "weir: spec.portLevelMtls: ",
            ),
            (
                "DestinationRule",
                "{host: web, trafficPolicy: {tls: {mode: simple}}}",
                "Unsupported value",
            ),
            (
                "VirtualService",
                "{hosts: [web], http: [{match: [{uri: {regex: '('}}], directResponse: {status: 200}}]}",
                "weir: spec.http[0].match[0].uri.regex: ",
            ),
        ] {
            let group = match kind {
                "AuthorizationPolicy" | "PeerAuthentication" => "security",
                _ => "networking",
            };
            let rule = format!(
                "{{apiVersion: {group}.istio.io/v1beta1, kind: {kind}, spec: {spec}, \
                  metadata: {{name: wrong, namespace: {NAMESPACE_OF_RULES}}}}}"
            );
            let error = self.server.kubectl_with(&["create", "-f", "-"], &rule);
            let error = error.expect_err(&rule).to_string();
            assert!(error.contains(said), "{rule}: {error}");
        }
    }

    /// There are no pods, so that what selects some is in force nowhere.
    fn tells_of_rules_that_select_nothing(&self, names: &[String]) {
        let Some(weir) = skip::built("weir") else {
            return;
        };
        let mut check = self.server.command(weir);
        check.env("KUBECONFIG", self.server.kubeconfig());
        let said = output(check.arg("check"), "", LIMIT).unwrap().stdout;
        let selecting = |name: &&String| {
            let mut kinds = KINDS[..2].iter();
            kinds.any(|kind| name.starts_with(kind))
        };
        for name in names.iter().filter(selecting) {
            let (kind, name) = name.split_once('/').unwrap();
            let warning =
                format!("{kind} {NAMESPACE_OF_RULES}/{name}: spec.selector: selects no pod");
            assert!(said.contains(&warning), "{warning}: {said}");
        }
    }

    /// Definitions that nobody's release of that name made are not touched.
    fn leaves_definitions_of_others_alone(&self) {
        let foreign = [
            "annotate",
            "crd",
            "peerauthentications.security.istio.io",
            "meta.helm.sh/release-name=istio-base",
            "--overwrite",
        ];
        self.server.kubectl(&foreign).unwrap();
        let error = self.upgrade("weir", DEFINED, &[]).unwrap_err().to_string();
        assert!(error.contains("invalid ownership metadata"), "{error}");
        assert!(
            error.contains("peerauthentications.security.istio.io"),
            "{error}"
        );
    }
}
