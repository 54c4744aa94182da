//! What is rendered fits together: selectors and pods, Services and ports, names and who looks for them,
//! flags and settings and who reads them.

use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};
use weir_api::sidecar;
use weir_discovery::xds::MeshConfig;
use weir_injector::config::SYSTEM_NAMESPACES;
use weir_tests::helm::{NAMESPACE, Rendered, available, identity, matrix};

use crate::selector::{Labels, selects};

/// Kinds without a namespace.
const CLUSTER_SCOPED: [&str; 7] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
];

/// Runs `check` with every entry of the matrix.
fn for_each(check: impl Fn(&str, &Rendered)) {
    if !available() {
        return;
    }
    for (name, values) in matrix() {
        check(&name, &Rendered::with_file(&values));
    }
}

fn labels(object: &Value) -> Labels {
    serde_json::from_value(object.clone()).unwrap()
}

fn container(rendered: &Rendered) -> &Value {
    let pod = &rendered.one("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    &pod["containers"][0]
}

/// The settings of the control plane, from the flags and the environment it is given.
fn config(rendered: &Rendered) -> weir_control::Config {
    let container = container(rendered);
    assert_eq!(container["command"], json!(["/usr/local/bin/weir-control"]));
    let flags = container["args"].as_array().unwrap().iter();
    let flags = flags.map(|flag| flag.as_str().unwrap());
    let namespace = format!("--namespace={NAMESPACE}");
    let command = ["weir-control", &namespace];
    weir_control::Config::try_parse_from(command.into_iter().chain(flags)).unwrap()
}

/// The Role by which the test asks for a pod: the one that is not in the release's namespace.
fn dry_run_role(test: &Rendered) -> &Value {
    let mut roles = test.all("Role");
    let foreign = roles.find(|role| role["metadata"]["namespace"] != NAMESPACE);
    foreign.expect("a role in another namespace")
}

#[test]
fn selectors_select_the_pods_of_the_control_plane() {
    for_each(|name, rendered| {
        let deployment = rendered.one("Deployment");
        let pod = labels(&deployment["spec"]["template"]["metadata"]["labels"]);
        assert!(selects(&deployment["spec"]["selector"], &pod), "{name}");
        let service = json!({"matchLabels": rendered.one("Service")["spec"]["selector"]});
        assert!(selects(&service, &pod), "{name}");
        for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
            for object in rendered.all(kind) {
                let selector = match kind {
                    "NetworkPolicy" => &object["spec"]["podSelector"],
                    _ => &object["spec"]["selector"],
                };
                assert_ne!(selector, &json!({}), "{name}: {kind}");
                assert!(selects(selector, &pod), "{name}: {kind}");
            }
        }
        let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"];
        for constraint in spread.as_array().unwrap() {
            assert!(selects(&constraint["labelSelector"], &pod), "{name}");
        }
    });
}

#[test]
fn two_revisions_share_no_object_and_no_pod() {
    if !available() {
        return;
    }
    let values = "podMonitor.enabled=true,dashboard.enabled=true,networkPolicy.enabled=true";
    let all = |revision: &str| Rendered::with(&format!("{values},revision={revision}"));
    let (default, canary) = (all("default"), all("canary"));
    for object in default.sorted() {
        let name = identity(object);
        assert!(
            canary
                .sorted()
                .into_iter()
                .all(|other| identity(other) != name),
            "{name}"
        );
    }
    let pod = &canary.one("Deployment")["spec"]["template"]["metadata"]["labels"];
    let selector = &default.one("Deployment")["spec"]["selector"];
    assert!(!selects(selector, &labels(pod)));
}

#[test]
fn objects_are_in_the_namespace_of_the_release_and_say_whose_they_are() {
    for_each(|name, rendered| {
        for object in rendered.sorted() {
            let at = format!("{name}: {}", identity(object));
            let scoped = CLUSTER_SCOPED.contains(&object["kind"].as_str().unwrap());
            let namespace = if scoped {
                Value::Null
            } else {
                json!(NAMESPACE)
            };
            assert_eq!(object["metadata"]["namespace"], namespace, "{at}");
            let part_of = &object["metadata"]["labels"]["app.kubernetes.io/part-of"];
            assert_eq!(part_of, "weir", "{at}");
        }
    });
}

#[test]
fn services_and_probes_lead_to_ports_that_are_listened_on() {
    for_each(|name, rendered| {
        let container = container(rendered);
        let ports = container["ports"].as_array().unwrap();
        let number = |port: &Value| {
            let found = ports.iter().find(|other| &other["name"] == port);
            found.unwrap_or_else(|| panic!("{name}: no port {port}"))["containerPort"].clone()
        };
        let config = config(rendered);
        let service = &rendered.one("Service")["spec"]["ports"];
        let targets = service.as_array().unwrap().iter();
        let targets = targets.map(|port| (port["port"].clone(), number(&port["targetPort"])));
        let listened = [
            (443, config.webhook_addr.port()),
            (15012, config.xds_addr.port()),
            (15014, config.debug_addr.port()),
        ];
        let listened = listened.map(|(port, target)| (json!(port), json!(target)));
        assert_eq!(targets.collect::<Vec<_>>(), listened, "{name}");
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let port = number(&container[probe]["httpGet"]["port"]);
            assert_eq!(port, json!(config.debug_addr.port()), "{name}");
        }
    });
}

#[test]
fn webhooks_ask_the_service_and_leave_the_bundle_to_its_owner() {
    for_each(|name, rendered| {
        let service = rendered.one("Service");
        let configurations = rendered
            .all("MutatingWebhookConfiguration")
            .chain(rendered.all("ValidatingWebhookConfiguration"));
        for webhook in configurations.flat_map(|object| object["webhooks"].as_array().unwrap()) {
            let client = &webhook["clientConfig"];
            assert_eq!(
                client["service"]["name"], service["metadata"]["name"],
                "{name}"
            );
            assert_eq!(client["service"]["namespace"], NAMESPACE, "{name}");
            assert_eq!(client["service"]["port"], 443, "{name}");
            assert_eq!(client.get("caBundle"), None, "{name}");
            assert_eq!(webhook["sideEffects"], "None", "{name}");
            assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]), "{name}");
        }
    });
}

#[test]
fn the_control_plane_looks_for_what_is_rendered() {
    for_each(|name, rendered| {
        let kubernetes = config(rendered).kubernetes;
        let named = |kind: &str| rendered.one(kind)["metadata"]["name"].clone();
        assert_eq!(named("Service"), kubernetes.service(), "{name}");
        let mutating = kubernetes.mutating_webhook().unwrap();
        assert_eq!(named("MutatingWebhookConfiguration"), mutating, "{name}");
        let validating = rendered.all("ValidatingWebhookConfiguration").next();
        let validating = validating.map(|object| object["metadata"]["name"].as_str().unwrap());
        let looked_for = kubernetes.validating_webhook();
        assert_eq!(validating, looked_for.as_deref(), "{name}");
        let map = kubernetes.config_map();
        let mut maps = rendered.all("ConfigMap");
        assert!(
            maps.any(|object| object["metadata"]["name"] == *map),
            "{name}: {map}"
        );
        let mounts = container(rendered)["volumeMounts"].as_array();
        let mounts = mounts.into_iter().flatten();
        let mounts: Vec<_> = mounts.map(|mount| mount["mountPath"].as_str()).collect();
        let client_ca = config(rendered).webhook_client_ca;
        let directories = [
            kubernetes.serving_cert_dir.as_deref(),
            kubernetes.ca_cert_dir.as_deref(),
            client_ca.as_deref().and_then(Path::parent),
        ];
        let directories: Vec<_> = directories
            .into_iter()
            .flatten()
            .map(Path::to_str)
            .collect();
        assert_eq!(mounts, directories, "{name}");
    });
}

#[test]
fn the_configuration_is_read_by_the_injector_and_by_discovery() {
    for_each(|name, rendered| {
        let map = config(rendered).kubernetes.config_map();
        let data = rendered
            .all("ConfigMap")
            .find(|it| it["metadata"]["name"] == *map);
        let data = &data.unwrap()["data"];
        let injector = yaml_serde::Deserializer::from_str(data["injector.yaml"].as_str().unwrap());
        let injector =
            weir_injector::Config::read(injector).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mesh: Result<MeshConfig, _> = yaml_serde::from_str(data["mesh.yaml"].as_str().unwrap());
        mesh.unwrap_or_else(|error| panic!("{name}: {error}"));
        let container = container(rendered);
        assert_eq!(container["image"], injector.image, "{name}");
        let service = rendered.one("Service")["metadata"]["name"]
            .as_str()
            .unwrap();
        let control_plane = format!("{service}.{NAMESPACE}.svc:15012");
        assert_eq!(injector.control_plane, control_plane, "{name}");
        for own in ["kube-system", NAMESPACE] {
            assert!(
                injector.system_namespaces.iter().any(|other| other == own),
                "{name}"
            );
        }
    });
}

#[test]
fn defaults_are_those_of_the_code() {
    if !available() {
        return;
    }
    let rendered = Rendered::with("");
    let data = &rendered.one("ConfigMap")["data"];
    let injector = yaml_serde::Deserializer::from_str(data["injector.yaml"].as_str().unwrap());
    let injector = weir_injector::Config::read(injector).unwrap();
    assert_eq!(injector.image, sidecar::DEFAULT_IMAGE);
    assert_eq!(injector.control_plane, sidecar::DEFAULT_CONTROL_PLANE);
    assert_eq!(injector.system_namespaces, SYSTEM_NAMESPACES);
    let mesh: MeshConfig = yaml_serde::from_str(data["mesh.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(mesh, MeshConfig::default());
}

#[test]
fn the_control_plane_runs_where_pods_are_restricted() {
    for_each(|name, rendered| {
        let pod = &rendered.one("Deployment")["spec"]["template"]["spec"];
        let container = container(rendered);
        let context = &container["securityContext"];
        assert_eq!(context["runAsNonRoot"], true, "{name}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{name}");
        assert_eq!(
            context["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        for shared in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod.get(shared), None, "{name}");
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let is_data = ["secret", "configMap"].map(|kind| volume.get(kind).is_some());
            assert!(is_data.contains(&true), "{name}: {volume}");
        }
        let requests = &container["resources"]["requests"];
        assert!(
            requests["cpu"].is_string() && requests["memory"].is_string(),
            "{name}"
        );
        assert_eq!(container["resources"]["limits"].get("cpu"), None, "{name}");
    });
}

#[test]
fn rights_are_given_to_the_account_of_the_pods_and_name_what_is_rendered() {
    for_each(|name, rendered| {
        let account = rendered.one("ServiceAccount")["metadata"]["name"].clone();
        let pod = &rendered.one("Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], account, "{name}");
        for (binding, role) in [
            ("ClusterRoleBinding", "ClusterRole"),
            ("RoleBinding", "Role"),
        ] {
            let (binding, role) = (rendered.one(binding), rendered.one(role));
            assert_eq!(binding["roleRef"]["kind"], role["kind"], "{name}");
            assert_eq!(
                binding["roleRef"]["name"], role["metadata"]["name"],
                "{name}"
            );
            let subject =
                json!([{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]);
            assert_eq!(binding["subjects"], subject, "{name}");
            for rule in role["rules"].as_array().unwrap() {
                for list in ["apiGroups", "resources", "verbs"] {
                    let wildcard = rule[list].as_array().unwrap().contains(&json!("*"));
                    assert!(!wildcard, "{name}: {rule}");
                }
            }
        }
        let kubernetes = config(rendered).kubernetes;
        let made = [
            kubernetes.ca_secret.as_str(),
            sidecar::CA_CONFIG_MAP,
            weir_control::config::LEADER_LEASE,
        ];
        for rule in ["ClusterRole", "Role"]
            .iter()
            .flat_map(|kind| rendered.one(kind)["rules"].as_array().unwrap())
        {
            for named in rule["resourceNames"].as_array().into_iter().flatten() {
                let objects = rendered.sorted();
                let rendered = objects
                    .iter()
                    .any(|object| &object["metadata"]["name"] == named);
                assert!(
                    rendered || made.iter().any(|made| named == made),
                    "{name}: {named}"
                );
            }
        }
    });
}

#[test]
fn the_test_of_a_release_runs_our_program_in_the_one_image_and_leaves_nothing() {
    if !available() {
        return;
    }
    for (name, values) in matrix() {
        let (rendered, test) = (
            Rendered::with_file(&values),
            Rendered::test_with_file(&values),
        );
        let pod = &test.one("Pod")["spec"];
        let ran = &pod["containers"][0];
        assert_eq!(ran["image"], container(&rendered)["image"], "{name}");
        assert_eq!(ran["command"], json!(["/usr/local/bin/weir"]), "{name}");
        let revision = config(&rendered).kubernetes.revision;
        let args = [
            "check".to_owned(),
            format!("--namespace={NAMESPACE}"),
            format!("--revision={revision}"),
            format!(
                "--dry-run-in={}",
                dry_run_role(&test)["metadata"]["namespace"]
                    .as_str()
                    .unwrap()
            ),
        ];
        assert_eq!(ran["args"], json!(args), "{name}");
        let account = &test.one("ServiceAccount")["metadata"]["name"];
        assert_eq!(&pod["serviceAccountName"], account, "{name}");
        let installed: Vec<String> = rendered.sorted().into_iter().map(identity).collect();
        for object in test.sorted() {
            let annotations = &object["metadata"]["annotations"];
            assert_eq!(annotations["helm.sh/hook"], "test", "{name}");
            let deleted = annotations["helm.sh/hook-delete-policy"].as_str().unwrap();
            assert!(
                deleted.contains("hook-succeeded"),
                "{name}: {}",
                identity(object)
            );
            assert!(
                !installed.contains(&identity(object)),
                "{name}: {}",
                identity(object)
            );
        }
    }
}

#[test]
fn suites_of_helm_test_are_told_apart_by_their_names() {
    if !available() {
        return;
    }
    for (values, path) in matrix() {
        let test = Rendered::test_with_file(&path);
        let objects = test.sorted();
        let names = objects.iter().map(|it| it["metadata"]["name"].to_string());
        let names: std::collections::BTreeSet<_> = names.collect();
        assert_eq!(names.len(), objects.len(), "{values}: {names:?}");
        let check = names.iter().any(|name| name.contains("-check"));
        assert!(check, "{values}: {names:?}");
    }
}
