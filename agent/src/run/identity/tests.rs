use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer as CaIssuer,
    KeyPair, SanType, date_time_ymd,
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, transport::Server};
use weir_api::ca::{
    CertificateRequest, CertificateResponse, CertificateServer, CertificateService,
};
use weir_proxy::stats::{Reading, Registry};

use super::*;

const ID: &str = "spiffe://cluster.local/ns/shop/sa/web";
/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A CA that signs whatever it is asked for.
struct Ca {
    pem: String,
    issuer: CaIssuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a CA").pem();
        Self {
            pem,
            issuer: CaIssuer::new(params, key),
        }
    }

    fn sign(&self, csr: &str, names: &[&str], ends: SystemTime) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).expect("a request");
        let uris = names.iter().map(|name| (*name).try_into().expect("ASCII"));
        request.params.subject_alt_names = uris.map(SanType::URI).collect();
        let since = ends.duration_since(SystemTime::UNIX_EPOCH).expect("a time");
        request.params.not_after = date_time_ymd(1970, 1, 1) + since;
        request.signed_by(&self.issuer).expect("signed").pem()
    }
}

/// Answers in turn with what is left of a list: lives of certificates, or refusals.
struct Answers {
    ca: Ca,
    left: Mutex<Vec<Result<Duration, tonic::Status>>>,
    /// Lives until it is told to answer no more.
    silent: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl CertificateService for Answers {
    async fn create_certificate(
        &self,
        request: Request<CertificateRequest>,
    ) -> Result<Response<CertificateResponse>, tonic::Status> {
        let bearer = request.metadata().get("authorization").expect("a token");
        assert_eq!(bearer, "Bearer token-of-web");
        let next = self.left.lock().expect("unlocked").pop();
        let Some(next) = next else {
            let _ = self.silent.clone().wait_for(|silent| !silent).await;
            return Err(tonic::Status::unavailable("the end"));
        };
        let leaf = self
            .ca
            .sign(&request.get_ref().csr, &[ID], SystemTime::now() + next?);
        Ok(Response::new(CertificateResponse {
            cert_chain: vec![leaf, self.ca.pem.clone()],
        }))
    }
}

/// A sidecar's identity beside an issuer that answers so; what it hands on, its statistics, what it
/// tells people.
struct Beside {
    secrets: tokio::sync::mpsc::UnboundedReceiver<Secret>,
    registry: Registry,
    note: watch::Receiver<String>,
    _silent: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

async fn beside(mut answers: Vec<Result<Duration, tonic::Status>>) -> Beside {
    answers.reverse();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("bound").to_string();
    let (silent, still) = watch::channel(true);
    let service = CertificateServer::new(Arc::new(Answers {
        ca: Ca::new(),
        left: Mutex::new(answers),
        silent: still,
    }));
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    let directory = tempfile::tempdir().expect("directory");
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "token-of-web\n").expect("written");
    run(address, &token_file, silent, directory)
}

fn run(
    address: String,
    token_file: &Path,
    silent: watch::Sender<bool>,
    directory: tempfile::TempDir,
) -> Beside {
    let (sender, secrets) = tokio::sync::mpsc::unbounded_channel();
    let registry = Registry::default();
    let (note, noted) = watch::channel(String::new());
    let issuer = Issuer {
        address,
        tls: None,
        token_file: token_file.to_owned(),
    };
    let sink = move |secret| sender.send(secret).map_err(|_| "gone".to_owned());
    tokio::spawn(keep(issuer, sink, Status::new(&registry, note)));
    Beside {
        secrets,
        registry,
        note: noted,
        _silent: silent,
        _directory: directory,
    }
}

impl Beside {
    /// The next certificate and key that are handed on, PEM.
    async fn next(&mut self) -> [String; 2] {
        let secret = timeout(PATIENCE, self.secrets.recv()).await;
        let secret = secret.expect("in time").expect("a secret");
        assert_eq!(secret.name, "default");
        let Some(Type::TlsCertificate(certificate)) = secret.r#type else {
            panic!("no certificate");
        };
        [certificate.certificate_chain, certificate.private_key].map(|source| {
            match source.expect("there").specifier {
                Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes).expect("text"),
                _ => panic!("not inline"),
            }
        })
    }

    async fn noted(&mut self, words: &str) {
        let seen = self.note.wait_for(|note| note.contains(words));
        let seen = timeout(PATIENCE, seen).await.map(|_| ());
        assert!(seen.is_ok(), "{words}: {:?}", self.note.borrow());
    }

    fn stat(&self, name: &str) -> i64 {
        let scopes = self.registry.read();
        let values = scopes.iter().flat_map(|scope| &scope.values);
        match values
            .clone()
            .find(|value| value.name == name)
            .map(|it| &it.reading)
        {
            Some(Reading::Counter(count)) => i64::try_from(*count).expect("small"),
            Some(Reading::Gauge(value)) => *value,
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_with_a_new_key_at_half_its_life() {
    let mut beside = beside(vec![Ok(Duration::from_secs(4)), Ok(PATIENCE * 100)]).await;
    let began = std::time::Instant::now();
    let [first, first_key] = beside.next().await;
    let [second, second_key] = beside.next().await;
    // Certificates have whole seconds.
    let half = began.elapsed();
    assert!(
        half >= Duration::from_secs(1) && half < Duration::from_secs(4),
        "{half:?}"
    );
    assert_ne!(first, second);
    assert_ne!(first_key, second_key);
    assert!(first_key.contains("PRIVATE KEY"));
    assert_eq!(first.matches("BEGIN CERTIFICATE").count(), 1, "no root");
    beside.note.wait_for(String::is_empty).await.expect("well");
    assert_eq!(beside.stat("renewals"), 2);
    assert_eq!(beside.stat("certificate"), 1);
    assert!(beside.stat("not_after_seconds") > 1_700_000_000);
}

#[tokio::test]
async fn a_refusal_is_said_and_asked_again_about() {
    let refusal = tonic::Status::permission_denied("the token is of another pod");
    let later = Duration::from_secs(3600);
    let mut beside = beside(vec![Err(refusal), Ok(later)]).await;
    beside.noted("the token is of another pod").await;
    beside.noted("no workload certificate: ").await;
    beside.next().await;
    beside.note.wait_for(String::is_empty).await.expect("well");
    assert_eq!([beside.stat("failures"), beside.stat("renewals")], [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_it_from_asking_is_named_with_the_next_step() {
    let directory = tempfile::tempdir().expect("directory");
    let token_file = directory.path().join("token");
    let (silent, _) = watch::channel(true);
    let mut beside = run(
        weir_tests::ports::free().to_string(),
        &token_file,
        silent,
        directory,
    );
    beside.noted("No such file or directory").await;
    beside.noted("the kubelet mounts it").await;
    std::fs::write(&token_file, "token-of-web").expect("written");
    beside.noted("cannot reach the control plane").await;
    beside.noted("network policies").await;
    assert_eq!(beside.stat("certificate"), 0);
}

#[test]
fn an_answer_that_is_no_certificate_of_ours_is_refused() {
    let (key, ca, now) = (
        Key::generate().expect("a key"),
        Ca::new(),
        SystemTime::now(),
    );
    let csr = key.request().expect("a request");
    let other = Key::generate()
        .expect("a key")
        .request()
        .expect("a request");
    let day = now + Duration::from_secs(86_400);
    let good = ca.sign(&csr, &[ID], day);
    let two = [ID, "spiffe://cluster.local/ns/shop/sa/till"];
    for (leaf, reason) in [
        (ca.sign(&other, &[ID], day), "for another key"),
        (ca.sign(&csr, &[], day), "names no SPIFFE ID"),
        (ca.sign(&csr, &["https://web.shop"], day), "no SPIFFE ID"),
        (ca.sign(&csr, &two, day), "two identities"),
        (
            ca.sign(&csr, &[ID], now - Duration::from_secs(600)),
            "is the clock of this node right?",
        ),
        ("garbage".to_owned(), "no PEM"),
        (good.replace("MII", "AAA"), "cannot be read"),
    ] {
        let chain = [leaf, ca.pem.clone()];
        let error = Answer::check(&chain, &key, now).expect_err(reason);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    for short in [vec![], vec![good.clone()]] {
        Answer::check(&short, &key, now).expect_err("too short");
    }
    let intermediate = Ca::new().pem;
    let chain = [good.clone(), intermediate.clone(), ca.pem];
    let answer = Answer::check(&chain, &key, now).expect("good");
    assert_eq!(answer.id, ID);
    let certificates = [good.trim_end(), intermediate.trim_end(), ""].join("\n");
    assert_eq!(answer.certificates, certificates, "all but what is trusted");
    assert!(!format!("{key:?}").contains("PRIVATE"));
}

#[test]
fn renewals_are_spread_around_half_of_what_is_left() {
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let at = |fraction| renew_at(now + day, now, fraction).duration_since(now);
    let at = |fraction| at(fraction).expect("later").as_secs();
    assert_eq!([at(0.0), at(0.5), at(1.0)], [38_880, 43_200, 47_520]);
    let soon = renew_at(now, now, 0.5).duration_since(now).expect("later");
    assert_eq!(soon, SHORTEST_WAIT);
}
