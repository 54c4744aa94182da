//! Whether the handshakes of a turn were what its scenario is about, as the server's sidecar counted them.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use super::tls::{CIPHER, GROUP};
use crate::{
    load,
    pods::INBOUND,
    scenario::{Load, Scenario, Sessions},
};

/// Part of the handshakes that has to be as wanted.
const MOST: f64 = 0.95;

/// Counters of TLS of the server's listener.
#[derive(Debug)]
pub(super) struct Handshakes(HashMap<String, u64>);

// === impl Handshakes ===

impl Handshakes {
    /// Path of the admin interface under which they are.
    pub(super) fn path() -> String {
        format!("/stats?filter=_{INBOUND}.ssl")
    }

    /// Reads what the admin interface prints.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let prefix = format!("listener.0.0.0.0_{INBOUND}.ssl.");
        let counters = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(&prefix)?.split_once(": "));
        let counters = counters.map(|(name, value)| {
            let value = value.parse().with_context(|| format!("{name}: {value}"))?;
            Ok((name.to_owned(), value))
        });
        counters.collect::<Result<_>>().map(Self)
    }

    /// Whether they are of this scenario.
    pub(super) fn check(&self, scenario: &Scenario) -> Result<()> {
        let all = self.count("handshake");
        ensure!(all > 0, "there was no handshake: {self:?}");
        let most = |what: &str, besides: u64| {
            let count = self.count(what);
            ensure!(
                (count + besides) as f64 >= all as f64 * MOST,
                "{what}: {count} of {all} handshakes"
            );
            Ok(())
        };
        most("versions.TLSv1.3", 0)?;
        most(&format!("ciphers.{CIPHER}"), 0)?;
        most(&format!("curves.{GROUP}"), 0)?;
        let none = |what: &str| {
            let count = self.count(what);
            ensure!(count == 0, "{what}: {count} of {all} handshakes");
            Ok(())
        };
        none("no_certificate")?;
        match (scenario.sessions(), scenario.load) {
            (Some(Sessions::Forgotten), _) => none("session_reused"),
            // The first handshake of each client has no session to resume; other loads have few more.
            (Some(Sessions::Kept), Load::TcpConnect) => {
                most("session_reused", u64::from(load::tcp::CLIENTS))
            }
            _ => Ok(()),
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::SCENARIOS;

    const STATS: &str = "listener.0.0.0.0_15006.ssl.ciphers.TLS_AES_128_GCM_SHA256: 100
listener.0.0.0.0_15006.ssl.curves.X25519: 100
listener.0.0.0.0_15006.ssl.handshake: 100
listener.0.0.0.0_15006.ssl.no_certificate: 0
listener.0.0.0.0_15006.ssl.session_reused: 99
listener.0.0.0.0_15006.ssl.versions.TLSv1.3: 100
";

    #[test]
    fn handshakes_of_another_kind_are_no_figure() {
        for (scenario, from, to, wrong) in [
            ("mtls-resume", "", "", ""),
            ("mtls-http1-64", "reused: 99", "reused: 0", ""),
            ("mtls-handshake", "reused: 99", "reused: 0", ""),
            ("mtls-handshake", "", "", "session_reused: 99"),
            (
                "mtls-resume",
                "reused: 99",
                "reused: 60",
                "session_reused: 60",
            ),
            ("mtls-resume", "ficate: 0", "ficate: 1", "no_certificate: 1"),
            ("mtls-resume", "TLSv1.3", "TLSv1.2", "versions.TLSv1.3: 0"),
            ("mtls-resume", "X25519:", "P-256:", "curves.X25519: 0"),
            ("mtls-resume", "AES_128", "AES_256", "SHA256: 0 of 100"),
            (
                "mtls-resume",
                "handshake: 100",
                "handshake: 0",
                "no handshake",
            ),
        ] {
            let found = SCENARIOS.iter().find(|it| it.name == scenario);
            let handshakes = Handshakes::parse(&STATS.replace(from, to)).expect("counters");
            let checked = handshakes.check(found.expect("a scenario"));
            match (checked, wrong) {
                (Ok(()), "") => {}
                (Err(error), wrong) if !wrong.is_empty() => {
                    assert!(error.to_string().contains(wrong), "{error}");
                }
                (checked, _) => panic!("{scenario} {to:?}: {checked:?}"),
            }
        }
    }
}
