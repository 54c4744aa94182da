use super::*;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      futureField: kept
      containers: [{name: app, image: nginx}]
";

fn reason(text: &str) -> String {
    parse([("a.yaml", text)])
        .expect_err("bad manifest")
        .to_string()
}

#[test]
fn a_deployment_makes_pods_as_its_replica_set_would() {
    let manifests = parse([("a.yaml", DEPLOYMENT)]).expect("manifests");
    let pods = manifests.workloads[0].pods();
    assert_eq!(pods.len(), 2);
    assert_ne!(pods[0].name, pods[1].name);
    let metadata = &pods[0].object["metadata"];
    let prefix = metadata["generateName"].as_str().expect("generateName");
    assert!(pods[0].name.starts_with(prefix), "{prefix}");
    assert_eq!(metadata["name"], Value::Null);
    assert_eq!(metadata["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(pods[0].object["spec"]["futureField"], "kept");
}

#[test]
fn pods_of_a_stateful_set_are_numbered_and_named_by_their_service() {
    let text = DEPLOYMENT
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace("replicas: 2", "replicas: 2\n  serviceName: db");
    let pods = parse([("a.yaml", text.as_str())])
        .expect("manifests")
        .workloads[0]
        .pods();
    assert_eq!(
        (pods[0].name.as_str(), pods[1].name.as_str()),
        ("web-0", "web-1")
    );
    assert_eq!(pods[1].object["spec"]["hostname"], "web-1");
    assert_eq!(pods[1].object["spec"]["subdomain"], "db");
}

#[test]
fn kinds_nothing_acts_on_are_named_and_left_out() {
    let text = "kind: Ingress\nmetadata: {name: front}\n---\n---\nkind: List\nitems:\n- kind: Namespace\n  metadata: {name: shop}\n";
    let manifests = parse([("a.yaml", text)]).expect("manifests");
    assert_eq!(
        manifests.skipped,
        ["Ingress front (nothing here acts on this kind)"]
    );
    assert_eq!(manifests.namespaces.len(), 1);
}

#[test]
fn rules_are_kept_for_the_control_plane() {
    let text =
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: all}\n";
    let manifests = parse([("a.yaml", text)]).expect("manifests");
    assert_eq!(manifests.others[0]["metadata"]["name"], "all");
    assert!(manifests.skipped.is_empty());
}

#[test]
fn a_bad_manifest_names_file_document_object_and_field() {
    let text = format!(
        "kind: Namespace\nmetadata: {{name: shop}}\n---{}",
        DEPLOYMENT.replace("replicas: 2", "replicas: two")
    );
    let reason = reason(&text);
    assert!(
        reason.starts_with("a.yaml (document 2): Deployment web: spec.replicas: "),
        "{reason}"
    );
}

#[test]
fn what_is_not_a_manifest_says_why() {
    for (text, expected) in [
        ("a: [", "a.yaml: "),
        ("kind: Service\nkind: Pod\nmetadata: {name: a}", "kind"),
        ("just: text", "kind: missing"),
        ("kind: Service\nspec: {}", "metadata.name: missing"),
        (
            "kind: Pod\nmetadata: {name: a}\nspec: {containers: []}",
            "spec.containers: at least one",
        ),
        (
            "kind: Deployment\nmetadata: {name: a}\nspec: {replicas: -1, selector: {}, template: {spec: {containers: [{name: a}]}}}",
            "spec.replicas: must not",
        ),
    ] {
        let reason = reason(text);
        assert!(reason.contains(expected), "{reason}");
    }
}
