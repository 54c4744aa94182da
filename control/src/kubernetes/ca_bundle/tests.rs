use std::time::{Duration, SystemTime};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::core::ApiResource;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    certificates::{
        rotation::{Origin, Policy},
        stored::Stored,
    },
    kubernetes::{
        fake::FakeApi,
        trust::{self, Source},
    },
};

const CONFIGURATION: &str = "mutatingwebhookconfigurations/weir-injector";

struct Kept {
    api: FakeApi,
    shared: Shared,
    serving: Arc<Serving>,
    source: Source,
    announced: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn certificates() -> Stored {
    let policy = Policy {
        origin: Origin::Own,
        names: vec!["weir-control.weir-system.svc".to_owned()],
        ca_life: Duration::from_secs(100_000),
        serving_life: Duration::from_secs(10_000),
        workload_life: Duration::from_secs(1000),
    };
    policy.create(SystemTime::now()).expect("made")
}

fn configuration() -> Value {
    let webhook = |name| {
        json!({"name": name, "clientConfig": {"service": {"name": "weir-control"}},
                                "failurePolicy": "Fail"})
    };
    json!({"webhooks": [webhook("namespace.weir.dev"), webhook("pod.weir.dev")]})
}

fn kept(api: &FakeApi, writer: Writer) -> Kept {
    let (source, trust) = trust::channel();
    let (shared, serving) = (Shared::default(), Arc::new(Serving::default()));
    let resource = ApiResource::erase::<MutatingWebhookConfiguration>(&());
    let (announced, seen) = watch::channel(true);
    let keeper = CaBundleKeeper {
        api: Api::all_with(api.client(), &resource),
        name: "weir-injector".to_owned(),
        subject: "webhook",
        writer,
        server_name: "weir-control.weir-system.svc".to_owned(),
        shared: shared.clone(),
        serving: serving.clone(),
        trust,
        announced,
    };
    Kept {
        api: api.clone(),
        shared,
        serving,
        source,
        announced: seen,
        task: tokio::spawn(keeper.run()),
    }
}

impl Kept {
    fn serve(&self, stored: &Stored) {
        let leaf = stored.serving.as_ref().expect("serving");
        self.serving.set(leaf.issued());
        self.source
            .bundle
            .send_replace(Some(stored.bundle().into()));
    }

    /// Answers those who want the bundle looked up, for ever.
    async fn answer(&mut self) {
        while let Some(reply) = self.source.look_ups.recv().await {
            let _ = reply.send(());
        }
    }

    /// Waits until the configuration has this bundle, while look-ups are answered.
    async fn until(&mut self, bundle: &str) -> Value {
        let api = self.api.clone();
        let wanted = json!(ByteString(bundle.as_bytes().to_vec()));
        let right = |object: Option<&Value>| {
            let webhooks = object.and_then(|object| object["webhooks"].as_array());
            webhooks.is_some_and(|all| {
                all.iter()
                    .all(|it| it["clientConfig"]["caBundle"] == wanted)
            })
        };
        tokio::select! {
            object = api.until(CONFIGURATION, right) => object,
            () = self.answer() => unreachable!("look-ups do not end"),
        }
    }
}

/// Lets everything that can happen at this instant happen.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn drift_is_repaired_and_nothing_else_is_touched() {
    let api = FakeApi::new();
    api.put(CONFIGURATION, configuration());
    let mut kept = kept(&api, Writer::Us);
    let stored = certificates();
    kept.serve(&stored);
    let object = kept.until(&stored.bundle()).await;
    assert_eq!(object["webhooks"][1]["failurePolicy"], "Fail");
    settle().await;
    assert_eq!(kept.shared.health.reasons(), Vec::<String>::new());
    assert!(*kept.announced.borrow());

    let mut edited = object;
    edited["webhooks"][1]["clientConfig"]["caBundle"] = "anVuaw==".into();
    api.put(CONFIGURATION, edited);
    let began = tokio::time::Instant::now();
    kept.until(&stored.bundle()).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(api.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_of_a_replica_that_knows_more_is_not_undone() {
    let api = FakeApi::new();
    let (old, new) = (certificates(), certificates());
    api.put(CONFIGURATION, configuration());
    let mut kept = kept(&api, Writer::Us);
    kept.serve(&old);
    let mut object = kept.until(&old.bundle()).await;
    api.writes();
    let bundle = new.bundle() + &old.bundle();
    for entry in object["webhooks"].as_array_mut().expect("webhooks") {
        entry["clientConfig"]["caBundle"] = json!(ByteString(bundle.clone().into_bytes()));
    }
    api.put(CONFIGURATION, object);
    // Asked to look again, we learn what the other one knew.
    let reply = kept.source.look_ups.recv().await.expect("asked");
    kept.source.bundle.send_replace(Some(bundle.into()));
    reply.send(()).expect("waits");
    settle().await;
    assert_eq!(api.writes(), Vec::<String>::new());
    assert_eq!(kept.shared.health.reasons(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_does_not_accept_what_is_served_is_a_reason_not_to_be_ready() {
    let api = FakeApi::new();
    let (ours, theirs) = (certificates(), certificates());
    let mut configuration = configuration();
    for entry in configuration["webhooks"].as_array_mut().expect("webhooks") {
        let bundle = ByteString(theirs.bundle().into_bytes());
        entry["clientConfig"]["caBundle"] = json!(bundle);
    }
    api.put(CONFIGURATION, configuration);
    let kept = kept(&api, Writer::Issuer);
    kept.serve(&ours);
    settle().await;
    let reasons = kept.shared.health.reasons().join("");
    assert!(
        reasons.contains("caBundle of weir-injector does not accept the certificate"),
        "{reasons}"
    );
    assert!(!*kept.announced.borrow());
    let mut text = String::new();
    kept.shared.metrics.write_prometheus(&mut text);
    assert!(
        text.contains("weir_ca_bundle_matches{configuration=\"weir-injector\"} 0"),
        "{text}"
    );

    kept.serve(&theirs);
    settle().await;
    assert_eq!(kept.shared.health.reasons(), Vec::<String>::new());
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_forbidden_is_tried_again() {
    let api = FakeApi::new();
    api.put(CONFIGURATION, configuration());
    api.fail(Some(("PATCH", 403)));
    let mut kept = kept(&api, Writer::Us);
    let stored = certificates();
    kept.serve(&stored);
    tokio::select! {
        () = kept.answer() => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => {}
    }
    assert!(!kept.shared.health.reasons().is_empty());
    api.fail(None);
    kept.until(&stored.bundle()).await;
    settle().await;
    assert_eq!(kept.shared.health.reasons(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_certificate_is_no_mistake_of_the_bundle() {
    let api = FakeApi::new();
    api.put(CONFIGURATION, configuration());
    let kept = kept(&api, Writer::Us);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let reasons = kept.shared.health.reasons().join("; ");
    assert!(
        reasons.contains("no certificate is served yet"),
        "{reasons}"
    );
    assert!(!reasons.contains("does not accept"), "{reasons}");
}
