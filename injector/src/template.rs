//! What is added to a pod: the init container, the sidecar, their volumes.

use serde_json::{Map, Value, json};
use weir_api::{
    annotations,
    capture::CaptureMode,
    identity, ports,
    sidecar::{self, INIT_CONTAINER, PROXY_CONTAINER},
};

use crate::{
    Config,
    config::SidecarKind,
    pod::{Pod, Quantities},
    settings::Settings,
};

mod env;
mod volumes;
mod workload;

pub(crate) use volumes::VolumeNames;

/// Name of the port that serves the sidecar's statistics; at most 15 bytes.
const PROMETHEUS_PORT: &str = "weir-prom";

/// Everything that goes into one pod.
pub(crate) struct Template {
    /// The init container that programs iptables, unless nothing is captured.
    pub(crate) init: Option<Value>,
    pub(crate) proxy: Value,
    pub(crate) volumes: Vec<Value>,
    /// Annotations beside those that every pod gets, unless the pod has them.
    pub(crate) annotations: Vec<(&'static str, &'static str)>,
}

// === impl Template ===

impl Template {
    pub(crate) fn new(
        pod: &Pod<'_>,
        settings: &Settings,
        volumes: &VolumeNames,
        config: &Config,
    ) -> Self {
        let captures = settings.capture.mode != CaptureMode::None;
        Self {
            init: captures.then(|| init_container(pod, settings, config)),
            proxy: proxy_container(pod, settings, volumes, config),
            volumes: volumes.volumes(),
            annotations: match settings.mutual_tls {
                true => vec![(annotations::TLS_MODE, annotations::TLS_MODE_MUTUAL)],
                false => Vec::new(),
            },
        }
    }
}

fn init_container(pod: &Pod<'_>, settings: &Settings, config: &Config) -> Value {
    let args = [vec!["capture".to_owned()], settings.capture.to_args()].concat();
    // iptables-nft needs NET_ADMIN and nothing else; the legacy one opens a raw socket too. Its lock
    // file goes to /dev/shm, since the root file system is read-only.
    let capabilities: &[&str] = match config.legacy_iptables {
        true => &["NET_ADMIN", "NET_RAW"],
        false => &["NET_ADMIN"],
    };
    let mut container = common(INIT_CONTAINER, settings, config);
    // The sidecar's requests need not fit below limits that the pod's author gave this container.
    let own = pod
        .init_containers
        .iter()
        .find(|container| container.name == INIT_CONTAINER);
    if own.is_some_and(|own| !own.requests.is_empty() || !own.limits.is_empty()) {
        container.remove("resources");
    }
    container.extend(object(json!({
        "args": args,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"add": capabilities, "drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": 0,
            // Said, because the pod's own security context may forbid root.
            "runAsNonRoot": false,
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })));
    container.into()
}

fn proxy_container(
    pod: &Pod<'_>,
    settings: &Settings,
    volumes: &VolumeNames,
    config: &Config,
) -> Value {
    let ready = json!({"path": sidecar::READY_PATH, "port": ports::READINESS});
    let mut container = common(PROXY_CONTAINER, settings, config);
    container.extend(object(json!({
        "args": ["run"],
        "env": env::variables(pod, settings, config),
        "ports": [{"name": PROMETHEUS_PORT, "containerPort": ports::PROMETHEUS, "protocol": "TCP"}],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": identity::PROXY_GID,
            // A container of the pod's own may ask for root.
            "runAsNonRoot": settings.own_user != Some(0),
            "runAsUser": settings.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "readinessProbe": {
            "httpGet": ready, "periodSeconds": 15, "timeoutSeconds": 3, "failureThreshold": 4,
        },
        "volumeMounts": volumes.mounts(),
    })));
    // The kubelet starts the next container when this has returned. It returns as soon as the sidecar
    // is ready; a probe would look once, too early, and then a second later.
    container.insert(
        "lifecycle".to_owned(),
        json!({"postStart": {"exec": {"command": ["weir-agent", "wait"]}}}),
    );
    if settings.sidecar == SidecarKind::Native {
        container.insert("restartPolicy".to_owned(), "Always".into());
        // A hook of the author's own leaves no room for ours, so a probe has to do.
        if settings.own_hook {
            let probe = json!({
                "httpGet": ready, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 600,
            });
            container.insert("startupProbe".to_owned(), probe);
        }
    }
    container.into()
}

/// What both containers have alike.
fn common(name: &str, settings: &Settings, config: &Config) -> Map<String, Value> {
    let mut container = object(json!({"name": name, "image": settings.image}));
    if let Some(policy) = config.image_pull_policy {
        container.insert("imagePullPolicy".to_owned(), json!(policy));
    }
    let resources = [
        ("requests", &settings.requests),
        ("limits", &settings.limits),
    ];
    let resources: Map<_, _> = resources
        .into_iter()
        .filter_map(|(key, quantities)| Some((key.to_owned(), quantities_json(quantities)?)))
        .collect();
    if !resources.is_empty() {
        container.insert("resources".to_owned(), resources.into());
    }
    container
}

fn quantities_json(quantities: &Quantities) -> Option<Value> {
    let pairs = [("cpu", &quantities.cpu), ("memory", &quantities.memory)];
    let set: Map<_, _> = pairs
        .into_iter()
        .filter_map(|(key, quantity)| Some((key.to_owned(), quantity.clone()?.into())))
        .collect();
    (!set.is_empty()).then(|| set.into())
}

/// The members of a literal object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
