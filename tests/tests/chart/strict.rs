//! Every rendered object is one of the Kubernetes API, with no field that the API does not know.

use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        ValidatingWebhookConfiguration,
    },
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use weir_tests::helm::{Rendered, available, identity, matrix};

/// Objects of others, which have no types here: the API server of a test checks them.
const OTHERS: [(&str, &str); 3] = [
    ("cert-manager.io/v1", "Certificate"),
    ("cert-manager.io/v1", "Issuer"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
];

#[test]
fn rendered_objects_are_of_the_kubernetes_api() {
    if !available() {
        return;
    }
    for (name, values) in matrix() {
        let installed = Rendered::with_file(&values);
        let test = Rendered::test_with_file(&values);
        for object in installed.sorted().into_iter().chain(test.sorted()) {
            let faults = faults(object);
            assert!(
                faults.is_empty(),
                "{name}: {}: {faults:?}",
                identity(object)
            );
        }
    }
}

#[test]
fn a_field_that_the_api_does_not_know_is_found() {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"},
        "automountServiceAccountTokens": false});
    assert_eq!(faults(&account), ["/automountServiceAccountTokens"]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"},
        "spec": {"ports": [{"port": 1, "targetport": "x"}]}});
    assert_eq!(faults(&service), ["/spec/ports/0/targetport"]);
    let unknown = json!({"apiVersion": "v2", "kind": "Service"});
    assert_eq!(faults(&unknown), ["v2 Service is not known here"]);
}

fn faults(object: &Value) -> Vec<String> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    match (version, kind) {
        ("v1", "ConfigMap") => typed::<ConfigMap>(object),
        ("v1", "Pod") => typed::<Pod>(object),
        ("v1", "Service") => typed::<Service>(object),
        ("v1", "ServiceAccount") => typed::<ServiceAccount>(object),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => {
            typed::<CustomResourceDefinition>(object)
        }
        ("apps/v1", "Deployment") => typed::<Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => typed::<HorizontalPodAutoscaler>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => typed::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => typed::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", kind) => match kind {
            "ClusterRole" => typed::<ClusterRole>(object),
            "ClusterRoleBinding" => typed::<ClusterRoleBinding>(object),
            "Role" => typed::<Role>(object),
            "RoleBinding" => typed::<RoleBinding>(object),
            _ => vec![format!("{version} {kind} is not known here")],
        },
        ("admissionregistration.k8s.io/v1", kind) => match kind {
            "MutatingWebhookConfiguration" => typed::<MutatingWebhookConfiguration>(object),
            "ValidatingAdmissionPolicy" => typed::<ValidatingAdmissionPolicy>(object),
            "ValidatingAdmissionPolicyBinding" => typed::<ValidatingAdmissionPolicyBinding>(object),
            "ValidatingWebhookConfiguration" => typed::<ValidatingWebhookConfiguration>(object),
            _ => vec![format!("{version} {kind} is not known here")],
        },
        other if OTHERS.contains(&other) => Vec::new(),
        _ => vec![format!("{version} {kind} is not known here")],
    }
}

/// What the type does not keep of the object.
fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    match serde_json::from_value::<T>(object.clone()) {
        Ok(typed) => {
            let mut lost = Vec::new();
            missing("", object, &serde_json::to_value(typed).unwrap(), &mut lost);
            lost
        }
        Err(error) => vec![error.to_string()],
    }
}

/// Paths of `before` that are not in `after`.
fn missing(path: &str, before: &Value, after: &Value, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(fields), Value::Object(kept)) => {
            for (key, value) in fields {
                let path = format!("{path}/{key}");
                match kept.get(key) {
                    Some(other) => missing(&path, value, other, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(items), Value::Array(kept)) if items.len() == kept.len() => {
            for (index, (item, other)) in items.iter().zip(kept).enumerate() {
                missing(&format!("{path}/{index}"), item, other, lost);
            }
        }
        _ if before == after => {}
        _ => lost.push(path.to_owned()),
    }
}
