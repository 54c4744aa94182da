use std::{collections::HashMap, net::SocketAddr};

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{net::TcpListener, sync::watch};
use tonic::{Code, Request, Status, transport::Channel};
use weir_api::{
    ca::{CertificateClient, CertificateResponse},
    xds::google::protobuf::{Struct, Value},
};
use weir_discovery::xds::{AdsServer, AuthError, Authenticator, Generator, Hub, Peer, Settings};
use weir_process::command::LIMIT;
use x509_parser::{parse_x509_certificate, prelude::GeneralName};

use super::*;
use crate::{
    certificates::Authority,
    guards::Guards,
    serve::{self, Services},
};

const LIFE: Duration = Duration::from_secs(24 * 3600);
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// Knows whose tokens are.
#[derive(Debug)]
struct Tokens;

#[tonic::async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, token: &str, _: Peer) -> Result<Identity, AuthError> {
        let known: HashMap<_, _> = [("web", "shop"), ("till", "shop"), ("we/b", "shop")].into();
        match known.get(token) {
            Some(namespace) => Ok(Identity {
                namespace: (*namespace).to_owned(),
                service_account: token.to_owned(),
                pod: Some(format!("{token}-0")),
            }),
            None if token == "later" => Err(AuthError::Unavailable("no API server".to_owned())),
            None => Err(AuthError::Refused(format!("{token} is unknown"))),
        }
    }
}

fn issuer(life: Duration) -> Arc<Issuer> {
    let issuer = Issuer::new(TrustDomain::default(), life);
    issuer.set(signing());
    Arc::new(issuer)
}

fn signing() -> Signing {
    let authority = Authority::create(SystemTime::now(), LIFE * 100).expect("a CA");
    let pem = authority.pem().to_owned();
    Signing::new(Arc::new(authority), &pem)
}

/// Serves it, and gives a client and what keeps it alive.
async fn serving(
    issuer: Arc<Issuer>,
    authenticator: Option<Arc<dyn Authenticator>>,
) -> (CertificateClient<Channel>, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address: SocketAddr = listener.local_addr().expect("bound");
    let hub = Hub::new(Generator::new(Settings::default()));
    let services = Services {
        ads: AdsServer::new(Arc::new(hub)),
        certificates: CertificateAuthority {
            issuer,
            authenticator,
            peer: None,
        },
    };
    let (stop, stopped) = watch::channel(false);
    let guard = Guards::new(1024, None).xds;
    tokio::spawn(serve::xds(listener, guard, None, services, stopped));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    let channel = channel.connect().await.expect("connected");
    (CertificateClient::new(channel), stop)
}

fn csr(uris: &[&str]) -> String {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    let uris = uris.iter().map(|uri| (*uri).try_into().expect("ASCII"));
    params.subject_alt_names = uris.map(SanType::URI).collect();
    let request = params.serialize_request(&key).expect("a request");
    request.pem().expect("PEM")
}

fn asking(csr: &str) -> CertificateRequest {
    CertificateRequest {
        csr: csr.to_owned(),
        ..CertificateRequest::default()
    }
}

async fn ask(
    client: &mut CertificateClient<Channel>,
    token: Option<&str>,
    request: CertificateRequest,
) -> Result<CertificateResponse, Status> {
    let mut request = Request::new(request);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    let answer = client.create_certificate(request).await;
    answer.map(tonic::Response::into_inner)
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

#[tokio::test]
async fn a_certificate_is_an_svid_of_the_tokens_account() {
    let (mut client, _stop) = serving(issuer(LIFE), Some(Arc::new(Tokens))).await;
    // What Istio's agents send: their own name in the request, and an empty signer.
    let empty = Value {
        kind: Some(Kind::StringValue(String::new())),
    };
    let request = CertificateRequest {
        metadata: Some(Struct {
            fields: [(CERT_SIGNER.to_owned(), empty)].into(),
        }),
        ..asking(&csr(&[WEB]))
    };
    let answer = ask(&mut client, Some("web"), request.clone()).await;
    let chain = answer.expect("issued").cert_chain;
    assert_eq!(chain.len(), 2, "a leaf and what is trusted");
    let leaf = der(&chain[0]);
    let (_, leaf) = parse_x509_certificate(&leaf).expect("a certificate");

    let names = leaf.subject_alternative_name().expect("readable");
    let names = names.expect("names");
    assert_eq!(names.value.general_names, [GeneralName::URI(WEB)]);
    assert!(names.critical, "there is no subject");
    assert_eq!(leaf.subject().iter().count(), 0);
    assert!(!leaf.is_ca());
    let usage = leaf.key_usage().expect("readable").expect("usages");
    assert!(usage.critical && usage.value.digital_signature());
    assert!(!usage.value.key_cert_sign() && !usage.value.crl_sign());
    let extended = leaf
        .extended_key_usage()
        .expect("readable")
        .expect("usages");
    assert!(extended.value.server_auth && extended.value.client_auth);

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(now.expect("clock").as_secs()).expect("time");
    let validity = leaf.validity();
    let begins = now - validity.not_before.timestamp();
    assert!(
        (3595..=3605).contains(&begins),
        "for clocks that run behind"
    );
    let ends = validity.not_after.timestamp() - now;
    assert!((86_395..=86_405).contains(&ends), "{ends}");

    let again = ask(&mut client, Some("web"), request)
        .await
        .expect("issued");
    let again = der(&again.cert_chain[0]);
    let (_, again) = parse_x509_certificate(&again).expect("a certificate");
    assert_ne!(leaf.raw_serial(), again.raw_serial());
}

#[tokio::test]
async fn a_life_is_as_asked_and_no_longer_than_allowed_or_than_the_ca() {
    let now = SystemTime::now();
    let hour = 3600;
    for (most, asked, expected) in [
        (LIFE, 0, 24 * hour),
        (LIFE, -5, 24 * hour),
        (LIFE, hour, hour),
        (LIFE, i64::MAX, 24 * hour),
        (LIFE * 1000, 0, 2400 * hour),
    ] {
        let request = CertificateRequest {
            validity_duration: asked,
            ..asking(&csr(&[]))
        };
        let identity = Tokens.authenticate("web", None).await.expect("known");
        let chain = issuer(most).issue(&identity, &request, now).await;
        let leaf = der(&chain.expect("issued")[0]);
        let (_, leaf) = parse_x509_certificate(&leaf).expect("a certificate");
        let now = now.duration_since(SystemTime::UNIX_EPOCH).expect("clock");
        let ends =
            leaf.validity().not_after.timestamp() - i64::try_from(now.as_secs()).expect("time");
        assert!(
            (ends - expected).abs() <= 2,
            "{asked}: {ends}, not {expected}"
        );
    }
}

#[tokio::test]
async fn who_may_not_have_one_is_told_why_and_counted() {
    let issuer = issuer(LIFE);
    let (mut client, _stop) = serving(issuer.clone(), Some(Arc::new(Tokens))).await;
    let metadata = |name: &str| CertificateRequest {
        metadata: Some(Struct {
            fields: [(
                name.to_owned(),
                Value {
                    kind: Some(Kind::StringValue("other".to_owned())),
                },
            )]
            .into(),
        }),
        ..asking(&csr(&[]))
    };
    let till = "spiffe://cluster.local/ns/shop/sa/till";
    for (token, request, code, words) in [
        (
            None,
            asking(&csr(&[])),
            Code::Unauthenticated,
            "send `authorization: Bearer",
        ),
        (
            Some("bad"),
            asking(&csr(&[])),
            Code::Unauthenticated,
            "bad is unknown",
        ),
        (
            Some("later"),
            asking(&csr(&[])),
            Code::Unavailable,
            "cannot be checked now",
        ),
        (
            Some("web"),
            asking("junk"),
            Code::InvalidArgument,
            "PEM block",
        ),
        (
            Some("web"),
            asking(&csr(&[till])),
            Code::PermissionDenied,
            "use the token of that",
        ),
        (
            Some("web"),
            asking(&csr(&[WEB, till])),
            Code::PermissionDenied,
            "leave names out",
        ),
        (
            Some("we/b"),
            asking(&csr(&[])),
            Code::PermissionDenied,
            "no name of a namespace",
        ),
        (
            Some("web"),
            metadata(IMPERSONATED),
            Code::InvalidArgument,
            IMPERSONATED,
        ),
        (
            Some("web"),
            metadata(CERT_SIGNER),
            Code::InvalidArgument,
            CERT_SIGNER,
        ),
    ] {
        let refused = ask(&mut client, token, request).await.expect_err(words);
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
    }
    let counted = [
        ("unauthenticated", 2),
        ("token-unchecked", 1),
        ("quota", 0),
        ("request", 3),
        ("foreign-name", 3),
        ("authority", 0),
        ("busy", 0),
    ];
    assert_eq!(issuer.refused(), counted);
    assert_eq!(issuer.issued(), 0);
    // The largest request that is read is far smaller than what gRPC allows.
    let large = asking(&" ".repeat(100 << 10));
    let refused = ask(&mut client, Some("web"), large)
        .await
        .expect_err("large");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

#[tokio::test]
async fn an_issuer_without_a_ca_says_what_is_missing() {
    let identity = Tokens.authenticate("web", None).await.expect("known");
    let (issuer, now) = (Issuer::new(TrustDomain::default(), LIFE), SystemTime::now());
    let refused = async |issuer: &Issuer, now| {
        let refused = issuer.issue(&identity, &asking(&csr(&[])), now).await;
        Status::from(refused.expect_err("refused"))
    };
    assert_eq!(refused(&issuer, now).await.code(), Code::Unavailable);
    issuer.set_absent();
    let status = refused(&issuer, now).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("--serving-cert-dir"), "{status}");
    issuer.set(signing());
    let status = refused(&issuer, now + LIFE * 101).await;
    assert!(status.message().contains("weir.dev/rotate=ca"), "{status}");

    let (mut client, _stop) = serving(Arc::new(issuer), None).await;
    let status = ask(&mut client, Some("web"), asking(&csr(&[]))).await;
    let status = status.expect_err("nobody knows tokens");
    assert!(
        status.message().contains("--service-account-key"),
        "{status}"
    );
}

#[tokio::test]
async fn one_identity_that_asks_too_much_waits_and_others_do_not() {
    let issuer = issuer(LIFE);
    let (mut client, _stop) = serving(issuer.clone(), Some(Arc::new(Tokens))).await;
    let refused = loop {
        match ask(&mut client, Some("web"), asking("junk")).await {
            Err(status) if status.code() == Code::InvalidArgument => {}
            answer => break answer.expect_err("refused"),
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("ask again in"), "{refused}");
    ask(&mut client, Some("till"), asking(&csr(&[])))
        .await
        .expect("issued");
}

/// The chain is what OpenSSL takes for that of a server and of a client.
#[tokio::test]
async fn openssl_accepts_the_chain() {
    let identity = Tokens.authenticate("web", None).await.expect("known");
    let request = asking(&csr(&[]));
    let chain = issuer(LIFE)
        .issue(&identity, &request, SystemTime::now())
        .await;
    let chain = chain.expect("issued");
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("leaf"), &chain[0]).expect("written");
    std::fs::write(path("root"), &chain[1]).expect("written");
    for purpose in ["sslserver", "sslclient"] {
        let mut command = std::process::Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"]);
        command.arg(path("root")).arg(path("leaf"));
        weir_process::command::execute(&mut command, "", LIMIT).expect("accepted");
    }
}
