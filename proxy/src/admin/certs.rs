//! `/certs`: `envoy.admin.v3.Certificates`.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::CertificateDer;
use serde_json::{Value as Json, json};
use weir_api::xds::type_url;

use super::{Admin, query::Query, reply::Reply, time::rfc3339};
use crate::{
    config::tls::{Secret, SecretValue},
    net::tls::Names,
};

const DAY: i64 = 24 * 60 * 60;

/// `/certs`
pub(super) fn print(admin: &Admin, _: &Query) -> Reply {
    let secrets = admin.secrets.in_use();
    let certificates = secrets.iter().filter_map(|secret| match &secret.value {
        SecretValue::Certificate(certificate) => Some(json!({
            "ca_cert": [], "cert_chain": details(&certificate.key.cert),
        })),
        SecretValue::Validation(context) => {
            let ca = context.trusted_ca.as_ref()?;
            Some(json!({ "ca_cert": details(&ca.certificates), "cert_chain": [] }))
        }
        SecretValue::TicketKeys(_) => None,
    });
    Reply::json(&json!({ "certificates": certificates.collect::<Vec<_>>() }))
}

fn details(certificates: &[CertificateDer<'_>]) -> Vec<Json> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let names = certificates.iter().filter_map(Names::of);
    names
        .map(|names| {
            let left = (names.not_after - now).max(0) / DAY;
            json!({
                "path": "<inline>",
                "serial_number": names.serial,
                "subject_alt_names": sans(&names),
                "days_until_expiration": left.to_string(),
                "valid_from": time(names.not_before),
                "expiration_time": time(names.not_after),
            })
        })
        .collect()
}

fn sans(names: &Names) -> Vec<Json> {
    let dns = names.dns.iter().map(|name| json!({ "dns": name }));
    let uris = names.uris.iter().map(|name| json!({ "uri": name }));
    let ips = names.ips.iter().map(|name| json!({ "ip_address": name }));
    dns.chain(uris).chain(ips).collect()
}

fn time(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    rfc3339(SystemTime::UNIX_EPOCH + since)
}

/// A secret as a message, without what is secret of it.
pub(super) fn shown(secret: &Secret) -> Json {
    let chain = |certificates: &[CertificateDer<'_>]| {
        let pem: String = certificates.iter().map(pem).collect();
        json!({ "inline_bytes": STANDARD.encode(pem) })
    };
    let mut message = json!({ "@type": type_url::SECRET, "name": secret.name });
    match &secret.value {
        SecretValue::Certificate(certificate) => {
            message["tls_certificate"] = json!({
                "certificate_chain": chain(&certificate.key.cert),
                "private_key": { "inline_string": "[redacted]" },
            });
        }
        SecretValue::Validation(context) => {
            let ca = context.trusted_ca.as_ref();
            let ca = ca.map(|ca| chain(&ca.certificates));
            message["validation_context"] = json!({ "trusted_ca": ca });
        }
        SecretValue::TicketKeys(_) => message["session_ticket_keys"] = json!({}),
    }
    message
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}
