//! Who called whom, and how that ended, as Istio's labels say it.
//!
//! <https://istio.io/latest/docs/reference/config/metrics/#labels>

use weir_api::{
    mesh_metrics::Label,
    names::{BLACK_HOLE_CLUSTER, INBOUND_PASSTHROUGH_CLUSTER, PASSTHROUGH_CLUSTER},
    workload::Workload,
};

use super::{
    Settings,
    key::{Kept, Protocol, Security, Side},
};

/// What stands for what is not known, and for what found no room.
const UNKNOWN: &str = "unknown";
const OVERFLOW: &str = "overflow";

/// Clusters that are no service's.
const OWN_CLUSTERS: [&str; 3] = [
    PASSTHROUGH_CLUSTER,
    INBOUND_PASSTHROUGH_CLUSTER,
    BLACK_HOLE_CLUSTER,
];

/// The labels of a series, as they are written.
pub(super) fn of(settings: &Settings, key: &Kept) -> String {
    let own = (Some(&settings.own), key.own_principal.as_deref());
    let peer = (key.workload.as_ref(), key.principal.as_deref());
    let (source, destination) = match key.side {
        Side::Source => (own, peer),
        Side::Destination => (peer, own),
    };
    let service = Service::of(&key.service, destination.0);
    let (code, grpc) = (
        key.kind.response_code.to_string(),
        key.kind.grpc_status.map(|status| status.code().to_string()),
    );
    let text_of = |workload: Option<&Workload>, what: fn(&Workload) -> &str| {
        let said = workload.map(what).filter(|said| !said.is_empty());
        said.unwrap_or(UNKNOWN).to_owned()
    };
    let cluster = |end: Option<&Workload>| match end {
        Some(_) => settings.cluster.clone(),
        None => UNKNOWN.to_owned(),
    };
    let principal = |principal: Option<&str>| principal.unwrap_or(UNKNOWN).to_owned();
    let values: [String; 23] = [
        key.side.name().to_owned(),
        text_of(source.0, |it| &it.name),
        text_of(source.0, |it| &it.canonical_service),
        text_of(source.0, |it| &it.canonical_revision),
        text_of(source.0, |it| &it.namespace),
        principal(source.1),
        text_of(source.0, |it| &it.app),
        text_of(source.0, |it| &it.version),
        cluster(source.0),
        text_of(destination.0, |it| &it.name),
        text_of(destination.0, |it| &it.namespace),
        principal(destination.1),
        text_of(destination.0, |it| &it.app),
        text_of(destination.0, |it| &it.version),
        service.host.to_owned(),
        text_of(destination.0, |it| &it.canonical_service),
        text_of(destination.0, |it| &it.canonical_revision),
        service.name.to_owned(),
        service.namespace.to_owned(),
        cluster(destination.0),
        key.kind.protocol.name().to_owned(),
        flags(key.kind.flags),
        key.security.name().to_owned(),
    ];
    let mut text = String::new();
    let of_requests = [code.as_str(), grpc.as_deref().unwrap_or_default()];
    let of_requests = of_requests
        .into_iter()
        .filter(|_| key.kind.protocol != Protocol::Tcp);
    let values = values.iter().map(String::as_str).chain(of_requests);
    for (name, value) in Label::ALL.into_iter().zip(values) {
        if !settings.without.contains(&name) {
            label(&mut text, name.name(), value);
        }
    }
    text
}

/// The labels of what found no room.
pub(super) fn overflow(settings: &Settings, is_http: bool) -> String {
    let mut text = String::new();
    let is_left_out =
        |name: &Label| name.is_of_requests() && !is_http || settings.without.contains(name);
    for name in Label::ALL.into_iter().filter(|name| !is_left_out(name)) {
        label(&mut text, name.name(), OVERFLOW);
    }
    text
}

/// Response flags in Envoy's order, `-` without any.
fn flags(flags: [&'static str; 3]) -> String {
    let said: Vec<_> = flags.into_iter().filter(|flag| !flag.is_empty()).collect();
    match said.as_slice() {
        [] => "-".to_owned(),
        some => some.join(","),
    }
}

/// What a call was for.
struct Service<'a> {
    host: &'a str,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Service<'a> {
    /// A host of Kubernetes says name and namespace; anything else is a name and has the namespace of
    /// whoever serves it.
    fn of(host: &'a str, destination: Option<&'a Workload>) -> Self {
        let namespace = || destination.map_or(UNKNOWN, |workload| &*workload.namespace);
        let parts = host
            .split_once(".svc.")
            .and_then(|(name, _)| name.rsplit_once('.'));
        match parts {
            // One pod of a headless service is called by its own name, which has its address in it.
            Some((name, namespace)) => match name.rsplit_once('.') {
                Some((pod, name)) => Self {
                    host: &host[pod.len() + 1..],
                    name,
                    namespace,
                },
                None => Self {
                    host,
                    name,
                    namespace,
                },
            },
            _ if host.is_empty() => Self {
                host: UNKNOWN,
                name: UNKNOWN,
                namespace: namespace(),
            },
            _ if OWN_CLUSTERS.contains(&host) => Self {
                host: UNKNOWN,
                name: host,
                namespace: namespace(),
            },
            _ => Self {
                host,
                name: host,
                namespace: namespace(),
            },
        }
    }
}

/// Appends `name="value"`.
fn label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.extend([name, "=\""]);
    for part in value.chars() {
        match part {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str(r#"\""#),
            '\n' => text.push_str(r"\n"),
            other => text.push(other),
        }
    }
    text.push('"');
}

// === impl Side ===

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl Security {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => UNKNOWN,
            Self::None => "none",
            Self::MutualTls => "mutual_tls",
        }
    }
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}
