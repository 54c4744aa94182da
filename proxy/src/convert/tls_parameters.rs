//! Versions, ciphers and groups of TLS.
//!
//! What BoringSSL has and rustls lacks is left out with a warning, as long as something of the list
//! remains: a list that was written for Envoy goes on to work.

use std::fmt::Display;

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        SupportedKxGroup,
        aws_lc_rs::{cipher_suite as suites, kx_group as groups},
    },
    version::{TLS12, TLS13},
};
use weir_api::xds::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::{
    at::{At, take},
    value::enumeration,
};
use crate::config::tls::TlsParameters;

/// Of TLS 1.3, which has no setting for them.
const TLS13_SUITES: [SupportedCipherSuite; 3] = [
    suites::TLS13_AES_128_GCM_SHA256,
    suites::TLS13_AES_256_GCM_SHA384,
    suites::TLS13_CHACHA20_POLY1305_SHA256,
];

/// By OpenSSL's names, in Envoy's order.
const TLS12_SUITES: [(&str, SupportedCipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
];

/// Those that BoringSSL has beside them.
const OTHER_SUITES: [&str; 10] = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

const GROUPS: [(&str, &dyn SupportedKxGroup); 5] = [
    ("X25519MLKEM768", groups::X25519MLKEM768),
    ("X25519", groups::X25519),
    ("P-256", groups::SECP256R1),
    ("P-384", groups::SECP384R1),
    ("MLKEM1024", groups::MLKEM1024),
];

/// Those that BoringSSL has beside them.
const OTHER_GROUPS: [&str; 3] = ["P-224", "P-521", "X25519Kyber768Draft00"];

/// Envoy's, behind one that keeps what is recorded today from being read later.
const DEFAULT_GROUPS: [&dyn SupportedKxGroup; 3] =
    [groups::X25519MLKEM768, groups::X25519, groups::SECP256R1];

pub(super) fn tls_parameters(
    at: &At<'_>,
    message: Option<pb::TlsParameters>,
    default_maximum: pb::tls_parameters::TlsProtocol,
) -> TlsParameters {
    let message = message.unwrap_or_default();
    take!(at, message => pb::TlsParameters {
        supported: tls_minimum_protocol_version, tls_maximum_protocol_version, cipher_suites,
            ecdh_curves;
        refused: signature_algorithms, compliance_policies;
    });
    let versions = versions(
        at,
        tls_minimum_protocol_version,
        tls_maximum_protocol_version,
        default_maximum,
    );
    // Names of one preference are joined: `[a|b]`.
    let names = cipher_suites.iter().flat_map(|name| {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.split('|')
    });
    let names: Vec<&str> = names.flat_map(|name| name.split(':')).collect();
    let chosen = choose(
        &at.field("cipher_suites"),
        &names,
        &TLS12_SUITES,
        &OTHER_SUITES,
    );
    let suites = match names.is_empty() {
        true => TLS12_SUITES.map(|(_, suite)| suite).to_vec(),
        false => chosen,
    };
    let names: Vec<&str> = ecdh_curves
        .iter()
        .flat_map(|name| name.split(':'))
        .collect();
    let chosen = choose(&at.field("ecdh_curves"), &names, &GROUPS, &OTHER_GROUPS);
    TlsParameters {
        cipher_suites: TLS13_SUITES.into_iter().chain(suites).collect(),
        groups: match names.is_empty() {
            true => DEFAULT_GROUPS.to_vec(),
            false => chosen,
        },
        versions,
    }
}

fn versions(
    at: &At<'_>,
    minimum: i32,
    maximum: i32,
    default_maximum: pb::tls_parameters::TlsProtocol,
) -> Vec<&'static SupportedProtocolVersion> {
    use pb::tls_parameters::TlsProtocol::{TlSv12, TlsAuto};

    let at_minimum = at.field("tls_minimum_protocol_version");
    let at_maximum = at.field("tls_maximum_protocol_version");
    let or = |value, default| match value {
        Some(TlsAuto) | None => default,
        Some(version) => version,
    };
    let minimum = or(enumeration(&at_minimum, minimum), TlSv12);
    let maximum = or(enumeration(&at_maximum, maximum), default_maximum);
    if maximum < TlSv12 {
        at_maximum.unsupported(format!("{} (TLSv1_2 is the first)", maximum.as_str_name()));
    } else if minimum < TlSv12 {
        tracing::warn!(
            version = minimum.as_str_name(),
            "versions of TLS before 1.2 are left out"
        );
    }
    if minimum > maximum && maximum >= TlSv12 {
        // Envoy takes it, and then no handshake succeeds.
        at_minimum.unsupported("a version above tls_maximum_protocol_version");
    }
    let mut versions = Vec::new();
    if maximum > TlSv12 {
        versions.push(&TLS13);
    }
    if minimum <= TlSv12 {
        versions.push(&TLS12);
    }
    versions
}

/// What `names` says of what there is. `others` are known, and not here.
fn choose<T: Copy>(
    at: &At<'_>,
    names: &[&str],
    known: &[(&str, T)],
    others: &[impl AsRef<str> + Display],
) -> Vec<T> {
    let mut chosen = Vec::new();
    let mut left_out = Vec::new();
    for name in names {
        let here = known.iter().find(|(known, _)| known == name);
        match here {
            Some((_, value)) => chosen.push(*value),
            None if others.iter().any(|other| other.as_ref() == *name) => left_out.push(*name),
            None => at.error(format!("{name:?}: unknown")),
        }
    }
    if chosen.is_empty() && !left_out.is_empty() {
        at.unsupported(left_out.join(", "));
    } else if !left_out.is_empty() {
        tracing::warn!(
            left_out = left_out.join(", "),
            "not supported, and left out of a list that has others"
        );
    }
    chosen
}
