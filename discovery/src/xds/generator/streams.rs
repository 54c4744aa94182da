//! Connections to services that rules send elsewhere without looking into them.

use std::net::SocketAddr;

use super::{Generator, routed::referrer};
use crate::{
    model::{
        Attachment, Protocol, ResolvedService, ServicePort, Snapshot, StreamMatch, StreamRule,
    },
    xds::{
        View,
        build::{
            routing::NOWHERE,
            streams::{Shares, Streams},
        },
    },
};

impl Generator {
    /// Where connections to an address and a port of a service go.
    pub(super) fn streams(
        &self,
        snapshot: &Snapshot,
        service: &ResolvedService,
        port: &ServicePort,
        destination: SocketAddr,
        view: &View,
    ) -> Streams {
        let mut streams = Streams::default();
        let routings = snapshot.attachments().routings();
        let namespace = view.caller().map(|it| &*it.namespace);
        let Some(attachment) = routings.streams(&service.service, namespace) else {
            return streams;
        };
        let holds = |it: &StreamMatch| {
            it.source.holds(port.port, view.caller()) && it.leads_to(destination.ip())
        };
        let rules = attachment.effect.routing().into_iter();
        let has_names = matches!(port.hint.protocol, Protocol::Tls | Protocol::Auto);
        for rule in rules.flat_map(|it| &it.streams) {
            let shares = || self.shares(snapshot, attachment, rule, port.port, view);
            let mut matches = rule.matches.iter().filter(|it| holds(it));
            if rule.is_tls {
                let names = matches.flat_map(|it| it.names.iter().map(ToString::to_string));
                let names: Vec<_> = names.filter(|_| has_names).collect();
                if !names.is_empty() {
                    streams.push(names.into_iter(), shares());
                }
            } else if streams.rest.is_none()
                && (rule.matches.is_empty() || matches.next().is_some())
            {
                streams.rest = Some(shares());
            }
        }
        streams
    }

    fn shares(
        &self,
        snapshot: &Snapshot,
        attachment: &Attachment,
        rule: &StreamRule,
        asked: u16,
        view: &View,
    ) -> Shares {
        let shares = rule.backends.iter().filter(|(_, weight)| *weight > 0);
        let shares = shares.map(|(backend, weight)| {
            let cluster = referrer(attachment, asked).and_then(|referrer| {
                let (service, port) = backend.place(snapshot, &referrer).ok()?;
                let name = &service.service.name;
                self.cluster_name(snapshot, name, port.port, backend.subset(), view)
            });
            (cluster.unwrap_or_else(|| NOWHERE.to_owned()), *weight)
        });
        shares.collect()
    }
}
