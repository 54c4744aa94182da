use std::os::unix::fs::PermissionsExt;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::parse_x509_certificate;

use super::*;

fn names() -> Vec<String> {
    ["weir-control.weir-system.svc", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec()
}

fn served(certificates: &Certificates) -> CertificateDer<'static> {
    certificates.serving().chain().remove(0)
}

#[test]
fn a_second_start_serves_under_the_same_ca() {
    let directory = tempfile::tempdir().expect("directory");
    let first = Certificates::open(directory.path(), &names()).expect("made");
    let second = Certificates::open(directory.path(), &names()).expect("loaded");
    assert_eq!(first.root_pem(), second.root_pem());
    let root = std::fs::read_to_string(directory.path().join("root-cert.pem")).expect("root");
    assert_eq!(root, first.root_pem());
    assert!(!root.contains("PRIVATE"));
    let mode = |file| {
        let metadata = std::fs::metadata(directory.path().join(file)).expect("file");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("ca.pem"), 0o600);
    let left = std::fs::read_dir(directory.path())
        .expect("directory")
        .count();
    assert_eq!(left, 2, "no drafts are left behind");
}

#[test]
fn the_certificate_is_the_cas_for_the_names_and_begins_before_now() {
    let directory = tempfile::tempdir().expect("directory");
    let certificates = Certificates::open(directory.path(), &names()).expect("made");
    let root = CertificateDer::from_pem_slice(certificates.root_pem().as_bytes()).expect("root");
    let (_, root) = parse_x509_certificate(&root).expect("root");
    let leaf = served(&certificates);
    let (_, leaf) = parse_x509_certificate(&leaf).expect("leaf");
    assert!(!leaf.is_ca());
    assert_eq!(leaf.issuer(), root.subject());
    let names = leaf
        .subject_alternative_name()
        .expect("extension")
        .expect("names");
    assert_eq!(names.value.general_names.len(), 3);
    let begins = leaf.validity().not_before.timestamp();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("clock")
        .as_secs();
    assert!(begins <= i64::try_from(now).expect("time") - 3500);
}

#[test]
fn the_certificate_is_renewed_at_half_its_life_and_not_before() {
    let directory = tempfile::tempdir().expect("directory");
    // Certificates have whole seconds.
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let certificates = Certificates::open_at(directory.path(), &names(), start).expect("made");
    let first = served(&certificates);
    let early = start + SERVING_LIFE / 2 - Duration::from_secs(5);
    assert_eq!(
        certificates.renew_if_due(early).expect("early"),
        Duration::from_secs(5)
    );
    assert_eq!(served(&certificates), first);
    let due = start + SERVING_LIFE / 2;
    assert_eq!(
        certificates.renew_if_due(due).expect("renewed"),
        SERVING_LIFE / 2
    );
    assert_ne!(served(&certificates), first);
    assert_eq!(certificates.serving().not_after(), Some(due + SERVING_LIFE));
}

#[test]
fn a_ca_that_ends_soon_is_replaced_at_start() {
    let directory = tempfile::tempdir().expect("directory");
    let open = |now| Certificates::open_at(directory.path(), &names(), now).expect("opened");
    let now = SystemTime::now();
    let first = open(now);
    let years = |n: u32| Duration::from_secs(365 * 24 * 3600) * n;
    assert_eq!(open(now + years(9)).root_pem(), first.root_pem());
    assert_ne!(open(now + years(10)).root_pem(), first.root_pem());
}

#[test]
fn a_file_that_holds_no_ca_is_named_and_not_replaced() {
    let directory = tempfile::tempdir().expect("directory");
    let good = Certificates::open(directory.path(), &names()).expect("made");
    let path = directory.path().join("ca.pem");
    let text = std::fs::read_to_string(&path).expect("ca");
    let key = text
        .split_inclusive("-----END PRIVATE KEY-----")
        .next()
        .expect("key");
    let other = tempfile::tempdir().expect("directory");
    let other = Certificates::open(other.path(), &names()).expect("made");
    for (text, reason) in [
        (String::new(), "no private key"),
        (good.root_pem().to_owned(), "no private key"),
        (key.to_owned(), "no certificate"),
        (
            format!("{key}\n{}", other.root_pem()),
            "is not for the private key",
        ),
    ] {
        std::fs::write(&path, &text).expect("written");
        let error = Certificates::open(directory.path(), &names()).expect_err("refused");
        let message = error.to_string();
        assert!(
            message.contains("ca.pem") && message.contains(reason),
            "{message}"
        );
        assert_eq!(std::fs::read_to_string(&path).expect("ca"), text);
    }
}

#[test]
fn a_name_that_is_none_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let error = Certificates::open(directory.path(), &["wéir".to_owned()]).expect_err("refused");
    assert!(error.to_string().contains("wéir"), "{error}");
}

#[test]
fn those_who_start_at_the_same_time_agree_on_one_ca() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    let open = || {
        Certificates::open(path, &names())
            .expect("opened")
            .root_pem()
            .to_owned()
    };
    let roots: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("joined"))
            .collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
}
