//! All objects that are looked at.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use weir_api::protocol::Protocol;
use weir_discovery::{
    model::{Hint, Snapshot},
    rules::{KINDS, KnownKind, Settings},
};

use super::codes::{Code, Severity};
use crate::{attached, meshed::Labels, objects::Placed};

/// All objects that are looked at.
pub(super) struct World {
    pub(super) objects: Vec<Placed>,
    pub(super) settings: Settings,
    /// Whether these are what runs, and not only what is to be applied.
    pub(super) is_live: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// Kind, namespace and name.
    pub(super) object: String,
    /// The file it stands in; none: the cluster.
    pub(super) file: Option<String>,
    /// The field, `.` for the whole.
    pub(super) field: String,
    pub(super) message: String,
    /// What to do about it.
    pub(super) remedy: String,
}

/// Pods as they are, or as a workload will make them.
pub(super) struct Pods<'w> {
    pub(super) namespace: &'w str,
    pub(super) labels: Labels,
}

// === impl World ===

impl World {
    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Placed> {
        self.objects.iter().filter(move |it| it.kind() == kind)
    }

    /// Rules, each with its kind.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&'static KnownKind, &Placed)> {
        self.objects.iter().filter_map(|placed| {
            let is = |it: &&KnownKind| (it.kind, it.group) == (placed.kind(), placed.group());
            Some((KINDS.iter().find(is)?, placed))
        })
    }

    /// What the rules mean together.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        let rules = self.rules().map(|(kind, placed)| (kind, &placed.object));
        attached::snapshot(rules, &self.settings)
    }

    /// Everything that makes pods, and pods.
    pub(super) fn pods(&self) -> Vec<Pods<'_>> {
        let all = self.objects.iter().filter_map(|placed| {
            let metadata = match placed.kind() {
                "Pod" => &placed.object["metadata"],
                "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
                    &placed.object["spec"]["template"]["metadata"]
                }
                "CronJob" => &placed.object["spec"]["jobTemplate"]["spec"]["template"]["metadata"],
                _ => return None,
            };
            Some(Pods {
                namespace: placed.namespace(),
                labels: labels(&metadata["labels"]),
            })
        });
        all.collect()
    }

    /// The Service that a host names for an object of that namespace: `web`, `web.shop`,
    /// `web.shop.svc`, `web.shop.svc.cluster.local`. None: it names no Service.
    pub(super) fn service_of(&self, host: &str, namespace: &str) -> Option<(String, String)> {
        if host.contains('*') || host.parse::<std::net::IpAddr>().is_ok() {
            return None;
        }
        let mut parts = host.splitn(3, '.');
        let (name, of, rest) = (parts.next()?, parts.next(), parts.next());
        let domain = format!("svc.{}", self.settings.cluster_domain);
        match (of, rest) {
            (None, _) => Some((namespace.to_owned(), name.to_owned())),
            (Some(of), None) if self.is_namespace(of) => Some((of.to_owned(), name.to_owned())),
            (Some(of), Some(rest)) if rest == "svc" || rest == domain => {
                Some((of.to_owned(), name.to_owned()))
            }
            _ => None,
        }
    }

    /// Whether somebody uses that namespace.
    fn is_namespace(&self, name: &str) -> bool {
        let named = |it: &&Placed| it.kind() == "Namespace" && it.name() == name;
        let within = |it: &&Placed| it.object["metadata"]["namespace"] == name;
        self.objects.iter().any(|it| named(&it) || within(&it))
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Placed> {
        self.of_kind("Service")
            .find(|it| it.namespace() == namespace && it.name() == name)
    }

    /// Whether a ServiceEntry has the host.
    pub(super) fn is_external(&self, host: &str) -> bool {
        let mut entries = self.of_kind("ServiceEntry");
        entries.any(|it| {
            let mut hosts = list(&it.object["spec"]["hosts"])
                .iter()
                .filter_map(Value::as_str);
            hosts.any(|known| match known.strip_prefix('*') {
                Some(end) => host.ends_with(end),
                None => host == known,
            })
        })
    }
}

// === impl Finding ===

impl Finding {
    pub(super) fn new(
        code: Code,
        placed: &Placed,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code: code.code,
            name: code.name,
            severity: code.severity,
            object: described(placed),
            file: placed.file.as_ref().map(|file| file.display().to_string()),
            field: field.into(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

// === impl Pods ===

impl Pods<'_> {
    /// Whether they have all these labels.
    pub(super) fn have(&self, labels: &Labels) -> bool {
        let mut labels = labels.iter();
        labels.all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// Kind, namespace and name, as far as there are any.
pub(super) fn described(placed: &Placed) -> String {
    const OF_CLUSTER: [&str; 2] = ["Namespace", "MutatingWebhookConfiguration"];
    match OF_CLUSTER.contains(&placed.kind()) {
        true => format!("{} {}", placed.kind(), placed.name()),
        false => format!("{} {}/{}", placed.kind(), placed.namespace(), placed.name()),
    }
}

pub(super) fn labels(value: &Value) -> Labels {
    serde_json::from_value::<Option<BTreeMap<String, String>>>(value.clone())
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// The items of a list; none where it is none.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What a port of a Service speaks, as far as it says.
pub(super) fn protocol(port: &Value) -> Protocol {
    let text = |field: &str| port[field].as_str();
    let number = port["port"].as_u64().and_then(|it| u16::try_from(it).ok());
    Hint::of(
        text("appProtocol"),
        text("name"),
        number.unwrap_or_default(),
    )
    .protocol
}

/// Whether requests of HTTP can be seen there.
pub(super) fn may_be_http(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http | Protocol::Http2 | Protocol::Auto)
}
