use serde_json::json;

use super::*;

fn template() -> Value {
    json!({"spec": {"containers": [{"name": "app"}]}})
}

#[test]
fn templates_in_a_list_are_injected_and_the_rest_is_left_alone() {
    let template = template();
    let service = json!({"kind": "Service", "metadata": {"name": "web"}, "spec": {"x": 1}});
    let list = json!({"kind": "List", "items": [
        service,
        {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}},
        {"kind": "CronJob", "metadata": {"name": "tidy", "namespace": "kube-system"},
         "spec": {"jobTemplate": {"spec": {"template": template}}}},
    ]});
    let document = inject_document(list.clone(), "shop", &Config::default()).expect("document");
    let found: Vec<_> = document
        .found
        .iter()
        .map(|found| (&*found.name, found.skipped.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("Deployment shop/web", None),
            (
                "CronJob kube-system/tidy",
                Some("not injected: pods of this system namespace never are")
            ),
        ]
    );
    let items = &document.object["items"];
    assert_eq!(items[0], service);
    let deployment = &items[1]["spec"]["template"]["spec"];
    assert_eq!(deployment["initContainers"][1]["name"], "weir-proxy");
    let env = &deployment["initContainers"][1]["env"];
    let workload = json!({"name": "WEIR_WORKLOAD", "value": "web"});
    assert!(env.as_array().expect("env").contains(&workload));
    assert_eq!(
        items[2]["spec"]["jobTemplate"]["spec"]["template"],
        template
    );
    let taken_out = uninject_document(document.object, "shop").expect("document");
    assert_eq!(taken_out.object, list);
}

#[test]
fn items_of_a_typed_list_name_no_kind() {
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app"}]}});
    let list = json!({"kind": "PodList", "apiVersion": "v1", "items": [pod]});
    let document = inject_document(list, "shop", &Config::default()).expect("document");
    assert_eq!(document.found[0].name, "Pod shop/web");
    assert!(document.found[0].changed);
}

#[test]
fn kinds_of_other_groups_are_told_from_kubernetes_own() {
    let rollout = json!({"kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1",
        "metadata": {"name": "web"}, "spec": {"template": template()}});
    let job = json!({"kind": "Job", "apiVersion": "batch.volcano.sh/v1alpha1",
        "metadata": {"name": "web"}, "spec": {"tasks": []}});
    for (object, found) in [(rollout, 1), (job, 0)] {
        let document = inject_document(object.clone(), "shop", &Config::default());
        let document = document.expect("document");
        assert_eq!(document.object, object);
        assert_eq!(document.found.len(), found);
    }
}

#[test]
fn an_injected_object_is_not_injected_twice() {
    let deployment = json!({"kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": template()}});
    let once = inject_document(deployment, "shop", &Config::default()).expect("document");
    let twice = inject_document(once.object.clone(), "shop", &Config::default());
    let twice = twice.expect("document");
    assert_eq!(twice.object, once.object);
    assert!(!twice.found[0].changed);
}

#[test]
fn an_object_that_cannot_be_injected_is_named() {
    for (object, message) in [
        (
            json!({"kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": 7}}),
            "Pod shop/web: spec.containers: expected an array, found a number",
        ),
        (
            json!({"kind": "Deployment", "metadata": {"name": "web"}, "spec": {}}),
            "Deployment shop/web: spec.template: expected an object, found nothing",
        ),
    ] {
        let error = inject_document(object, "shop", &Config::default()).expect_err("refused");
        assert_eq!(error.to_string(), message);
    }
}

/// Sources of volumes, with which an author may have taken any name.
fn sources() -> [Value; 9] {
    [
        json!({"emptyDir": {}}),
        json!({"configMap": {"name": "own"}}),
        json!({"secret": {"secretName": "own"}}),
        json!({"hostPath": {"path": "/srv"}}),
        json!({"projected": {"sources": []}}),
        json!({"persistentVolumeClaim": {"claimName": "own"}}),
        json!({"csi": {"driver": "example.com"}}),
        json!({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}),
        json!({"image": {"reference": "own:1"}}),
    ]
}

/// The names of the volumes that the sidecar of an injected pod mounts.
fn mounted(pod: &Value) -> Vec<&str> {
    let mounts = pod["spec"]["initContainers"][1]["volumeMounts"].as_array();
    let mounts = mounts.expect("mounts").iter();
    mounts
        .map(|mount| mount["name"].as_str().expect("a name"))
        .collect()
}

#[test]
fn volumes_of_the_authors_stay_and_the_sidecars_have_other_names() {
    for (source, taken) in sources().iter().flat_map(|source| {
        let each: [&[&str]; 3] = [&["weir-ca"], &["weir-token"], &["weir-ca", "weir-token"]];
        each.map(|taken| (source, taken))
    }) {
        let volumes: Vec<Value> = taken
            .iter()
            .map(|name| {
                let mut volume = source.clone();
                volume["name"] = (*name).into();
                volume
            })
            .collect();
        let mut pod = template();
        pod["spec"]["volumes"] = volumes.clone().into();
        let deployment = json!({"kind": "Deployment", "spec": {"template": pod.clone()}});
        pod["kind"] = "Pod".into();
        for (object, pointer) in [(pod, ""), (deployment, "/spec/template")] {
            let config = Config::default();
            let document = inject_document(object.clone(), "shop", &config).expect("document");
            let injected = document.object.pointer(pointer).expect("a pod");
            let all = injected["spec"]["volumes"].as_array().expect("volumes");
            assert_eq!(all[..taken.len()], volumes, "the patch only adds");
            let mounted = mounted(injected);
            assert!(
                mounted.iter().all(|name| !taken.contains(name)),
                "{injected}"
            );
            let added: Vec<_> = all[taken.len()..].iter().map(|it| &it["name"]).collect();
            assert_eq!(added, mounted);
            let status = &injected["metadata"]["annotations"]["weir.dev/status"];
            let status: Value = serde_json::from_str(status.as_str().expect("text")).expect("JSON");
            assert_eq!(status["volumes"], json!(mounted));
            let warnings = &document.found[0].warnings;
            for name in taken {
                let named = |warning: &String| warning.contains(&format!("volume {name:?}"));
                assert!(warnings.iter().any(named), "{name}: {warnings:?}");
            }
            let again = inject_document(document.object.clone(), "shop", &config);
            assert!(!again.expect("document").found[0].changed);
            let taken_out = uninject_document(document.object, "shop").expect("document");
            assert_eq!(taken_out.object, object);
        }
    }
}

#[test]
fn volumes_that_a_stateful_set_claims_for_its_pods_count_as_theirs() {
    let set = json!({"kind": "StatefulSet", "spec": {
        "template": template(),
        "volumeClaimTemplates": [{"metadata": {"name": "weir-token"}}],
    }});
    let document = inject_document(set, "shop", &Config::default()).expect("document");
    assert_eq!(
        mounted(&document.object["spec"]["template"]),
        ["weir-ca", "weir-token-2", "weir-state"]
    );
    // As the controller makes its pods: with the claim beside what the template has.
    let mut pod = document.object["spec"]["template"].clone();
    pod["kind"] = "Pod".into();
    let claim = json!({"name": "weir-token", "persistentVolumeClaim": {"claimName": "x"}});
    let volumes = pod["spec"]["volumes"].as_array_mut().expect("volumes");
    volumes.insert(0, claim);
    let again = inject_document(pod, "shop", &Config::default()).expect("document");
    assert!(!again.found[0].changed, "{:?}", again.found);
}
