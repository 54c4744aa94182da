//! Certificates: the bundle that API servers trust, the one that is served, and what sidecars
//! trust.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use weir_api::sidecar;
use x509_parser::parse_x509_certificate;

use super::{Names, dry_run, facts::Facts, finding::Finding, webhook};

const CHECK: &str = "certificate";
/// Where cert-manager is told which certificate's CA to write into a webhook configuration.
const INJECT_FROM: &str = "cert-manager.io/inject-ca-from";
/// Certificates are renewed at half their life; one that is this near its end was not.
const SOON: i64 = 3 * 24 * 3600;

/// Name of the Secret with the serving certificate.
pub(super) fn secret_of(webhooks: Option<&MutatingWebhookConfiguration>, names: &Names) -> String {
    let annotations = webhooks.and_then(|webhooks| webhooks.metadata.annotations.as_ref());
    let from = annotations.and_then(|annotations| annotations.get(INJECT_FROM));
    match from.and_then(|from| from.split_once('/')) {
        Some((namespace, certificate)) if namespace == names.namespace => certificate.to_owned(),
        _ => "weir-ca".to_owned(),
    }
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let now = now();
    let mut bundles = webhook::all_bundles(facts);
    bundles.sort();
    bundles.dedup();
    let mut findings: Vec<Finding> = bundles
        .iter()
        .map(|bundle| lasts("caBundle", &pem(&bundle.0), now))
        .collect();
    match &facts.secret {
        // The key is in it, so not everybody may read it; API servers have judged what is served.
        Err(_) if dry_run::has_succeeded(facts) => findings.push(Finding::ok(
            CHECK,
            "API servers trust the certificate that is served: the injector answered one",
        )),
        Err(unread) => findings.push(unread.finding(CHECK)),
        Ok(secret) => findings.extend(served(secret.as_ref(), &bundles, facts, now)),
    }
    findings.extend(roots(facts, &bundles));
    findings
}

/// The serving certificate, against every bundle there is.
fn served(
    secret: Option<&Secret>,
    bundles: &[&ByteString],
    facts: &Facts,
    now: i64,
) -> Vec<Finding> {
    let names = &facts.names;
    let data = secret.and_then(|secret| secret.data.as_ref()?.get("tls.crt"));
    let Some(data) = data else {
        return vec![Finding::failure(
            CHECK,
            format!(
                "there is no serving certificate in Secret {} of {}",
                secret_of(facts.injector(), names),
                names.namespace
            ),
            format!(
                "the control plane makes it; kubectl logs -n {} deploy/{}",
                names.namespace,
                names.control()
            ),
        )];
    };
    let chain = pem(&data.0);
    let mut findings = vec![lasts(
        "serving certificate",
        chain.get(..1).unwrap_or_default(),
        now,
    )];
    let host = format!("{}.{}.svc", names.control(), names.namespace);
    for bundle in bundles {
        findings.push(match verify(&chain, &pem(&bundle.0), &host, now) {
            Ok(()) => Finding::ok(
                CHECK,
                format!(
                    "the certificate of {host} is one that caBundle \
                                                  trusts"
                ),
            ),
            Err(reason) => Finding::failure(
                CHECK,
                format!("API servers will not trust the certificate of {host}: {reason}"),
                format!(
                    "the control plane keeps caBundle right; read its log (kubectl logs -n {} \
                     deploy/{}) and see \
                     whether something else writes to {}",
                    names.namespace,
                    names.control(),
                    names.injector()
                ),
            ),
        });
    }
    findings
}

/// Whether one of these certificates is good for some time yet.
fn lasts(what: &str, certificates: &[CertificateDer<'_>], now: i64) -> Finding {
    let ends = certificates
        .iter()
        .filter_map(|certificate| not_after(certificate))
        .max();
    let Some(end) = ends else {
        return Finding::failure(
            CHECK,
            format!("the {what} is no certificate"),
            "delete it; the control plane makes it anew",
        );
    };
    let left = end - now;
    let days = left / (24 * 3600);
    let advice =
        "the control plane should have renewed it long ago: read its log, and compare its clock";
    if left <= 0 {
        Finding::failure(CHECK, format!("the {what} has expired"), advice)
    } else if left < SOON {
        Finding::warning(
            CHECK,
            format!("the {what} expires in {} hours", left / 3600),
            advice,
        )
    } else {
        Finding::ok(CHECK, format!("the {what} is good for {days} days"))
    }
}

/// Namespaces with sidecars have to have what those trust.
fn roots(facts: &Facts, bundles: &[&ByteString]) -> Vec<Finding> {
    let (maps, census) = match (&facts.roots, &facts.pods) {
        (Ok(maps), Ok(census)) => (maps, census),
        (Err(unread), _) => return vec![unread.finding(CHECK)],
        (_, Err(_)) => return Vec::new(),
    };
    let trusted: Vec<CertificateDer<'_>> =
        bundles.iter().flat_map(|bundle| pem(&bundle.0)).collect();
    let is_right = |namespace: &str| {
        let map = maps
            .iter()
            .find(|map| map.metadata.namespace.as_deref() == Some(namespace));
        let text = map.and_then(|map| map.data.as_ref()?.get(sidecar::CA_FILE));
        text.is_some_and(|text| {
            pem(text.as_bytes())
                .iter()
                .any(|root| trusted.contains(root))
        })
    };
    let wanted = census.namespaces();
    let wrong: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|namespace| !is_right(namespace))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    vec![if wrong.is_empty() {
        Finding::ok(
            CHECK,
            format!(
                "sidecars in {} namespaces trust the control plane",
                wanted.len()
            ),
        )
    } else {
        Finding::failure(
            CHECK,
            format!(
                "ConfigMap {} is missing or old in {}: sidecars there cannot start or do not \
                 trust the control plane",
                sidecar::CA_CONFIG_MAP,
                super::nodes::shorten(&wrong)
            ),
            format!(
                "the control plane writes it; kubectl logs -n {} deploy/{}",
                facts.names.namespace,
                facts.names.control()
            ),
        )
    }]
}

fn verify(
    chain: &[CertificateDer<'_>],
    bundle: &[CertificateDer<'_>],
    host: &str,
    now: i64,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(bundle.iter().map(|root| root.clone().into_owned()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|error| text(&error))?;
    let (leaf, others) = chain.split_first().ok_or("it is no certificate")?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| text(&error))?;
    let since = Duration::from_secs(u64::try_from(now).unwrap_or_default());
    let now = UnixTime::since_unix_epoch(since);
    let verified = verifier.verify_server_cert(leaf, others, &name, &[], now);
    verified.map(|_| ()).map_err(|error| text(&error))
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

fn pem(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text)
        .filter_map(Result::ok)
        .collect()
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
