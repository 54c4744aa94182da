use std::time::Duration;

use serde_json::{Value, json};
use weir_discovery::xds::{Generator, Settings};
use weir_injector::config::Policy;

use super::*;
use crate::kubernetes::{events, fake::FakeApi};

const CONFIG_MAP: &str = "namespaces/weir-system/configmaps/weir-config";

struct Kept {
    api: FakeApi,
    shared: Shared,
    injector: Arc<Injector>,
    known: watch::Receiver<Known>,
}

fn kept(api: &FakeApi) -> Kept {
    let shared = Shared::default();
    let (events, writer) = events::channel(api.client(), "", shared.metrics.clone());
    tokio::spawn(writer.run());
    let injector = Arc::new(Injector::new(weir_injector::Config::default()));
    let (known, seen) = watch::channel(Known::default());
    let settings = Settings::default();
    let keeper = ConfigurationKeeper {
        api: Api::namespaced(api.client(), "weir-system"),
        name: "weir-config".to_owned(),
        default: weir_injector::Config::default(),
        injector: injector.clone(),
        hub: Arc::new(Hub::new(Generator::new(settings))),
        shared: shared.clone(),
        events,
        known,
    };
    tokio::spawn(keeper.run());
    Kept {
        api: api.clone(),
        shared,
        injector,
        known: seen,
    }
}

impl Kept {
    async fn put(&self, data: Value) {
        self.api.put(
            CONFIG_MAP,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data}),
        );
        settle().await;
    }

    /// Whether a pod of no particular kind is injected, as the policy says.
    fn injects(&self) -> bool {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u", "operation": "CREATE", "namespace": "shop",
                        "kind": {"kind": "Pod"},
                        "object": {"spec": {"containers": [{"name": "app"}]}}}});
        let reviewed = self.injector.review(review.to_string().as_bytes());
        !reviewed.expect("a review").response["response"]["patch"].is_null()
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_is_taken_and_a_bad_one_is_refused_with_an_event() {
    let api = FakeApi::new();
    let kept = kept(&api);
    kept.put(json!({"injector.yaml": "policy: disabled"})).await;
    assert!(kept.known.borrow().configuration && !kept.injects());
    assert_eq!(kept.shared.health.reasons(), Vec::<String>::new());
    kept.put(json!({"injector.yaml": "policy: enabled"})).await;
    assert!(kept.injects());
    assert_eq!(kept.api.writes(), Vec::<String>::new());

    for bad in [
        json!({"injector.yaml": "polciy: disabled"}),
        json!({"injector.yaml": "policy: disabled", "mesh.yaml": "accessLogs: text"}),
    ] {
        kept.put(bad).await;
        assert!(kept.injects(), "the one before is in force");
        let events = kept.api.writes();
        assert!(
            events[0].starts_with("POST events weir-system/weir-config."),
            "{events:?}"
        );
    }
    // It serves on.
    assert_eq!(kept.shared.health.reasons(), Vec::<String>::new());
    assert_eq!(
        kept.shared.metrics.config_in_force.load(Ordering::Relaxed),
        0
    );
    kept.put(json!({"injector.yaml": "policy: enabled"})).await;
    assert_eq!(
        kept.shared.metrics.config_in_force.load(Ordering::Relaxed),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn with_a_bad_configuration_from_the_start_nothing_is_served() {
    let api = FakeApi::new();
    api.put(
        CONFIG_MAP,
        json!({"data": {"injector.yaml": "policy: often"}}),
    );
    let kept = kept(&api);
    settle().await;
    assert!(!kept.known.borrow().configuration);
    let reasons = kept.shared.health.reasons().join("");
    assert!(
        reasons.contains("ConfigMap weir-config: injector.yaml: "),
        "{reasons}"
    );
    kept.put(json!({"injector.yaml": "policy: disabled"})).await;
    assert!(kept.known.borrow().configuration);
}

#[tokio::test(start_paused = true)]
async fn without_a_configmap_defaults_are_in_force_and_one_that_is_deleted_stays_in_force() {
    let api = FakeApi::new();
    let kept = kept(&api);
    settle().await;
    assert!(kept.known.borrow().configuration && kept.injects());
    kept.put(json!({"injector.yaml": "policy: disabled"})).await;
    api.remove(CONFIG_MAP);
    settle().await;
    assert!(!kept.injects());
}

#[test]
fn empty_parts_are_defaults() {
    let object: ConfigMap =
        serde_json::from_value(json!({"data": {"injector.yaml": " \n"}})).expect("a ConfigMap");
    let default = weir_injector::Config {
        policy: Policy::Disabled,
        ..weir_injector::Config::default()
    };
    let read = read(&object, &default).expect("read");
    assert_eq!(read.injector, default);
    assert_eq!(read.mesh, MeshConfig::default());
}
