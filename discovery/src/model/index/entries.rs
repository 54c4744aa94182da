//! Services that rules declare, and who stands behind them.

use std::sync::Arc;

use super::Index;
use crate::model::{
    Endpoint, EntryPort, Labels, NamespacedName, Pod, ResolvedService, RuleName, ServiceEntry,
    TlsMode,
};

impl Index {
    /// Has the services that a rule declares, or is part of, resolved again.
    pub(super) fn touch_declared(&mut self, rule: &RuleName) {
        let attachments = &self.current.attachments;
        let Some(attachment) = attachments.get(rule) else {
            return;
        };
        let touched: Vec<_> = if let Some(entry) = attachment.effect.entry() {
            let hosts = entry.hosts.iter();
            hosts
                .map(|host| rule.name.named_like(host))
                .collect()
        } else if let Some(workload) = attachment.effect.workload() {
            self.selecting(&rule.name.namespace, &workload.labels)
        } else {
            return;
        };
        self.dirty.extend(touched);
    }

    /// The same of those that select a pod.
    pub(super) fn touch_selecting(&mut self, pod: &Pod) {
        let touched = self.selecting(&pod.name.namespace, &pod.labels);
        self.dirty.extend(touched);
    }

    /// The services of a namespace that select whoever has these labels.
    fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<NamespacedName> {
        let selecting = self.current.attachments.entries().selecting(namespace);
        let fitting = selecting.filter(|(_, entry)| selects(entry, labels));
        let hosts = fitting.flat_map(|(rule, entry)| {
            let hosts = entry.hosts.iter();
            hosts.map(|host| rule.name.named_like(host))
        });
        hosts.collect()
    }

    /// The service of a host, as the rule that counts declares it.
    pub(super) fn declared(&self, name: &NamespacedName) -> Option<ResolvedService> {
        let attachment = self.current.attachments.entries().of(name)?;
        let entry = attachment.effect.entry()?;
        let service = entry.service(name.clone(), attachment.created)?;
        let workloads = self.workloads(name, entry);
        let endpoints = entry.ports.iter().map(|port| {
            let written = entry.endpoints.iter().chain(workloads.iter().copied());
            let written = written.filter_map(|it| entry.endpoint(port, it));
            let pods = self.pods_behind(name, entry, port);
            written.chain(pods).collect()
        });
        let endpoints = endpoints.collect();
        Some(ResolvedService::declared(Arc::new(service), endpoints))
    }

    /// The workloads that are written down as objects of their own and stand behind.
    fn workloads<'a>(
        &'a self,
        name: &NamespacedName,
        entry: &ServiceEntry,
    ) -> Vec<&'a crate::model::EntryEndpoint> {
        let all = self.current.attachments.entries();
        let all = all.workloads(&name.namespace);
        all.filter(|it| selects(entry, &it.labels)).collect()
    }

    /// The pods that stand behind.
    fn pods_behind(
        &self,
        name: &NamespacedName,
        entry: &ServiceEntry,
        port: &EntryPort,
    ) -> Vec<Endpoint> {
        if entry.selector.is_none() {
            return Vec::new();
        }
        let pods = self.current.pods_by_name.iter().map(|(_, pod)| pod);
        let pods = pods.filter(|pod| pod.name.namespace == name.namespace);
        let pods = pods.filter(|pod| selects(entry, &pod.labels));
        let endpoints = pods.filter_map(|pod| {
            let mode = || self.current.attachments.inbound_tls_of(pod).on(port.target);
            let takes_tls = pod.mutual_tls && mode() != TlsMode::Disable;
            let node = pod.node.as_ref().and_then(|it| self.current.nodes.get(it));
            let locality = node.map(|node| node.locality.clone()).unwrap_or_default();
            entry.endpoint_of_pod(port, pod, takes_tls, locality)
        });
        endpoints.collect()
    }

    /// Keeps the table of hosts in line with a service that was resolved.
    pub(super) fn note_host(&mut self, name: &NamespacedName, service: Option<&ResolvedService>) {
        let is_there = service.is_some_and(|it| it.service.entry.is_some());
        if name.is_host() && is_there != self.current.hosts_named(&name.name).any(|it| it == name) {
            Arc::make_mut(&mut self.current.hosts).note(name, is_there);
        }
    }
}

fn selects(entry: &ServiceEntry, labels: &Labels) -> bool {
    let asked = entry.selector.as_ref();
    asked.is_some_and(|asked| {
        let mut asked = asked.iter();
        asked.all(|(key, value)| labels.get(key) == Some(value))
    })
}
