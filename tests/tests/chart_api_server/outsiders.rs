//! Pods that would leave the mesh, where the chart's policy refuses that.

use serde_json::{Value, json};
use weir_tests::eventually::eventually;

use crate::{
    life::ASKING,
    release::{Cluster, PATIENCE},
};

#[test]
fn pods_that_leave_the_mesh_are_refused_by_the_means_they_use_and_others_are_not() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    for (name, labels) in [
        (ASKING, json!({"weir.dev/injection": "enabled"})),
        ("plain", json!({})),
    ] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels}});
        cluster.server.apply(&namespace.to_string()).unwrap();
        cluster.await_account(name);
    }
    let all = "label,host-network,exclusions,proxy-user,net-admin,ephemeral-containers";
    // Nobody answers the webhook here: the policy needs nobody.
    let values = format!("webhooks.failurePolicy=Ignore,admissionPolicy.refuse={{{all}}}");
    cluster.upgrade("weir", &values, &[]).unwrap();
    let make = |namespace: &str, metadata: Value, spec: Value| {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "app", "namespace": namespace},
            "spec": {"containers": [{"name": "app", "image": "x"}]}});
        for (into, from) in [("metadata", metadata), ("spec", spec)] {
            let fields = from.as_object().unwrap().clone();
            pod[into].as_object_mut().unwrap().extend(fields);
        }
        cluster.create(&pod, &["--dry-run=server"])
    };
    let container = |name: &str, context: Value| json!([{"name": name, "image": "x", "securityContext": context}]);
    let out = json!({"labels": {"weir.dev/inject": "false"}});
    let in_force = eventually(PATIENCE, || make(ASKING, out.clone(), json!({})).err());
    in_force.unwrap();
    for (means, metadata, spec) in [
        ("label", out.clone(), json!({})),
        (
            "label",
            json!({"annotations": {"weir.dev/inject": "false"}}),
            json!({}),
        ),
        ("host-network", json!({}), json!({"hostNetwork": true})),
        (
            "exclusions",
            json!({"annotations": {"weir.dev/exclude-outbound-ports": "5432"}}),
            json!({}),
        ),
        (
            "proxy-user",
            json!({}),
            json!({"securityContext": {"runAsUser": 1337}}),
        ),
        (
            "proxy-user",
            json!({}),
            json!({"containers": container("app", json!({"runAsGroup": 1337}))}),
        ),
        (
            "net-admin",
            json!({}),
            json!({"containers": container("app", json!({"capabilities": {"add": ["SYS_ADMIN"]}}))}),
        ),
        (
            "net-admin",
            json!({}),
            json!({"initContainers":
                container("setup", json!({"capabilities": {"add": ["NET_ADMIN"]}}))}),
        ),
    ] {
        let refused = make(ASKING, metadata.clone(), spec.clone());
        let refused = refused.unwrap_err().to_string();
        let word = format!("admissionPolicy.refuse of Weir has {means}");
        assert!(refused.contains(&word), "{metadata} {spec}: {refused}");
        // A namespace that is not injected is none of its business.
        make("plain", metadata, spec).unwrap();
    }
    make(ASKING, json!({}), json!({})).unwrap();
    let ours = container("weir-proxy", json!({"runAsUser": 1337, "runAsGroup": 1337}));
    make(ASKING, json!({}), json!({"containers": ours})).unwrap();
    cluster.refuses_ephemeral_containers();
}

impl Cluster {
    /// Into a pod that is there.
    fn refuses_ephemeral_containers(&self) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "app", "namespace": ASKING},
            "spec": {"containers": [{"name": "app", "image": "x"}]}});
        self.server.apply(&pod.to_string()).unwrap();
        let debug = [
            "debug",
            "app",
            "--namespace",
            ASKING,
            "--image=x",
            "--profile=general",
            "--quiet",
        ];
        let refused = self.server.kubectl(&debug).unwrap_err().to_string();
        assert!(refused.contains("has ephemeral-containers"), "{refused}");
    }
}
