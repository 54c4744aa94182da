//! Injection of the objects people keep in files: pods, and the workloads that make them.

use serde_json::Value;

use crate::{Config, Decision, InjectError, inject::inject_as, pod::Owner};

/// What came of looking at an object.
#[derive(Debug, Clone)]
pub struct Document {
    /// The object, with every pod and pod template in it injected that is to be.
    pub object: Value,
    /// What was decided about each pod or template in it, in order; none if it holds none.
    pub pods: Vec<Looked>,
}

/// What came of one pod or pod template.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Such as `Deployment shop/web`.
    pub name: String,
    /// Whether it is injected, and why.
    pub decision: Decision,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// An object that cannot be injected.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {error}")]
pub struct DocumentError {
    /// Such as `Deployment shop/web`.
    pub name: String,
    /// Why not.
    pub error: InjectError,
}

/// Injects a Pod, or the pod template of a Deployment, ReplicaSet, DaemonSet, StatefulSet, Job,
/// CronJob or ReplicationController, or each item of a List. Objects of other kinds come back as
/// they are. `namespace` is where objects go that name none.
pub fn inject_document(
    mut object: Value,
    namespace: &str,
    config: &Config,
) -> Result<Document, DocumentError> {
    let mut pods = Vec::new();
    inject_object(&mut object, namespace, config, &mut pods)?;
    Ok(Document { object, pods })
}

fn inject_object(
    object: &mut Value,
    namespace: &str,
    config: &Config,
    pods: &mut Vec<Looked>,
) -> Result<(), DocumentError> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let kind = text("/kind").unwrap_or_default();
    if kind == "List" {
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        return items
            .into_iter()
            .flatten()
            .try_for_each(|item| inject_object(item, namespace, config, pods));
    }
    let Some(pointer) = template(&kind) else {
        return Ok(());
    };
    let own_name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
    let own_name = own_name.unwrap_or_default();
    let namespace = text("/metadata/namespace").unwrap_or_else(|| namespace.to_owned());
    let name = format!("{kind} {namespace}/{own_name}");
    let Some(pod) = object.pointer_mut(pointer) else {
        return Ok(());
    };
    let owner = (kind != "Pod").then_some(Owner {
        kind: &kind,
        name: &own_name,
    });
    let injection = inject_as(pod, &namespace, owner, config);
    let injection = injection.map_err(|error| DocumentError {
        name: name.clone(),
        error,
    })?;
    if let Some(injected) = injection.pod {
        *pod = injected;
    }
    pods.push(Looked {
        name,
        decision: injection.decision,
        warnings: injection.warnings,
    });
    Ok(())
}

/// Where the pod or pod template of a kind is.
fn template(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment"
        | "ReplicaSet"
        | "DaemonSet"
        | "StatefulSet"
        | "Job"
        | "ReplicationController" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_in_a_list_are_injected_and_the_rest_is_left_alone() {
        let template = json!({"spec": {"containers": [{"name": "app"}]}});
        let service = json!({"kind": "Service", "metadata": {"name": "web"}, "spec": {"x": 1}});
        let list = json!({"kind": "List", "items": [
            service,
            {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}},
            {"kind": "CronJob", "metadata": {"name": "tidy", "namespace": "kube-system"},
             "spec": {"jobTemplate": {"spec": {"template": template}}}},
        ]});
        let document = inject_document(list, "shop", &Config::default()).expect("document");
        let names: Vec<_> = document
            .pods
            .iter()
            .map(|pod| (&*pod.name, pod.decision))
            .collect();
        assert_eq!(
            names,
            [
                ("Deployment shop/web", Decision::PolicyEnabled),
                ("CronJob kube-system/tidy", Decision::SystemNamespace),
            ]
        );
        let items = &document.object["items"];
        assert_eq!(items[0], service);
        let deployment = &items[1]["spec"]["template"]["spec"];
        assert_eq!(deployment["initContainers"][1]["name"], "weir-proxy");
        let env = deployment["initContainers"][1]["env"]
            .as_array()
            .expect("env");
        assert!(env.contains(&json!({"name": "WEIR_WORKLOAD", "value": "web"})));
        assert_eq!(
            items[2]["spec"]["jobTemplate"]["spec"]["template"],
            template
        );
    }

    #[test]
    fn an_object_that_cannot_be_injected_is_named() {
        let pod = json!({"kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": 7}});
        let error = inject_document(pod, "shop", &Config::default()).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "Pod shop/web: spec.containers: expected an array, found a number"
        );
    }
}
