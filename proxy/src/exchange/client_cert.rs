//! `x-forwarded-client-cert`: what came of it, and what is added of the client's own certificate.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert>

use http::HeaderValue;

use super::RequestMessage;
use crate::{
    config::http::{CertDetail, ClientCertDetails, ForwardClientCert},
    http::codec::h1::head::FieldKind,
    net::tls::{Fingerprint, Names, TlsInfo, url_encoded_pem},
};

const NAME: &str = "x-forwarded-client-cert";

impl RequestMessage<'_> {
    /// Brings the field into the form that is routed and sent on.
    pub(super) fn forward_client_cert(
        &mut self,
        config: &ClientCertDetails,
        tls: Option<&TlsInfo>,
    ) {
        let known = tls.and_then(|tls| Some((tls, tls.peer_names()?)));
        match (config.forward, known) {
            (ForwardClientCert::AlwaysForwardOnly, _)
            | (ForwardClientCert::ForwardOnly, Some(_)) => {}
            (ForwardClientCert::Sanitize, _) | (_, None) => self.remove_client_cert(),
            (ForwardClientCert::SanitizeSet, Some((tls, names))) => {
                self.set_client_cert(&describe(config, tls, names));
            }
            (ForwardClientCert::AppendForward, Some((tls, names))) => {
                let own = describe(config, tls, names);
                let came = self.head().and_then(|head| head.field(NAME));
                let both = came.map(|came| format!("{came},{own}"));
                self.set_client_cert(&both.unwrap_or(own));
            }
        }
    }

    fn remove_client_cert(&mut self) {
        match self {
            Self::Http1(request) => {
                let kind = FieldKind::ForwardedClientCert;
                request.fields.retain(|field| field.kind != kind);
            }
            Self::Http2(request) => {
                if let Some(head) = &mut *request.head {
                    head.headers.remove(NAME);
                }
            }
        }
    }

    fn set_client_cert(&mut self, value: &str) {
        match self {
            Self::Http1(request) => {
                request.set_field(FieldKind::ForwardedClientCert, NAME, value);
            }
            Self::Http2(request) => {
                if let (Some(head), Ok(value)) = (&mut *request.head, HeaderValue::from_str(value))
                {
                    head.headers.insert(NAME, value);
                }
            }
        }
    }
}

/// What is said of the client.
fn describe(config: &ClientCertDetails, tls: &TlsInfo, names: &Names) -> String {
    let local = tls.local_names().into_iter().flat_map(|local| &local.uris);
    let mut said: Vec<String> = local.map(|uri| format!("By={uri}")).collect();
    if let Some(hash) = tls.fingerprint(Fingerprint::Sha256) {
        said.push(format!("Hash={hash}"));
    }
    for detail in &config.details {
        match detail {
            CertDetail::Cert => {
                let leaf = tls.peer.get(..1).unwrap_or_default();
                said.push(format!("Cert=\"{}\"", url_encoded_pem(leaf)));
            }
            CertDetail::Chain => {
                said.push(format!("Chain=\"{}\"", url_encoded_pem(&tls.peer)));
            }
            CertDetail::Subject => said.push(format!("Subject=\"{}\"", one_line(&names.subject))),
            // As Envoy: the key is there, also without a value.
            CertDetail::Uri if names.uris.is_empty() => said.push("URI=".to_owned()),
            CertDetail::Uri => {
                said.extend(
                    names
                        .uris
                        .iter()
                        .map(|uri| format!("URI={}", one_line(uri))),
                );
            }
            CertDetail::Dns => {
                said.extend(
                    names
                        .dns
                        .iter()
                        .map(|name| format!("DNS={}", one_line(name))),
                );
            }
        }
    }
    said.join(";")
}

/// Names are the client's to choose: none ends the field, or the line.
fn one_line(name: &str) -> String {
    name.replace(|character: char| character.is_control(), "")
}
