//! Whether callers speak TLS.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    model::{ClientTls, TlsOrigination},
    rules::{Findings, Place},
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Tls {
    mode: Mode,
    client_certificate: Option<String>,
    private_key: Option<String>,
    ca_certificates: Option<String>,
    subject_alt_names: Option<Vec<String>>,
    sni: Option<String>,
    insecure_skip_verify: Option<bool>,
    credential_name: Option<Value>,
    ca_crl: Option<Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Mode {
    #[default]
    Disable,
    Simple,
    Mutual,
    IstioMutual,
}

/// Where images have the authorities of the public.
const PUBLIC_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Says the same.
const SYSTEM: &str = "system";

// === impl Tls ===

impl Tls {
    pub(super) fn read(&self, at: &str, place: &Place<'_>, findings: &mut Findings) -> ClientTls {
        match self.mode {
            Mode::Disable => ClientTls::Disable,
            Mode::IstioMutual => {
                self.forbid(at, findings);
                ClientTls::Mesh
            }
            Mode::Simple | Mode::Mutual => {
                ClientTls::Origination(self.origination(at, place, findings))
            }
        }
    }

    /// With the certificates of the mesh nothing else is chosen.
    fn forbid(&self, at: &str, findings: &mut Findings) {
        let said = [
            ("clientCertificate", self.client_certificate.is_some()),
            ("privateKey", self.private_key.is_some()),
            ("caCertificates", self.ca_certificates.is_some()),
            ("credentialName", self.credential_name.is_some()),
        ];
        for (field, _) in said.iter().filter(|(_, is_said)| *is_said) {
            let reason = "cannot be with mode: ISTIO_MUTUAL, whose certificates are the mesh's";
            findings.malformed(format!("{at}.{field}"), reason);
        }
        let chosen = [
            ("sni", self.sni.is_some()),
            ("subjectAltNames", self.subject_alt_names.is_some()),
        ];
        for (field, _) in chosen.iter().filter(|(_, is_said)| *is_said) {
            let reason = "is not honoured with mode: ISTIO_MUTUAL: the service's own accounts and \
                          name are asked for";
            findings.warned(format!("{at}.{field}"), reason);
        }
    }

    fn origination(&self, at: &str, place: &Place<'_>, findings: &mut Findings) -> TlsOrigination {
        for (field, value) in [
            ("credentialName", &self.credential_name),
            ("caCrl", &self.ca_crl),
        ] {
            if value.is_some() {
                let reason = "is not honoured here: name files of the sidecar; calls fail rather \
                              than to trust less than is asked for";
                findings.warned(format!("{at}.{field}"), reason);
            }
        }
        let text = |it: &Option<String>| it.as_deref().map(|it| place.names.text(it));
        let file = |it: &Option<String>| text(it).filter(|it| !it.is_empty());
        let is_mutual = self.mode == Mode::Mutual;
        let pair = file(&self.client_certificate).zip(file(&self.private_key));
        let has_credential = self.credential_name.is_some() || self.ca_crl.is_some();
        if is_mutual && pair.is_none() && !has_credential {
            let reason = "names no clientCertificate with its privateKey, which mode: MUTUAL needs";
            findings.malformed(at, reason);
        }
        if !is_mutual && (self.client_certificate.is_some() || self.private_key.is_some()) {
            let reason = "means nothing with mode: SIMPLE: write MUTUAL, or leave it out";
            findings.malformed(format!("{at}.clientCertificate"), reason);
        }
        let names = self.subject_alt_names.iter().flatten();
        let skips = self.insecure_skip_verify == Some(true);
        let said = file(&self.ca_certificates).filter(|it| **it != *SYSTEM);
        let authorities = said.unwrap_or_else(|| place.names.text(PUBLIC_AUTHORITIES));
        let authorities = Some(authorities).filter(|_| !skips);
        TlsOrigination {
            sni: text(&self.sni).filter(|it| !it.is_empty()),
            names: names.map(|it| place.names.text(it)).collect(),
            // Nobody is trusted where what was asked for cannot be had.
            authorities: match has_credential {
                true => Some(nothing()),
                false => authorities,
            },
            certificate: match is_mutual {
                true => Some(pair.unwrap_or_else(|| (nothing(), nothing()))),
                false => None,
            },
        }
    }
}

/// A file that cannot be there.
fn nothing() -> Arc<str> {
    "/dev/null/not-honoured".into()
}
