//! What rules demand of whoever connects to a pod, as far as it can be said at admission. The injector
//! writes it into the environment of the sidecar ([`crate::sidecar::env`]), which keeps to it until the
//! control plane has answered.

use serde::{Deserialize, Serialize};

use crate::inbound_tls::{InboundTls, TlsMode};

/// Path of the call that a probe of gRPC makes.
///
/// <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>
pub const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// What rules demand of whoever connects to a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundDemands {
    /// How connections are served.
    pub tls: InboundTls,
    /// Rules say who may do what at the pod. Who that is, the control plane alone says, so nobody may
    /// before it has.
    pub is_guarded: bool,
    /// What the kubelet asks the pod. Rules do not speak of it, for nobody can name the kubelet.
    pub probes: Vec<Probe>,
}

/// A request that the kubelet makes of a pod, without a certificate.
///
/// As text it is JSON: `{"port":8080,"path":"/ready"}`, or `{"port":8443,"tls":true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The port of the pod.
    pub port: u16,
    /// The path of a `GET`; none: a call of gRPC's health service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// It is made over TLS, so that nobody but the application sees what it asks.
    #[serde(default, skip_serializing_if = "is_plaintext")]
    pub tls: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_plaintext(tls: &bool) -> bool {
    !tls
}

// === impl InboundDemands ===

impl InboundDemands {
    /// Whether nothing is demanded, so that nobody has to be told.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        self.tls == InboundTls::default() && !self.is_guarded
    }

    /// Whether the kubelet would be refused on some port like anybody else in plaintext.
    #[must_use]
    pub fn refuse_plaintext(&self) -> bool {
        let strict = |mode: &TlsMode| *mode == TlsMode::Strict;
        self.is_guarded || strict(&self.tls.mode) || self.tls.ports.values().any(strict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_is_refused_where_some_port_is_strict_or_policies_are_about_the_pod() {
        for (tls, is_guarded, usual, refuses) in [
            ("{}", false, true, false),
            (r#"{"mode":"DISABLE"}"#, false, false, false),
            (r#"{"mode":"STRICT"}"#, false, false, true),
            (r#"{"ports":{"80":"STRICT"}}"#, false, false, true),
            ("{}", true, false, true),
        ] {
            let demands = InboundDemands {
                tls: tls.parse().expect("JSON"),
                is_guarded,
                probes: Vec::new(),
            };
            let is = (demands.is_usual(), demands.refuse_plaintext());
            assert_eq!(is, (usual, refuses), "{tls} {is_guarded}");
        }
    }

    #[test]
    fn a_probe_is_a_port_and_a_path_or_a_call_of_the_health_service_or_made_over_tls() {
        let http = Probe {
            port: 8080,
            path: Some("/ready".to_owned()),
            tls: false,
        };
        let grpc = Probe {
            port: 9090,
            path: None,
            tls: false,
        };
        let tls = Probe {
            port: 8443,
            path: None,
            tls: true,
        };
        let text = r#"[{"port":8080,"path":"/ready"},{"port":9090},{"port":8443,"tls":true}]"#;
        let all = vec![http, grpc, tls];
        assert_eq!(serde_json::to_string(&all).expect("JSON"), text);
        let read: Vec<Probe> = serde_json::from_str(text).expect("JSON");
        assert_eq!(read, all);
    }
}
