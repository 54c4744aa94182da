//! Ports of the application.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    model,
    rules::{Findings, destination_rule::ConnectionPool, istio::refuse, service_entry::Port},
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Ingress {
    port: Option<Port>,
    bind: Option<String>,
    capture_mode: Option<CaptureMode>,
    default_endpoint: Option<String>,
    tls: Option<Value>,
    connection_pool: Option<ConnectionPool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum CaptureMode {
    Default,
    Iptables,
    None,
}

/// All ports that are said, the first of each number.
pub(super) fn read(said: &[Ingress], findings: &mut Findings) -> BTreeMap<u16, model::Ingress> {
    let mut all = BTreeMap::new();
    for (index, said) in said.iter().enumerate() {
        let at = format!("spec.ingress[{index}]");
        let Some((number, ingress)) = said.read(&at, findings) else {
            continue;
        };
        if all.contains_key(&number) {
            let reason = format!("{number} is there twice: the first counts");
            findings.malformed(format!("{at}.port.number"), reason);
            continue;
        }
        all.insert(number, ingress);
    }
    all
}

// === impl Ingress ===

impl Ingress {
    fn read(&self, at: &str, findings: &mut Findings) -> Option<(u16, model::Ingress)> {
        let instead = "TLS of the application's own is passed on to it";
        refuse(at, &[("tls", &self.tls)], instead, findings);
        let bind = self.bind.as_deref().filter(|it| !it.is_empty());
        if let Some(bind) = bind.filter(|it| !["0.0.0.0", "::"].contains(it)) {
            let reason =
                format!("{bind:?} is not honoured here: what is captured is taken at any address");
            findings.warned(format!("{at}.bind"), reason);
        }
        if self.capture_mode == Some(CaptureMode::None) {
            let reason = "NONE is not honoured here: what is captured is taken, and nothing listens \
                          beside that";
            findings.warned(format!("{at}.captureMode"), reason);
        }
        let Some(port) = &self.port else {
            findings.malformed(format!("{at}.port"), "is missing: write it");
            return None;
        };
        let port = port.read(&format!("{at}.port"), findings)?;
        let pool = self.connection_pool.as_ref();
        let ingress = model::Ingress {
            hint: port.hint,
            endpoint: self.endpoint(at, findings),
            pool: pool
                .map(|it| it.read(&format!("{at}.connectionPool"), findings))
                .map(Into::into),
        };
        Some((port.port, ingress))
    }

    /// Where the application listens. The unspecified address stands for the pod's own.
    fn endpoint(&self, at: &str, findings: &mut Findings) -> Option<SocketAddr> {
        let text = self
            .default_endpoint
            .as_deref()
            .filter(|it| !it.is_empty())?;
        let fits = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
        match text.parse::<SocketAddr>() {
            Ok(socket) if fits(socket.ip()) && socket.port() != 0 => Some(socket),
            _ if text.starts_with("unix://") => {
                let reason = format!(
                    "{text:?} is a socket of a file, which sidecars do not dial: the application is \
                     dialled at the address that the peer used"
                );
                findings.warned(format!("{at}.defaultEndpoint"), reason);
                None
            }
            _ => {
                let reason = format!(
                    "{text:?} is no place of the application: write 127.0.0.1:PORT, [::1]:PORT, \
                     0.0.0.0:PORT or [::]:PORT"
                );
                findings.malformed(format!("{at}.defaultEndpoint"), reason);
                None
            }
        }
    }
}
