use rcgen::{CertificateParams, KeyPair};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use weir_api::spiffe::TrustDomain;

use super::*;
use crate::certificates::{
    Signing, SigningRequest,
    verify::{roots, verify},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const NAME: &str = "weir-control.weir-system.svc";

fn policy() -> Policy {
    Policy {
        origin: Origin::Own,
        names: vec![NAME.to_owned(), "127.0.0.1".to_owned()],
        ca_life: 400 * DAY,
        serving_life: 30 * DAY,
        workload_life: 90 * DAY,
    }
}

/// Certificates have whole seconds.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn chain(stored: &Stored) -> Vec<CertificateDer<'static>> {
    let leaf = stored.serving.as_ref().expect("a serving certificate");
    leaf.issued().certified.cert.clone()
}

fn advance(stored: &Stored, now: SystemTime) -> Option<(Stored, Vec<Change>)> {
    policy().advance(stored, None, true, now).expect("advances")
}

#[test]
fn nothing_changes_until_half_of_the_serving_life_is_over() {
    let stored = policy().create(start()).expect("made");
    let wait = policy().wait(&stored, start());
    assert_eq!(wait, 15 * DAY);
    assert!(advance(&stored, start() + wait - Duration::from_secs(1)).is_none());
    let (renewed, changes) = advance(&stored, start() + wait).expect("due");
    assert_eq!(changes, [Change::Issued]);
    assert_eq!(renewed.bundle(), stored.bundle());
    assert_ne!(chain(&renewed), chain(&stored));
}

/// A certificate of a workload by the CA of the moment.
fn workload(stored: &Stored, now: SystemTime) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("a key");
    let request = CertificateParams::default().serialize_request(&key);
    let request = request.expect("a request").pem().expect("PEM");
    let request = SigningRequest::parse(&request).expect("taken");
    let id = TrustDomain::default()
        .id("shop", "web")
        .expect("an identity");
    let signing = Signing::new(stored.active.clone(), &stored.bundle());
    let chain = signing.sign(&request, &id, policy().workload_life, now);
    CertificateDer::from_pem_slice(chain.expect("signed")[0].as_bytes()).expect("PEM")
}

/// Whether a workload that trusts the bundle accepts another's certificate.
fn accepts(bundle: &str, certificate: &CertificateDer<'_>, now: SystemTime) -> bool {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(bundle).expect("roots"));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let verifier = verifier.build().expect("a verifier");
    let now = now.duration_since(SystemTime::UNIX_EPOCH).expect("a time");
    let now = UnixTime::since_unix_epoch(now);
    verifier.verify_client_cert(certificate, &[], now).is_ok()
}

/// Follows the schedule for years. At each change, a client with the bundle from before the change
/// and one with the bundle from after it both accept what was served before and after, and
/// certificates of workloads as long as they live.
#[test]
fn every_client_accepts_what_is_served_at_every_change() {
    let (mut now, mut stored) = (start(), policy().create(start()).expect("made"));
    let mut seen = Vec::new();
    let mut workloads: Vec<(SystemTime, CertificateDer<'_>)> = Vec::new();
    while now < start() + 950 * DAY {
        now += policy().wait(&stored, now).max(Duration::from_secs(1));
        let Some((next, changes)) = advance(&stored, now) else {
            continue;
        };
        for bundle in [stored.bundle(), next.bundle()] {
            verify(&chain(&next), &bundle, NAME, now).expect("the new one is accepted");
            if changes != [Change::Retired] {
                verify(&chain(&stored), &bundle, NAME, now).expect("the old one is accepted");
            }
            workloads.retain(|(ends, _)| now < *ends);
            assert!(workloads.iter().all(|(_, it)| accepts(&bundle, it, now)));
        }
        // A replica that has not heard of the change signs by the old one.
        for by in [&stored, &next] {
            let ends = now + policy().workload_life;
            workloads.push((ends.min(by.active.life().not_after), workload(by, now)));
        }
        seen.extend(changes);
        stored = next;
    }
    let count = |change| seen.iter().filter(|seen| **seen == change).count();
    assert_eq!(
        [
            count(Change::Made),
            count(Change::Prepared),
            count(Change::Promoted),
            count(Change::Retired)
        ],
        [0, 4, 4, 4]
    );
}

#[test]
fn the_next_ca_signs_only_when_clients_had_time_to_hear_of_it() {
    let stored = policy().create(start()).expect("made");
    let half = start() + 200 * DAY;
    let (stored, changes) = advance(&stored, half).expect("due");
    assert_eq!(changes, [Change::Prepared, Change::Issued]);
    assert_eq!(stored.bundle().matches("BEGIN").count(), 2);
    assert_eq!(policy().wait(&stored, half), DISTRIBUTION);
    assert!(advance(&stored, half + DISTRIBUTION - Duration::from_secs(1)).is_none());

    let told = |announced, now| policy().advance(&stored, None, announced, now);
    let heard = half + DISTRIBUTION;
    assert!(told(false, heard).expect("advances").is_none());
    let (promoted, changes) = told(true, heard).expect("advances").expect("due");
    assert_eq!(changes, [Change::Promoted, Change::Issued]);
    assert_eq!(promoted.bundle(), stored.bundle());
    let late = start() + 380 * DAY;
    let (_, changes) = told(false, late).expect("advances").expect("due");
    assert!(changes.contains(&Change::Promoted), "{changes:?}");
}

#[test]
fn a_ca_that_ended_unnoticed_is_replaced_at_once() {
    let stored = policy().create(start()).expect("made");
    let now = start() + 500 * DAY;
    let (new, changes) = advance(&stored, now).expect("due");
    assert_eq!(changes, [Change::Made, Change::Issued]);
    verify(&chain(&new), &new.bundle(), NAME, now).expect("accepted");
    assert_ne!(new.bundle(), stored.bundle());
}

#[test]
fn what_is_asked_for_is_done_once() {
    let stored = policy().create(start()).expect("made");
    let now = start() + DAY;
    let ask = |stored: &Stored, asked| {
        policy()
            .advance(stored, Some(asked), true, now)
            .expect("advances")
    };
    let (_, changes) = ask(&stored, Asked::ServingCertificate).expect("due");
    assert_eq!(changes, [Change::Issued]);
    let (prepared, changes) = ask(&stored, Asked::Authority).expect("due");
    assert_eq!(changes, [Change::Prepared]);
    assert!(ask(&prepared, Asked::Authority).is_none());
}

#[test]
fn replicas_that_want_different_names_settle_on_all_of_them() {
    let other = Policy {
        origin: Origin::Own,
        names: vec!["weir-control.weir-system.svc.example".to_owned()],
        ..policy()
    };
    let stored = policy().create(start()).expect("made");
    let (stored, changes) = other
        .advance(&stored, None, true, start())
        .expect("advances")
        .expect("due");
    assert_eq!(changes, [Change::Issued]);
    assert!(advance(&stored, start()).is_none());
    let names = &stored.serving.expect("serving").names;
    assert_eq!(names.len(), 3);
}
