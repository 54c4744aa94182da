use std::path::Path;

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use weir_api::spiffe::TrustDomain;

use super::*;
use crate::{
    certificates::Authority,
    kubernetes::{
        fake::FakeApi,
        trust::{self, Trust},
    },
};

const SECRET: &str = "namespaces/weir-system/secrets/weir-ca";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A replica of the control plane, as far as certificates go.
struct Replica {
    shared: Shared,
    serving: Arc<Serving>,
    issuer: Arc<Issuer>,
    trust: Trust,
    task: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn replica(api: &FakeApi) -> Replica {
    replica_with(api, None)
}

fn replica_with(api: &FakeApi, given: Option<&Path>) -> Replica {
    let began = Instant::now();
    // Certificates have whole seconds.
    let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let shared = Shared {
        clock: Arc::new(move || base + began.elapsed()),
        ..Shared::default()
    };
    let (source, trust) = trust::channel();
    let serving = Arc::new(Serving::default());
    let issuer = Arc::new(Issuer::new(TrustDomain::default(), DAY));
    let policy = Policy {
        origin: Origin::Own,
        names: vec!["localhost".to_owned()],
        ca_life: 40 * DAY,
        serving_life: 4 * DAY,
        workload_life: DAY,
    };
    let keeper = AuthorityKeeper::new(
        Api::namespaced(api.client(), "weir-system"),
        "weir-ca".to_owned(),
        policy,
        shared.clone(),
        (serving.clone(), issuer.clone()),
        source,
        Vec::new(),
    );
    Replica {
        shared,
        serving,
        issuer,
        trust,
        task: tokio::spawn(keeper.with_given(given).run()),
    }
}

impl Replica {
    /// Waits until there is another bundle, and gives it.
    async fn bundle(&mut self, other_than: Option<&Arc<str>>) -> Arc<str> {
        loop {
            match self.trust.bundle() {
                Some(bundle) if Some(&bundle) != other_than => return bundle,
                _ => self.trust.changed().await,
            }
        }
    }
}

fn text(secret: &Value, key: &str) -> String {
    let bytes: ByteString = serde_json::from_value(secret["data"][key].clone()).expect(key);
    String::from_utf8(bytes.0).expect("text")
}

#[tokio::test(start_paused = true)]
async fn two_replicas_agree_on_one_ca_and_one_certificate() {
    let api = FakeApi::new();
    let (mut first, mut second) = (replica(&api), replica(&api));
    let bundle = first.bundle(None).await;
    assert_eq!(second.bundle(None).await, bundle);
    assert_eq!(first.serving.chain(), second.serving.chain());
    assert_eq!(first.shared.health.reasons(), Vec::<String>::new());
    let secret = api.get(SECRET).expect("made");
    assert_eq!(text(&secret, "ca.crt"), *bundle);
    assert_eq!(
        secret["metadata"]["labels"]["app.kubernetes.io/part-of"],
        "weir"
    );

    // A third one comes later and changes nothing.
    let version = secret["metadata"]["resourceVersion"].clone();
    let mut third = replica(&api);
    assert_eq!(third.bundle(None).await, bundle);
    tokio::time::sleep(DAY).await;
    let secret = api.get(SECRET).expect("there");
    assert_eq!(secret["metadata"]["resourceVersion"], version);
}

#[tokio::test(start_paused = true)]
async fn replicas_go_through_a_rotation_together() {
    let api = FakeApi::new();
    let (mut first, mut second) = (replica(&api), replica(&api));
    let old = first.bundle(None).await;
    // Half of the CA's life, and the time for clients to hear of the next one.
    tokio::time::sleep(20 * DAY + Duration::from_secs(2 * 3600 + 60)).await;
    let both = first.bundle(Some(&old)).await;
    assert!(both.contains(&*old) && both.len() > old.len());
    assert_eq!(second.bundle(Some(&old)).await, both);
    // Workloads are told of both, and whose certificates they get is first.
    for replica in [&first, &second] {
        let trusted = replica.issuer.trusted().expect("a CA");
        assert_eq!(trusted.len(), both.len());
        assert!(trusted.ends_with(&*old), "{trusted}");
    }
    let secret = api.get(SECRET).expect("there");
    assert_ne!(text(&secret, "ca.crt"), *old);
    assert_eq!(text(&secret, "ca-previous.crt"), *old);
    assert_eq!(first.serving.chain(), second.serving.chain());
    // Each change was written once, whoever was first.
    let puts = api
        .writes()
        .iter()
        .filter(|it| it.starts_with("PUT"))
        .count();
    let rotations = [&first, &second].map(|it| it.shared.metrics.rotations.load(Ordering::Relaxed));
    assert!(puts >= usize::try_from(rotations[0] + rotations[1]).expect("few") - 1);

    tokio::time::sleep(5 * DAY).await;
    let new = first.bundle(Some(&both)).await;
    assert!(!new.contains(&*old));
    assert_eq!(second.bundle(Some(&both)).await, new);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_secret_is_written_back_with_the_same_ca() {
    let api = FakeApi::new();
    let mut replica = replica(&api);
    let bundle = replica.bundle(None).await;
    api.remove(SECRET);
    let secret = api.until(SECRET, |secret| secret.is_some()).await;
    assert_eq!(text(&secret, "ca.crt"), *bundle);
}

#[tokio::test(start_paused = true)]
async fn a_broken_secret_is_left_alone_and_what_to_do_is_said() {
    let api = FakeApi::new();
    let broken = json!({"data": {"ca.crt": ByteString(b"junk".to_vec())}});
    api.put(SECRET, broken.clone());
    let replica = replica(&api);
    tokio::time::sleep(DAY).await;
    let reasons = replica.shared.health.reasons().join("");
    assert!(reasons.contains("ca.key is absent"), "{reasons}");
    assert!(
        reasons.contains("or delete it to have a new CA made"),
        "{reasons}"
    );
    assert_eq!(api.get(SECRET).expect("there")["data"], broken["data"]);
    assert_eq!(api.writes(), Vec::<String>::new());

    // What was said to do helps.
    api.remove(SECRET);
    api.until(SECRET, |secret| secret.is_some()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.shared.health.reasons(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_breaks_later_takes_nothing_away() {
    let api = FakeApi::new();
    let mut replica = replica(&api);
    let bundle = replica.bundle(None).await;
    let chain = replica.serving.chain();
    let mut secret = api.get(SECRET).expect("made");
    secret["data"]["ca.key"] = json!(ByteString(b"junk".to_vec()));
    api.put(SECRET, secret);
    tokio::time::sleep(DAY).await;
    assert_eq!(replica.serving.chain(), chain);
    assert_eq!(replica.shared.health.reasons(), Vec::<String>::new());
    assert_eq!(
        replica
            .shared
            .metrics
            .ca_secret_valid
            .load(Ordering::Relaxed),
        0
    );
    api.remove(SECRET);
    let secret = api.until(SECRET, |secret| secret.is_some()).await;
    assert_eq!(text(&secret, "ca.crt"), *bundle);
}

#[tokio::test(start_paused = true)]
async fn a_ca_of_yours_is_waited_for_and_followed() {
    let (api, directory) = (FakeApi::new(), tempfile::tempdir().expect("directory"));
    let mut replica = replica_with(&api, Some(directory.path()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let reasons = replica.shared.health.reasons().join("");
    assert!(reasons.contains("--ca-cert-dir"), "{reasons}");
    assert!(reasons.contains("tls.crt: No such file"), "{reasons}");
    assert_eq!(api.writes(), Vec::<String>::new());

    let give = || {
        let authority = Authority::create(SystemTime::now(), 4000 * DAY).expect("a CA");
        for (name, text) in [
            ("tls.crt", authority.pem()),
            ("tls.key", authority.key_pem()),
            ("ca.crt", authority.pem()),
        ] {
            std::fs::write(directory.path().join(name), text).expect("written");
        }
        authority.pem().to_owned()
    };
    let first = give();
    let bundle = replica.bundle(None).await;
    assert_eq!(*bundle, *first);
    assert_eq!(text(&api.get(SECRET).expect("made"), "ca.crt"), first);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(replica.shared.health.reasons(), Vec::<String>::new());

    // Files of no use change nothing.
    std::fs::write(directory.path().join("tls.key"), "junk").expect("written");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(text(&api.get(SECRET).expect("there"), "ca.crt"), first);

    let second = give();
    let both = replica.bundle(Some(&bundle)).await;
    assert!(both.contains(&first) && both.contains(&second));
    assert_eq!(text(&api.get(SECRET).expect("there"), "ca.crt"), first);
    tokio::time::sleep(DAY).await;
    assert_eq!(text(&api.get(SECRET).expect("there"), "ca.crt"), second);
    tokio::time::sleep(5 * DAY).await;
    assert_eq!(replica.trust.bundle().as_deref(), Some(&*second));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_can_be_asked_for() {
    let api = FakeApi::new();
    let mut replica = replica(&api);
    let old = replica.bundle(None).await;
    let mut secret = api.get(SECRET).expect("made");
    secret["metadata"]["annotations"] = json!({"weir.dev/rotate": "ca"});
    api.put(SECRET, secret);
    let both = replica.bundle(Some(&old)).await;
    assert!(both.contains(&*old));
    let secret = api.get(SECRET).expect("there");
    assert!(secret["metadata"]["annotations"]["weir.dev/rotate"].is_null());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_at_first_is_waited_for_and_one_that_goes_is_not_missed() {
    let api = FakeApi::new();
    api.fail(Some(("", 503)));
    let mut replica = replica(&api);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let reasons = replica.shared.health.reasons().join("");
    assert!(
        reasons.contains("certificate: Secret weir-ca: "),
        "{reasons}"
    );
    api.fail(None);
    replica.bundle(None).await;
    api.fail(Some(("", 503)));
    let chain = replica.serving.chain();
    tokio::time::sleep(DAY).await;
    assert_eq!(replica.serving.chain(), chain);
    assert_eq!(replica.shared.health.reasons(), Vec::<String>::new());
}
