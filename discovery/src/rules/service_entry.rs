//! `networking.istio.io` `ServiceEntry`: services that the cluster does not declare, such as hosts outside of it.
//!
//! A host that cannot be is left out, and so is a port: the others are there.

mod endpoint;
mod port;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use serde::Deserialize;

pub(super) use endpoint::Endpoint;

use super::{
    Findings, Place, RuleKind, RuleObject, Selector,
    istio::{GROUP, Host, MOST, VERSIONS, exports, is_label},
    texts,
};
use crate::model::{
    Effect, EndpointPlace, EntryEndpoint, EntryPort, HostScope, Labels, ServiceEntry as Entry,
    Target,
};

/// The object.
pub type ServiceEntry = RuleObject<Spec>;

/// What it declares.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    hosts: Option<Vec<String>>,
    addresses: Option<Vec<String>>,
    ports: Option<Vec<port::Port>>,
    location: Option<Location>,
    resolution: Option<Resolution>,
    endpoints: Option<Vec<Endpoint>>,
    workload_selector: Option<WorkloadSelector>,
    export_to: Option<Vec<String>>,
    subject_alt_names: Option<Vec<String>>,
}

/// Which pods and workloads, as these kinds write it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WorkloadSelector {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Location {
    MeshExternal,
    MeshInternal,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Resolution {
    #[default]
    None,
    Static,
    Dns,
    DnsRoundRobin,
    DynamicDns,
}

/// Hosts of one object that are read, and endpoints of one.
const MOST_HOSTS: usize = 1000;
const MOST_ENDPOINTS: usize = 10_000;

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "ServiceEntry";
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = VERSIONS;
    const PATH: &'static str = "/apis/networking.istio.io/v1/serviceentries";

    fn selector(&self) -> Option<&Selector> {
        None
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        let resolution = self.resolution(findings);
        let hosts = self.hosts(place, findings);
        let (addresses, networks) = self.addresses(findings);
        let ports = self.ports(findings);
        let endpoints = self.endpoints(resolution, place, findings);
        let selector = self.workload_selector.as_ref();
        let names = self.subject_alt_names.iter().flatten();
        let entry = Entry {
            addresses,
            networks,
            is_internal: self.location == Some(Location::MeshInternal),
            resolution: resolution.into(),
            selector: selector.and_then(|it| it.labels(place)),
            exports: exports(self.export_to.as_ref(), place, findings),
            names: names.map(|name| place.names.text(name)).collect(),
            hosts,
            ports,
            endpoints,
        };
        self.check(&entry, resolution, findings);
        let is_there = !entry.hosts.is_empty() && !entry.ports.is_empty();
        is_there.then(|| (Target::Services, Effect::Entry(Arc::new(entry))))
    }

    fn advise(&self, _: &Place<'_>, findings: &mut Findings) {
        if self.hosts.as_ref().is_none_or(Vec::is_empty) {
            findings.malformed("spec.hosts", "names no host: write one");
        }
        if self.ports.as_ref().is_none_or(Vec::is_empty) {
            findings.malformed("spec.ports", "names no port: write one");
        }
        let selector = self.workload_selector.as_ref();
        if selector.is_some_and(WorkloadSelector::is_empty) {
            let reason = "names no label, so it selects nobody: leave it out, or name one";
            findings.warned("spec.workloadSelector", reason);
        }
    }
}

impl Spec {
    fn hosts(&self, place: &Place<'_>, findings: &mut Findings) -> Vec<Arc<str>> {
        let mut hosts: Vec<Arc<str>> = Vec::new();
        for (index, text) in self.hosts.iter().flatten().enumerate() {
            let at = format!("spec.hosts[{index}]");
            if index == MOST_HOSTS {
                let reason = format!("is more than {MOST_HOSTS} hosts: the rest is left out");
                findings.malformed(at, reason);
                break;
            }
            match Host::read(text, place) {
                Host::Services(HostScope::Host(_) | HostScope::Under(_)) => {
                    let host = place.names.text(text);
                    if hosts.contains(&host) {
                        findings.malformed(at, format!("{text:?} is there twice: write it once"));
                    } else {
                        hosts.push(host);
                    }
                }
                Host::Services(HostScope::All) => {
                    findings.malformed(at, format!("{text:?} is every host: write which"));
                }
                Host::Services(_) | Host::Elsewhere => {
                    let reason = format!(
                        "{text:?} is a name of Services, which the cluster declares itself: it is \
                         left out; write a host with a dot that is none"
                    );
                    findings.warned(at, reason);
                }
                Host::Malformed => {
                    let reason = format!("{text:?} is no host: write a name of DNS in small letters");
                    findings.malformed(at, reason);
                }
            }
        }
        hosts
    }

    fn addresses(&self, findings: &mut Findings) -> (Vec<IpAddr>, Vec<IpNet>) {
        let (mut addresses, mut networks) = (BTreeSet::new(), Vec::new());
        for (index, text) in self.addresses.iter().flatten().enumerate() {
            if let Ok(address) = text.parse::<IpAddr>() {
                addresses.insert(address);
                continue;
            }
            match text.parse::<IpNet>() {
                Ok(network) if network.prefix_len() == network.max_prefix_len() => {
                    addresses.insert(network.addr());
                }
                Ok(network) => networks.push(network.trunc()),
                Err(_) => {
                    let reason = format!("{text:?} is neither an address nor a network (CIDR)");
                    findings.malformed(format!("spec.addresses[{index}]"), reason);
                }
            }
        }
        (addresses.into_iter().collect(), networks)
    }

    fn ports(&self, findings: &mut Findings) -> Vec<EntryPort> {
        let mut ports: Vec<EntryPort> = Vec::new();
        for (index, said) in self.ports.iter().flatten().enumerate() {
            let at = format!("spec.ports[{index}]");
            let Some(port) = said.read(&at, findings) else {
                continue;
            };
            let same = |it: &EntryPort| it.port == port.port || it.name == port.name;
            if ports.iter().any(same) {
                findings.malformed(at, "has the name or number of another: write it once");
                continue;
            }
            ports.push(port);
        }
        ports
    }

    fn endpoints(
        &self,
        resolution: Resolution,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> Vec<EntryEndpoint> {
        let said = self.endpoints.iter().flatten().enumerate();
        let read = said.take(MOST_ENDPOINTS).filter_map(|(index, said)| {
            let at = format!("spec.endpoints[{index}]");
            let endpoint = said.read(&at, place, findings)?;
            if resolution == Resolution::Static && matches!(endpoint.place, EndpointPlace::Name(_)) {
                let reason = "is a name, which STATIC does not look up: write an address, or \
                              resolution: DNS";
                findings.malformed(format!("{at}.address"), reason);
                return None;
            }
            Some(endpoint)
        });
        let read = read.collect();
        if self.endpoints.as_ref().map_or(0, Vec::len) > MOST_ENDPOINTS {
            let reason = format!("has more than {MOST_ENDPOINTS}: the rest is left out");
            findings.malformed("spec.endpoints", reason);
        }
        read
    }

    fn resolution(&self, findings: &mut Findings) -> Resolution {
        let resolution = self.resolution.unwrap_or_default();
        if resolution == Resolution::DynamicDns {
            let reason = "DYNAMIC_DNS is not honoured here: connections go to the address that the \
                          caller asked for, as with NONE; leave it out, or write DNS";
            findings.warned("spec.resolution", reason);
        }
        resolution
    }

    /// What does not go together.
    fn check(&self, entry: &Entry, resolution: Resolution, findings: &mut Findings) {
        use Resolution::{Dns, DnsRoundRobin, DynamicDns, None, Static};

        let has_endpoints = self.endpoints.as_ref().is_some_and(|it| !it.is_empty());
        let has_selector = self.workload_selector.is_some();
        if has_endpoints && has_selector {
            let reason = "cannot be beside workloadSelector: write one of them";
            findings.malformed("spec.endpoints", reason);
        }
        match resolution {
            None | DynamicDns if has_endpoints => findings.malformed(
                "spec.endpoints",
                "are where nothing is resolved: write resolution: STATIC or DNS",
            ),
            Static if !has_endpoints && !has_selector => findings.malformed(
                "spec.endpoints",
                "are missing: with STATIC write them, or workloadSelector",
            ),
            DnsRoundRobin if self.endpoints.as_ref().is_some_and(|it| it.len() > 1) => {
                let reason = "are several, of which DNS_ROUND_ROBIN takes one: write one";
                findings.malformed("spec.endpoints", reason);
            }
            Dns | DnsRoundRobin if has_selector => findings.warned(
                "spec.workloadSelector",
                "is not honoured with names that are looked up: write resolution: STATIC; nobody is \
                 selected",
            ),
            None | DynamicDns | Static | Dns | DnsRoundRobin => {}
        }
        let looks_up_host = matches!(resolution, Dns | DnsRoundRobin) && !has_endpoints;
        for (index, host) in entry.hosts.iter().enumerate() {
            if looks_up_host && host.starts_with('*') {
                let reason = format!("{host:?} cannot be looked up: write spec.endpoints, or NONE");
                findings.malformed(format!("spec.hosts[{index}]"), reason);
            }
        }
        check_reach(entry, resolution, findings);
    }
}

/// What nobody comes to.
fn check_reach(entry: &Entry, resolution: Resolution, findings: &mut Findings) {
    let has_addresses = !entry.addresses.is_empty() || !entry.networks.is_empty();
    if has_addresses && entry.hosts.len() > 1 {
        let reason = "are those of the first host: connections to the others are recognised by their \
                      names, where they go to addresses that are nobody's";
        findings.warned("spec.addresses", reason);
    }
    for (index, port) in entry.ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        if !has_addresses && port.hint.protocol == crate::model::Protocol::Tcp {
            let reason = "speaks TCP, in which nobody names a host, and there are no addresses by which \
                          a connection could be recognised, so this port is reached by nobody: write \
                          spec.addresses";
            findings.warned(&*at, reason);
        }
        let is_kept = matches!(resolution, Resolution::None | Resolution::DynamicDns);
        if is_kept && port.target != port.port {
            let reason = "is not honoured where nothing is resolved: connections keep the port that \
                          the caller asked for";
            findings.warned(format!("{at}.targetPort"), reason);
        }
    }
}

// === impl Resolution ===

impl From<Resolution> for crate::model::Resolution {
    fn from(said: Resolution) -> Self {
        match said {
            Resolution::None | Resolution::DynamicDns => Self::None,
            Resolution::Static => Self::Static,
            Resolution::Dns => Self::Dns,
            Resolution::DnsRoundRobin => Self::DnsRoundRobin,
        }
    }
}

// === impl WorkloadSelector ===

impl WorkloadSelector {
    pub(super) fn is_empty(&self) -> bool {
        self.labels.as_ref().is_none_or(BTreeMap::is_empty)
    }

    /// The labels, if there are any.
    pub(super) fn labels(&self, place: &Place<'_>) -> Option<Labels> {
        let labels = self.labels.as_ref().filter(|it| !it.is_empty());
        labels.map(|labels| texts(labels, place.names))
    }
}

/// Whether a text is a name of DNS.
fn is_name(text: &str) -> bool {
    text.len() <= MOST && text.split('.').all(is_label)
}
