//! Rules about connections that are not looked into.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;

use super::{
    destination::{backend, check_weights, weight},
    is_of_mesh,
    matches::source,
    wire::{RouteDestination, StreamRoute, TcpMatch, TlsMatch},
};
use crate::{
    model::{Backend, SourceMatch, StreamMatch, StreamRule},
    rules::{
        Findings, Place,
        istio::{is_label, refuse},
    },
};

/// What both kinds of matches say.
struct Said<'a> {
    is_honoured: bool,
    gateways: Option<&'a Vec<String>>,
    subnets: Option<&'a Vec<String>>,
    names: Option<&'a Vec<String>>,
    port: Option<u16>,
    namespace: Option<&'a str>,
    labels: Option<&'a BTreeMap<String, String>>,
}

pub(super) fn tls(
    said: &[StreamRoute<TlsMatch>],
    place: &Place<'_>,
    findings: &mut Findings,
) -> Vec<StreamRule> {
    let rules = said.iter().enumerate().filter_map(|(index, it)| {
        let at = format!("spec.tls[{index}]");
        let matches = it.matches.iter().flatten().map(|it| Said {
            is_honoured: true,
            gateways: it.gateways.as_ref(),
            subnets: it.destination_subnets.as_ref(),
            names: Some(it.sni_hosts.as_ref().unwrap_or(const { &Vec::new() })),
            port: it.port,
            namespace: it.source_namespace.as_deref(),
            labels: it.source_labels.as_ref(),
        });
        let matches: Vec<_> = matches.collect();
        if matches.is_empty() {
            let reason = "is missing: name sniHosts, or write tcp for all connections";
            findings.malformed(format!("{at}.match"), reason);
            return None;
        }
        rule(&at, true, &matches, it.route.as_ref(), place, findings)
    });
    rules.collect()
}

pub(super) fn tcp(
    said: &[StreamRoute<TcpMatch>],
    place: &Place<'_>,
    findings: &mut Findings,
) -> Vec<StreamRule> {
    let rules = said.iter().enumerate().filter_map(|(index, it)| {
        let at = format!("spec.tcp[{index}]");
        for (index, it) in it.matches.iter().flatten().enumerate() {
            let at = format!("{at}.match[{index}]");
            let instead = "no connection matches";
            refuse(
                &at,
                &[("sourceSubnet", &it.source_subnet)],
                instead,
                findings,
            );
        }
        let matches = it.matches.iter().flatten().map(|it| Said {
            is_honoured: it.source_subnet.is_none(),
            gateways: it.gateways.as_ref(),
            subnets: it.destination_subnets.as_ref(),
            names: None,
            port: it.port,
            namespace: it.source_namespace.as_deref(),
            labels: it.source_labels.as_ref(),
        });
        let matches: Vec<_> = matches.collect();
        rule(&at, false, &matches, it.route.as_ref(), place, findings)
    });
    rules.collect()
}

/// None: nobody knows what it matches or where that goes, or it is about no connection of sidecars.
fn rule(
    at: &str,
    is_tls: bool,
    said: &[Said<'_>],
    route: Option<&Vec<RouteDestination>>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<StreamRule> {
    let faults = findings.errors();
    let of_sidecars = said.iter().enumerate();
    let of_sidecars = of_sidecars.filter(|(_, it)| it.is_honoured && is_of_mesh(it.gateways));
    let matches: Vec<_> = of_sidecars
        .map(|(index, it)| it.read(&format!("{at}.match[{index}]"), place, findings))
        .collect();
    if matches.is_empty() && !said.is_empty() {
        return None;
    }
    let rule = StreamRule {
        is_tls,
        backends: backends(at, route, place, findings),
        matches,
    };
    (findings.errors() == faults).then_some(rule)
}

fn backends(
    at: &str,
    route: Option<&Vec<RouteDestination>>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Vec<(Backend, u32)> {
    let Some(route) = route.filter(|it| !it.is_empty()) else {
        findings.malformed(format!("{at}.route"), "is missing: write a destination");
        return Vec::new();
    };
    let only = route.len() == 1;
    let weights = route.iter().map(|it| weight(it.weight, only));
    check_weights(&format!("{at}.route"), weights, findings);
    let all = route.iter().enumerate().filter_map(|(index, it)| {
        let at = format!("{at}.route[{index}].destination");
        let backend = backend(&at, it.destination.as_ref(), place, findings)?;
        Some((backend, weight(it.weight, only)))
    });
    all.collect()
}

// === impl Said ===

impl Said<'_> {
    fn read(&self, at: &str, place: &Place<'_>, findings: &mut Findings) -> StreamMatch {
        let said = (self.port, self.namespace, self.labels);
        let source: SourceMatch = source(at, said, place, findings);
        let mut destinations = Vec::new();
        for (index, text) in self.subnets.into_iter().flatten().enumerate() {
            match range(text) {
                Some(range) => destinations.push(range),
                None => findings.malformed(
                    format!("{at}.destinationSubnets[{index}]"),
                    format!("{text:?} is neither an address nor a range of some"),
                ),
            }
        }
        let mut names: Vec<Arc<str>> = Vec::new();
        if self.names.is_some_and(Vec::is_empty) {
            let reason = "is missing: name hosts, or write tcp for all connections";
            findings.malformed(format!("{at}.sniHosts"), reason);
        }
        for (index, text) in self.names.into_iter().flatten().enumerate() {
            let rest = text.strip_prefix("*.").unwrap_or(text);
            if text != "*" && !rest.split('.').all(is_label) {
                let reason = format!("{text:?} is no host: a name, or one that begins with *.");
                findings.malformed(format!("{at}.sniHosts[{index}]"), reason);
            }
            names.push(place.names.text(text));
        }
        StreamMatch {
            source,
            destinations,
            names,
        }
    }
}

fn range(text: &str) -> Option<IpNet> {
    let one = || {
        text.parse()
            .ok()
            .map(|address: std::net::IpAddr| IpNet::from(address))
    };
    text.parse().ok().or_else(one)
}
