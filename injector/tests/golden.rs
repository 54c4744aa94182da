//! Golden pairs: `golden/x.yaml` is a pod as it reaches the webhook, `golden/x.injected.yaml` as it
//! leaves. `REFRESH_GOLDEN=1` writes the second from the first.
//!
//! A case may begin with comments: `# namespace: NAME` (the request's; `shop` if absent), `# labels:
//! JSON` and `# annotations: JSON` (the namespace's), `# kubelet: 1.MINOR` (the oldest), `# rules: JSON`
//! (what they demand of the pod's ports) and `# config: JSON`. What is answered besides the pod (the decision, warnings, a refusal) stands in
//! the second file as a comment.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value};
use weir_api::inbound_demands::InboundDemands;
use weir_injector::{Cluster, Config, Injection, Namespace, Place, inject, uninject};

/// A case as read from its file.
struct Case {
    pod: Value,
    namespace: String,
    about: Option<Namespace>,
    cluster: Option<Cluster>,
    config: Config,
    inbound: Option<InboundDemands>,
}

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(directory).expect("golden directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| !path.to_string_lossy().ends_with(".injected.yaml"));
    paths.sort();
    paths
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("case");
        let setting = |name: &str| {
            let prefix = format!("# {name}: ");
            text.lines()
                .find_map(|line| line.strip_prefix(prefix.as_str()))
        };
        let config = setting("config").unwrap_or("{}");
        let map = |name| setting(name).map(|text| serde_json::from_str(text).expect(name));
        let (labels, annotations) = (map("labels"), map("annotations"));
        let minor = setting("kubelet").and_then(|version| version.strip_prefix("1."));
        Self {
            about: (labels.is_some() || annotations.is_some()).then(|| Namespace {
                labels: labels.unwrap_or_default(),
                annotations: annotations.unwrap_or_default(),
            }),
            cluster: minor.map(|minor| Cluster {
                least_kubelet: Some((1, minor.parse().expect("a minor version"))),
                ..Cluster::default()
            }),
            inbound: setting("rules").map(|text| InboundDemands {
                tls: text.parse().expect("rules"),
                is_guarded: setting("guarded").is_some(),
                probes: setting("probes")
                    .map_or_else(Vec::new, |text| serde_json::from_str(text).expect("probes")),
            }),
            pod: yaml_serde::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            namespace: setting("namespace").unwrap_or("shop").to_owned(),
            config: Config::read(&mut serde_json::Deserializer::from_str(config))
                .unwrap_or_else(|e| panic!("{}: {e}", path.display())),
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            namespace: &self.namespace,
            about: self.about.as_ref(),
            cluster: self.cluster.as_ref(),
            is_selected: false,
            inbound: self.inbound.as_ref(),
        }
    }

    /// What is expected of the case, as text.
    fn render(&self) -> String {
        let injection = match inject(&self.pod, self.place(), &self.config) {
            Ok(injection) => injection,
            Err(error) => return format!("# refused: {error}\n"),
        };
        let mut text = format!("# decision: {}\n", injection.decision);
        for warning in &injection.warnings {
            text += &format!("# warning: {warning}\n");
        }
        if let Some(pod) = &injection.pod {
            self.prove(&injection, pod);
            text += &yaml_serde::to_string(pod).expect("yaml");
        }
        text
    }

    /// What holds of every injection.
    fn prove(&self, injection: &Injection, injected: &Value) {
        let mut patched = self.pod.clone();
        json_patch::patch(&mut patched, &injection.patch).expect("the patch applies");
        assert_eq!(&patched, injected, "the patch leads to the injected pod");
        let again = inject(injected, self.place(), &self.config).expect("injectable again");
        assert_eq!(again.patch.0, [], "a second injection changes nothing");
        let _: Pod = serde_json::from_value(injected.clone()).expect("a Pod");
        let taken_out = uninject(injected).expect("readable").expect("injected");
        let before = uninject(&self.pod).expect("readable");
        let before = before.unwrap_or_else(|| {
            let mut pod = self.pod.clone();
            // A status that the injector did not write goes as well.
            if let Some(annotations) = pod.pointer_mut("/metadata/annotations") {
                let annotations = annotations.as_object_mut();
                annotations.and_then(|map| map.remove("weir.dev/status"));
            }
            pod
        });
        assert_eq!(meaning(taken_out), meaning(before), "taken out again");
        keeps(&self.pod, injected, "");
        names_are_unique(injected);
    }
}

/// A document without what means the same as nothing: `null`, and empty lists and objects.
fn meaning(value: Value) -> Value {
    let empty = |value: &Value| {
        value.is_null() || [Value::Array(vec![]), Value::Object(Map::new())].contains(value)
    };
    match value {
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, value)| (key, meaning(value)));
            members.filter(|(_, value)| !empty(value)).collect()
        }
        Value::Array(elements) => elements.into_iter().map(meaning).collect(),
        scalar => scalar,
    }
}

/// Whether everything in `before` is in `after`, in the same order. The image `auto` and containers
/// named like the sidecar are what the author left to the injector.
fn keeps(before: &Value, after: &Value, path: &str) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before.iter().filter(|(_, value)| !value.is_null()) {
                keeps(value, &after[key], &format!("{path}/{key}"));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let ours = |value: &&Value| {
                let name = value
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                !name.starts_with("weir-")
            };
            let theirs: Vec<_> = after.iter().filter(ours).collect();
            for (index, value) in before.iter().filter(ours).enumerate() {
                keeps(value, theirs[index], &format!("{path}/{index}"));
            }
        }
        (_, status) if path.ends_with("/weir.dev/status") => assert!(status.is_string()),
        (before, after) => assert_eq!(before, after, "{path}"),
    }
}

fn names_are_unique(pod: &Value) {
    let names = |list: &str| {
        let list = pod["spec"][list].as_array().cloned().unwrap_or_default();
        list.into_iter()
            .map(|element| element["name"].as_str().expect("name").to_owned())
    };
    let mut containers: Vec<_> = names("containers").chain(names("initContainers")).collect();
    let mut volumes: Vec<_> = names("volumes").collect();
    for names in [&mut containers, &mut volumes] {
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}

/// Comments and pod of a golden file; the order of keys does not matter.
fn parts(text: &str) -> (Vec<&str>, Value) {
    let comments = text.lines().filter(|line| line.starts_with("# ")).collect();
    (comments, yaml_serde::from_str(text).unwrap_or_default())
}

#[test]
fn every_pod_is_injected_as_its_golden_file_says() {
    let refresh = env::var_os("REFRESH_GOLDEN").is_some();
    let mut differing = Vec::new();
    for path in cases() {
        let golden = path.with_extension("injected.yaml");
        let actual = Case::read(&path).render();
        if refresh {
            fs::write(&golden, actual).expect("writable");
        } else if parts(&fs::read_to_string(&golden).unwrap_or_default()) != parts(&actual) {
            differing.push(format!("{}, which should be:\n{actual}", golden.display()));
        }
    }
    assert!(
        differing.is_empty(),
        "REFRESH_GOLDEN=1 rewrites: {}",
        differing.join("\n")
    );
}

#[test]
fn every_golden_file_has_its_case() {
    let cases = cases();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let goldens = cases
        .iter()
        .map(|case| case.with_extension("injected.yaml"));
    let known: Vec<_> = cases.iter().cloned().chain(goldens).collect();
    for entry in fs::read_dir(directory).expect("golden directory") {
        let path = entry.expect("entry").path();
        assert!(
            known.contains(&path),
            "{} belongs to no case",
            path.display()
        );
    }
}
