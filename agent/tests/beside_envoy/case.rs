//! Cases as data: bytes that are sent to both proxies, and how the answers may differ.

use serde::Deserialize;

use crate::{
    answer::{self, Answer},
    proxies::{self, Ports, Proxy},
    upstream,
};

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    name: String,
    /// Bytes for the proxy; `@TEXT*N@` stands for TEXT N times.
    send: String,
    /// To the listener that is particular about requests.
    #[serde(default)]
    strict: bool,
    /// To the listener at the edge of the trusted network.
    #[serde(default)]
    edge: bool,
    /// Why our answer is not Envoy's, where it is not.
    #[serde(default)]
    differs: Option<String>,
    /// Our answer then, but for what Envoy answers too.
    #[serde(default)]
    ours: Vec<String>,
}

/// Envoy and ours, with one bootstrap in front of one endpoint.
pub(crate) fn both(bootstrap: &str) -> (Proxy, Proxy) {
    let (echo, refused) = (upstream::start(), proxies::free_port());
    let ports = || Ports {
        echo,
        refused,
        ..Ports::free()
    };
    let envoy = Proxy::envoy(bootstrap, ports());
    (envoy, Proxy::weir(bootstrap, ports()))
}

/// The cases whose answers differ otherwise than they say.
pub(crate) fn compare(cases: &[Case], envoy: &Proxy, weir: &Proxy) -> Vec<String> {
    cases
        .iter()
        .filter_map(|case| case.compare(envoy, weir))
        .collect()
}

// === impl Case ===

impl Case {
    fn compare(&self, envoy: &Proxy, weir: &Proxy) -> Option<String> {
        let bytes = answer::expand(&self.send);
        let answer = |proxy: &Proxy| Answer::get(proxy.port(self.strict, self.edge), &bytes);
        let (theirs, ours) = (answer(envoy), answer(weir));
        let (only_ours, only_theirs) = (ours.beyond(&theirs), theirs.beyond(&ours));
        let as_said = match &self.differs {
            None => only_ours.is_empty() && only_theirs.is_empty(),
            Some(_) => only_ours == self.ours,
        };
        (!as_said).then(|| {
            format!(
                "{}:\n  Envoy alone: {only_theirs:#?}\n  ours alone: {only_ours:#?}",
                self.name
            )
        })
    }
}
