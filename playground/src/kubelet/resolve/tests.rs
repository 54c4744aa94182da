use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::{PodKey, PodStatus},
    manifest,
};

fn identity_of(pod: Value, container: Value) -> Identity {
    let pod: PodSecurityContext = serde_json::from_value(pod).expect("pod's");
    let container: SecurityContext = serde_json::from_value(container).expect("container's");
    identity(Some(&pod), Some(&container))
}

#[test]
fn the_init_container_is_root_with_the_capabilities_it_asks_for_only() {
    let context = json!({
        "runAsUser": 0, "runAsGroup": 0, "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"] },
    });
    let identity = identity_of(json!({}), context);
    assert_eq!((identity.uid, identity.gid), (0, 0));
    assert_eq!(identity.capabilities, ["NET_ADMIN", "NET_RAW"]);
    assert!(!identity.allow_privilege_escalation);
}

#[test]
fn a_container_overrides_its_pod_and_nobody_is_root_by_default() {
    let identity = identity_of(
        json!({ "runAsUser": 5, "runAsGroup": 6, "fsGroup": 7 }),
        json!({ "runAsUser": 1337 }),
    );
    assert_eq!((identity.uid, identity.gid), (1337, 6));
    assert_eq!(identity.groups, [6, 7]);
    assert_eq!(super::identity(None, None).uid, DEFAULT_ID);
}

#[test]
fn a_substitute_listens_where_container_and_services_say() {
    let manifests = manifest::parse([(
        "a.yaml",
        "kind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {port: 9}]}",
    )])
    .expect("manifests");
    let mut cluster = Cluster::default();
    cluster.apply(&manifests).expect("apply");
    let object = json!({
        "metadata": { "name": "web-1", "namespace": "default", "labels": { "app": "web" } },
        "spec": { "containers": [
            { "name": "app", "image": "nginx", "ports": [{ "containerPort": 3306 }], "args": ["-x"] },
            { "name": "other", "image": "nginx", "ports": [{ "containerPort": 9, "name": "nine" }] },
        ] },
    });
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(object.clone()).expect("pod");
    let containers = pod.spec.clone().expect("spec").containers;
    let ip = cluster.next_pod_address().expect("address");
    let live = LivePod {
        object,
        pod,
        ip,
        status: PodStatus::default(),
    };
    cluster
        .pods
        .insert(PodKey::new("default", "web-1"), live.clone());
    let programs = Programs {
        weir: "/bin/weir".into(),
        agent: None,
        control: None,
    };
    let place = Place {
        dir: Path::new("/dir"),
        netns: "weir-x",
        lent: &[],
    };
    let argv = |index: usize| {
        resolve(&programs, &cluster, &live, &containers[index], &place)
            .expect("resolved")
            .argv
    };
    assert_eq!(
        argv(0),
        ["/.weir/weir", "echo", "--server-first=3306", "--auto=8080"]
    );
    assert_eq!(argv(1), ["/.weir/weir", "echo", "--auto=9"]);
}
