//! What a demo runs: the built-in shop, or the person's own directory.

use std::path::Path;

use weir_api::annotations::{INJECT, NAMESPACE_INJECTION};
use weir_playground::{
    Error, k8s,
    manifest::{self, DEFAULT_NAMESPACE, Manifests, Workload},
};

/// Namespace and Deployment of the un-meshed pod that calls the Services of a foreign directory.
const PROBE: &str = include_str!("probe.yaml");

/// `examples/shop`, as it was when this program was built.
const SHOP: [(&str, &str); 8] = [
    (
        "examples/shop/namespaces.yaml",
        include_str!("../../../examples/shop/namespaces.yaml"),
    ),
    (
        "examples/shop/catalog.yaml",
        include_str!("../../../examples/shop/catalog.yaml"),
    ),
    (
        "examples/shop/frontend.yaml",
        include_str!("../../../examples/shop/frontend.yaml"),
    ),
    (
        "examples/shop/inventory.yaml",
        include_str!("../../../examples/shop/inventory.yaml"),
    ),
    (
        "examples/shop/legacy.yaml",
        include_str!("../../../examples/shop/legacy.yaml"),
    ),
    (
        "examples/shop/mailroom.yaml",
        include_str!("../../../examples/shop/mailroom.yaml"),
    ),
    (
        "examples/shop/payments.yaml",
        include_str!("../../../examples/shop/payments.yaml"),
    ),
    (
        "examples/shop/search.yaml",
        include_str!("../../../examples/shop/search.yaml"),
    ),
];

/// The built-in shop.
pub(super) fn shop() -> Result<Manifests, Error> {
    manifest::parse(SHOP)
}

/// The manifests of `path`, and a pod beside them that is not in the mesh. Where nothing asks to be
/// in the mesh, as in manifests that know nothing of it, every namespace is labelled.
pub(super) fn foreign(path: &Path, say: &dyn Fn(&str)) -> Result<Manifests, Error> {
    let mut manifests = manifest::read(path)?;
    if manifests.workloads.is_empty() {
        return Err(Error::Manifest {
            file: path.display().to_string(),
            reason: "nothing in here makes pods (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, Pod)"
                .to_owned(),
        });
    }
    if !asks_for_mesh(&manifests) {
        for name in label_all(&mut manifests) {
            say(&format!(
                "nothing asks to be in the mesh; labelling namespace {name} {NAMESPACE_INJECTION}=enabled"
            ));
        }
    }
    let probe = manifest::parse([("the demo's own probe", PROBE)])?;
    manifests.namespaces.extend(probe.namespaces);
    manifests.workloads.extend(probe.workloads);
    Ok(manifests)
}

fn asks_for_mesh(manifests: &Manifests) -> bool {
    let has = |labels: &Option<std::collections::BTreeMap<String, String>>, name: &str| {
        labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key(name))
    };
    let pod_label = |workload: &Workload| {
        workload
            .template
            .pointer("/metadata/labels")
            .is_some_and(|labels| labels.get(INJECT).is_some())
    };
    manifests
        .namespaces
        .iter()
        .any(|namespace| has(&namespace.metadata.labels, NAMESPACE_INJECTION))
        || manifests.workloads.iter().any(pod_label)
}

/// Labels every namespace in use, declared or not, and returns their names.
fn label_all(manifests: &mut Manifests) -> Vec<String> {
    let mut used: Vec<String> = manifests
        .workloads
        .iter()
        .map(|workload| workload.namespace.clone())
        .collect();
    used.sort();
    used.dedup();
    for name in &used {
        let names_it = |namespace: &&mut k8s::Namespace| {
            namespace
                .metadata
                .name
                .as_deref()
                .unwrap_or(DEFAULT_NAMESPACE)
                == name
        };
        let mut fresh = k8s::Namespace::default();
        fresh.metadata.name = Some(name.clone());
        let known = manifests.namespaces.iter_mut().find(names_it);
        let is_known = known.is_some();
        let namespace = known.unwrap_or(&mut fresh);
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert(NAMESPACE_INJECTION.to_owned(), "enabled".to_owned());
        if !is_known {
            manifests.namespaces.push(fresh);
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_shop_asks_for_the_mesh_in_one_namespace() {
        let shop = shop().expect("shop");
        assert!(asks_for_mesh(&shop));
        assert!(shop.skipped.is_empty(), "{:?}", shop.skipped);
        assert_eq!(shop.namespaces.len(), 2);
        assert!(shop.workloads.len() >= 6);
    }

    #[test]
    fn manifests_that_know_nothing_of_the_mesh_are_labelled() {
        let dir = tempfile::tempdir().expect("directory");
        let pod = "kind: Pod\nmetadata: {name: a, namespace: x}\nspec: {containers: [{name: a}]}\n";
        fs::write(dir.path().join("a.yaml"), pod).expect("write");
        let manifests = foreign(dir.path(), &|_| {}).expect("manifests");
        let labelled: Vec<_> = manifests
            .namespaces
            .iter()
            .filter_map(|namespace| {
                let labels = namespace.metadata.labels.as_ref()?;
                (labels.get(NAMESPACE_INJECTION)? == "enabled")
                    .then(|| namespace.metadata.name.clone())
            })
            .collect();
        assert_eq!(labelled, [Some("x".to_owned())]);
        assert_eq!(manifests.workloads.len(), 2);
    }

    #[test]
    fn a_directory_without_pods_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        fs::write(
            dir.path().join("a.yaml"),
            "kind: Namespace\nmetadata: {name: a}\n",
        )
        .expect("write");
        let error = foreign(dir.path(), &|_| {}).expect_err("no pods");
        assert!(error.is_usage(), "{error}");
    }
}
