//! Ports of services that are declared.

use serde::Deserialize;

use crate::{
    model::{EntryPort, Hint},
    rules::Findings,
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::rules) struct Port {
    number: u32,
    protocol: Option<String>,
    name: String,
    target_port: Option<u32>,
}

/// Protocols that Istio has words for.
const PROTOCOLS: [&str; 9] = [
    "HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS", "REDIS",
];

// === impl Port ===

impl Port {
    /// The port. None: it is none of TCP, or none at all.
    pub(in crate::rules) fn read(&self, at: &str, findings: &mut Findings) -> Option<EntryPort> {
        if self.name.is_empty() {
            findings.malformed(format!("{at}.name"), "is missing: write one");
        }
        let Some(port) = number(self.number) else {
            let reason = format!("{} is not a port (1 to 65535)", self.number);
            findings.malformed(format!("{at}.number"), reason);
            return None;
        };
        let target = self.target_port.filter(|it| *it != 0);
        let target = target.map_or(Some(port), number);
        let Some(target) = target else {
            findings.malformed(format!("{at}.targetPort"), "is not a port (1 to 65535)");
            return None;
        };
        let protocol = self.protocol.as_deref().filter(|it| !it.is_empty());
        let protocol = protocol.map(str::to_ascii_uppercase);
        if protocol.as_deref() == Some("UDP") {
            let reason = "UDP is not captured: the port is left out";
            findings.warned(format!("{at}.protocol"), reason);
            return None;
        }
        if let Some(word) = protocol.as_deref().filter(|it| !PROTOCOLS.contains(it)) {
            let reason = format!(
                "{word:?} is not honoured here: what is spoken is found out; write one of {}",
                PROTOCOLS.join(", ")
            );
            findings.warned(format!("{at}.protocol"), reason);
        }
        Some(EntryPort {
            name: self.name.clone(),
            port,
            target,
            hint: Hint::of(protocol.as_deref(), Some(&self.name), port),
        })
    }
}

fn number(said: u32) -> Option<u16> {
    u16::try_from(said).ok().filter(|it| *it > 0)
}
