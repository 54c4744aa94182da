//! Who is served on the ports of a pod: what rules demand, in the words in which the injector stamps it
//! into the pod, and what follows for a sidecar.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How connections to a pod are served.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum TlsMode {
    /// In plaintext; TLS is the application's own.
    Disable,
    /// Clients of the mesh by mutual TLS, everybody else in plaintext.
    #[default]
    Permissive,
    /// By mutual TLS alone.
    Strict,
}

/// What all rules together say of the connections to one pod.
///
/// As text it is JSON: `{"mode":"STRICT","ports":{"9000":"PERMISSIVE"}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InboundTls {
    /// On every port but these.
    pub mode: TlsMode,
    /// On these.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, TlsMode>,
}

/// Who is served on a port, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Everybody in plaintext; TLS is the application's own.
    Plaintext,
    /// Clients of the mesh by mutual TLS, everybody else as before.
    Permissive,
    /// Clients of the mesh by mutual TLS, and nobody else.
    Strict,
    /// Nobody: mutual TLS is demanded of a sidecar that cannot speak it.
    Refused,
}

// === impl TlsMode ===

impl TlsMode {
    /// Who is served by a sidecar that speaks mutual TLS, or does not.
    #[must_use]
    pub fn served(self, speaks_tls: bool) -> Served {
        match (self, speaks_tls) {
            (Self::Disable, _) | (Self::Permissive, false) => Served::Plaintext,
            (Self::Permissive, true) => Served::Permissive,
            (Self::Strict, true) => Served::Strict,
            (Self::Strict, false) => Served::Refused,
        }
    }
}

// === impl InboundTls ===

impl InboundTls {
    /// How connections to that port are served.
    #[must_use]
    pub fn on(&self, port: u16) -> TlsMode {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }

    /// Of both the one that serves fewer, port by port.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        let ports = self.ports.keys().chain(other.ports.keys());
        Self {
            mode: self.mode.max(other.mode),
            ports: ports
                .map(|port| (*port, self.on(*port).max(other.on(*port))))
                .collect(),
        }
    }
}

impl fmt::Display for InboundTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for InboundTls {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let strict = InboundTls {
            mode: TlsMode::Strict,
            ports: [(9000, TlsMode::Permissive), (1, TlsMode::Disable)].into(),
        };
        assert_eq!(
            strict.to_string(),
            r#"{"mode":"STRICT","ports":{"1":"DISABLE","9000":"PERMISSIVE"}}"#
        );
        for it in [strict, InboundTls::default()] {
            assert_eq!(it.to_string().parse::<InboundTls>().expect("JSON"), it);
        }
        for wrong in [
            "",
            "STRICT",
            r#"{"mode":"strict"}"#,
            r#"{"modes":"STRICT"}"#,
        ] {
            assert!(wrong.parse::<InboundTls>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_stricter_of_two_counts_on_each_port() {
        use TlsMode::{Disable, Permissive, Strict};
        let one = InboundTls {
            mode: Strict,
            ports: [(80, Disable), (81, Disable)].into(),
        };
        let other = InboundTls {
            mode: Permissive,
            ports: [(80, Permissive), (82, Disable)].into(),
        };
        let both = one.stricter(&other);
        assert_eq!(both, other.stricter(&one));
        assert_eq!(both.mode, Strict);
        let on = [80, 81, 82, 83].map(|port| both.on(port));
        assert_eq!(on, [Permissive, Permissive, Strict, Strict]);
    }
}
