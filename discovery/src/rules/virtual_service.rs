//! `networking.istio.io` `VirtualService`: what becomes of calls to services.
//!
//! A rule of which it is not known what it matches is dropped, and one that is otherwise malformed fails
//! the requests that match it; a field that is known and not honoured is warned of and left out.

mod answer;
mod cors;
mod destination;
mod fault;
mod http;
mod matches;
mod retries;
mod stream;
mod wire;

use serde::Deserialize;

use super::{
    Findings, Place, RuleKind, RuleObject, Selector,
    istio::{GROUP, Host, VERSIONS, exports},
};
use crate::model::{Effect, Grammar, HostScope, Routing, Target};

/// The object.
pub type VirtualService = RuleObject<Spec>;

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    hosts: Option<Vec<String>>,
    gateways: Option<Vec<String>>,
    http: Option<Vec<wire::HttpRoute>>,
    tls: Option<Vec<wire::StreamRoute<wire::TlsMatch>>>,
    tcp: Option<Vec<wire::StreamRoute<wire::TcpMatch>>>,
    export_to: Option<Vec<String>>,
}

/// Stands for all sidecars where gateways are named.
const MESH: &str = "mesh";
/// Rules of one object that are read; Istio's largest installations have some thousands.
const MOST_RULES: usize = 10_000;

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "VirtualService";
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = VERSIONS;
    const PATH: &'static str = "/apis/networking.istio.io/v1/virtualservices";

    fn selector(&self) -> Option<&Selector> {
        None
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        if !is_of_mesh(self.gateways.as_ref()) {
            return None;
        }
        let hosts = self.hosts(place, findings);
        let is_delegate = self.hosts.as_ref().is_none_or(Vec::is_empty);
        let exports = exports(self.export_to.as_ref(), place, findings);
        let mut all = 0;
        let mut counted = |rules: usize| {
            all += rules;
            all <= MOST_RULES
        };
        let http = self.http.iter().flatten().enumerate();
        let rules = http
            .take_while(|(_, it)| counted(it.matches.as_ref().map_or(1, |it| it.len().max(1))))
            .filter_map(|(index, it)| http::rule(index, it, place, findings))
            .collect();
        let mut streams = stream::tls(self.tls.as_deref().unwrap_or_default(), place, findings);
        streams.extend(stream::tcp(
            self.tcp.as_deref().unwrap_or_default(),
            place,
            findings,
        ));
        if all > MOST_RULES {
            let reason = format!("has more than {MOST_RULES} matches: the rest is left out");
            findings.malformed("spec.http", reason);
        }
        let routing = Routing {
            grammar: Grammar::Istio,
            hosts,
            exports,
            rules,
            streams,
            ..Routing::default()
        };
        let is_about_none = routing.hosts.is_empty() && !is_delegate;
        (!is_about_none).then(|| (Target::Services, Effect::Routing(Box::new(routing))))
    }

    fn advise(&self, _: &Place<'_>, findings: &mut Findings) {
        if !is_of_mesh(self.gateways.as_ref()) {
            let reason = "names gateways only: sidecars do not follow the rule; write mesh beside them \
                          if they should";
            findings.warned("spec.gateways", reason);
        }
        let is_empty = [
            self.http.as_ref().is_none_or(Vec::is_empty),
            self.tls.as_ref().is_none_or(Vec::is_empty),
            self.tcp.as_ref().is_none_or(Vec::is_empty),
        ];
        if is_empty.iter().all(|it| *it) {
            findings.malformed("spec", "has neither http nor tls nor tcp: write a rule");
        }
        if self.hosts.as_ref().is_none_or(Vec::is_empty) {
            let others = [
                ("gateways", self.gateways.is_some()),
                ("tls", self.tls.is_some()),
                ("tcp", self.tcp.is_some()),
            ];
            for (field, _) in others.iter().filter(|(_, is_said)| *is_said) {
                let reason = "cannot be where there are no hosts: one without hosts is delegated to, \
                              and has http alone";
                findings.malformed(format!("spec.{field}"), reason);
            }
        }
    }
}

impl Spec {
    fn hosts(&self, place: &Place<'_>, findings: &mut Findings) -> Vec<HostScope> {
        let mut hosts = Vec::new();
        for (index, text) in self.hosts.iter().flatten().enumerate() {
            let at = format!("spec.hosts[{index}]");
            match Host::read(text, place) {
                Host::Services(host) if hosts.contains(&host) => {
                    findings.malformed(at, format!("{text:?} is there twice: write it once"));
                }
                Host::Services(host) => hosts.push(host),
                Host::Elsewhere => {
                    let reason = format!(
                        "{text:?} is no name of a Service, so sidecars route nothing by it: write NAME, \
                         or NAME.NAMESPACE.svc.{}",
                        place.settings.cluster_domain
                    );
                    findings.warned(at, reason);
                }
                Host::Malformed => {
                    findings.malformed(at, format!("{text:?} is no host: write a Service's name"));
                }
            }
        }
        hosts
    }
}

/// Whether sidecars are among those that are named; all are if nobody is.
fn is_of_mesh(gateways: Option<&Vec<String>>) -> bool {
    gateways.is_none_or(|all| all.is_empty() || all.iter().any(|it| it == MESH))
}
