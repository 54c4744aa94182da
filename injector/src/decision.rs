//! Whether a pod gets a sidecar, and why.

use std::{borrow::Cow, fmt};

use serde_json::Value;
use weir_api::{annotations, sidecar};

use crate::{
    Config, Place, WrongType,
    config::{Policy, SidecarKind},
    place::DEFAULT_REVISION,
    pod::Pod,
    settings,
};

/// Names of containers that other meshes put into pods.
const OTHER_MESHES: [&str; 7] = [
    "istio-proxy",
    "istio-init",
    "linkerd-proxy",
    "linkerd-init",
    "kuma-sidecar",
    "kuma-init",
    "consul-dataplane",
];
/// Label of a namespace by which Istio is switched on and off.
const ISTIO_INJECTION: &str = "istio-injection";
/// Label of a pod, or annotation, by which Istio is.
const ISTIO_INJECT: &str = "sidecar.istio.io/inject";

/// What is decided about a pod, and why. The order of the variants is the order in which they are
/// asked; the first that applies decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// No: the pod uses the node's network, and capturing that would capture the node's traffic.
    HostNetwork,
    /// No: the pod can only run on Windows, which has no iptables.
    Windows,
    /// No: the pod mirrors a static pod of a kubelet, which would see a change and remake it.
    MirrorPod,
    /// No: the namespace is the cluster's own, or Weir's.
    SystemNamespace,
    /// No: another mesh's sidecar is in the pod, and would capture the same traffic.
    OtherMesh,
    /// No: the namespace's label says `disabled`.
    NamespaceDisabled,
    /// No: the pod or its namespace belongs to another revision of the control plane.
    OtherRevision,
    /// Yes: the pod's label says `"true"`.
    LabelTrue,
    /// No: the pod's label says `"false"`.
    LabelFalse,
    /// Yes: the pod's annotation says `"true"`.
    AnnotationTrue,
    /// No: the pod's annotation says `"false"`.
    AnnotationFalse,
    /// Yes: the pod's Istio label or annotation says `"true"`, and those are honoured.
    IstioTrue,
    /// No: it says `"false"`.
    IstioFalse,
    /// No: a selector of `neverInject` matches.
    NeverSelector,
    /// No: a Job's pod would never end beside a classic sidecar.
    JobWithClassicSidecar,
    /// Yes: a selector of `alwaysInject` matches.
    AlwaysSelector,
    /// Yes: the policy is `enabled`.
    PolicyEnabled,
    /// No: the policy is `disabled`.
    PolicyDisabled,
}

/// Decides about a pod. `place` is where it goes; the name of a namespace will do.
///
/// # Errors
/// A field is not of the type Kubernetes gives it.
pub fn decide<'a>(
    pod: &Value,
    place: impl Into<Place<'a>>,
    config: &Config,
) -> Result<Decision, WrongType> {
    Ok(decide_pod(&Pod::read(pod)?, place.into(), config))
}

/// [`decide`], for a pod that was read already.
pub(crate) fn decide_pod(pod: &Pod<'_>, place: Place<'_>, config: &Config) -> Decision {
    if pod.host_network {
        return Decision::HostNetwork;
    }
    if pod.only_windows {
        return Decision::Windows;
    }
    if pod.annotations.contains_key("kubernetes.io/config.mirror") {
        return Decision::MirrorPod;
    }
    if config
        .system_namespaces
        .iter()
        .any(|system| system == place.namespace)
    {
        return Decision::SystemNamespace;
    }
    let mut containers = pod.containers.iter().chain(&pod.init_containers);
    if containers.any(|container| OTHER_MESHES.contains(&container.name)) {
        return Decision::OtherMesh;
    }
    if is_disabled(place, config) {
        return Decision::NamespaceDisabled;
    }
    if is_of_another_revision(pod, place) {
        return Decision::OtherRevision;
    }
    let istio = || config.istio_labels.then(|| asked_of_istio(pod)).flatten();
    let asked = asked(pod).or_else(istio);
    asked.unwrap_or_else(|| configured(pod, place, config))
}

fn is_disabled(place: Place<'_>, config: &Config) -> bool {
    if place.is_selected {
        return false;
    }
    match place.label(annotations::NAMESPACE_INJECTION) {
        Some("disabled") => true,
        Some("enabled") => false,
        _ => config.istio_labels && place.label(ISTIO_INJECTION) == Some("disabled"),
    }
}

/// A pod's own label goes before its namespace's.
fn is_of_another_revision(pod: &Pod<'_>, place: Place<'_>) -> bool {
    let Some(cluster) = place.cluster else {
        return false;
    };
    let own = pod.labels.get(annotations::REVISION).copied();
    let namespaces = || {
        let default = || place.about.map(|_| DEFAULT_REVISION);
        let named = place.label(annotations::REVISION).or_else(default);
        named.filter(|_| !place.is_selected)
    };
    let revision = own.or_else(namespaces);
    revision.is_some_and(|revision| revision != cluster.revision)
}

fn asked_of_istio(pod: &Pod<'_>) -> Option<Decision> {
    let label = pod.labels.get(ISTIO_INJECT);
    match *label.or_else(|| pod.annotations.get(ISTIO_INJECT))? {
        "true" => Some(Decision::IstioTrue),
        "false" => Some(Decision::IstioFalse),
        _ => None,
    }
}

/// What the pod says itself. A label replaces the annotation of the same name; a value that is
/// neither `true` nor `false` counts as absent.
fn asked(pod: &Pod<'_>) -> Option<Decision> {
    if let Some(label) = pod.labels.get(annotations::INJECT) {
        return match *label {
            "true" => Some(Decision::LabelTrue),
            "false" => Some(Decision::LabelFalse),
            _ => None,
        };
    }
    match *pod.annotations.get(annotations::INJECT)? {
        "true" => Some(Decision::AnnotationTrue),
        "false" => Some(Decision::AnnotationFalse),
        _ => None,
    }
}

/// What the administrator says of pods that do not say it themselves.
fn configured(pod: &Pod<'_>, place: Place<'_>, config: &Config) -> Decision {
    if config
        .never_inject
        .iter()
        .any(|selector| selector.matches(&pod.labels))
    {
        return Decision::NeverSelector;
    }
    let is_job = pod
        .owner
        .as_ref()
        .is_some_and(|owner| ["Job", "CronJob"].contains(&owner.kind));
    if is_job && settings::sidecar_kind(pod, place, config) == SidecarKind::Classic {
        return Decision::JobWithClassicSidecar;
    }
    if config
        .always_inject
        .iter()
        .any(|selector| selector.matches(&pod.labels))
    {
        return Decision::AlwaysSelector;
    }
    match config.policy {
        Policy::Enabled => Decision::PolicyEnabled,
        Policy::Disabled => Decision::PolicyDisabled,
    }
}

// === impl Decision ===

impl Decision {
    /// Every decision there is, in the order in which they are asked.
    pub const ALL: [Self; 18] = [
        Self::HostNetwork,
        Self::Windows,
        Self::MirrorPod,
        Self::SystemNamespace,
        Self::OtherMesh,
        Self::NamespaceDisabled,
        Self::OtherRevision,
        Self::LabelTrue,
        Self::LabelFalse,
        Self::AnnotationTrue,
        Self::AnnotationFalse,
        Self::IstioTrue,
        Self::IstioFalse,
        Self::NeverSelector,
        Self::JobWithClassicSidecar,
        Self::AlwaysSelector,
        Self::PolicyEnabled,
        Self::PolicyDisabled,
    ];

    /// Whether the pod gets a sidecar.
    #[must_use]
    pub fn injects(self) -> bool {
        matches!(
            self,
            Self::LabelTrue
                | Self::AnnotationTrue
                | Self::IstioTrue
                | Self::AlwaysSelector
                | Self::PolicyEnabled
        )
    }

    /// One word for metric labels and events.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::HostNetwork => "host_network",
            Self::Windows => "windows",
            Self::MirrorPod => "mirror_pod",
            Self::SystemNamespace => "system_namespace",
            Self::OtherMesh => "other_mesh",
            Self::NamespaceDisabled => "namespace_disabled",
            Self::OtherRevision => "other_revision",
            Self::LabelTrue => "label_true",
            Self::LabelFalse => "label_false",
            Self::AnnotationTrue => "annotation_true",
            Self::AnnotationFalse => "annotation_false",
            Self::IstioTrue => "istio_true",
            Self::IstioFalse => "istio_false",
            Self::NeverSelector => "never_selector",
            Self::JobWithClassicSidecar => "job_with_classic_sidecar",
            Self::AlwaysSelector => "always_selector",
            Self::PolicyEnabled => "policy_enabled",
            Self::PolicyDisabled => "policy_disabled",
        }
    }
}

impl fmt::Display for Decision {
    /// The reason, to be read after "injected: " or "not injected: ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inject = annotations::INJECT;
        let reason: Cow<'_, str> = match self {
            Self::HostNetwork => "the pod uses the node's network (hostNetwork: true)".into(),
            Self::Windows => {
                "only nodes with Windows will do for it (spec.os, nodeSelector or required \
                 node affinity)"
                    .into()
            }
            Self::MirrorPod => "the pod mirrors a static pod of a kubelet".into(),
            Self::SystemNamespace => "pods of this system namespace never are".into(),
            Self::OtherMesh => {
                "it has the sidecar of another mesh, which captures the same traffic".into()
            }
            Self::NamespaceDisabled => "a label of the namespace says \"disabled\"".into(),
            Self::OtherRevision => {
                let label = annotations::REVISION;
                format!("it is for another revision ({label} of the pod or its namespace)").into()
            }
            Self::LabelTrue => format!("its label {inject} is \"true\"").into(),
            Self::LabelFalse => format!("its label {inject} is \"false\"").into(),
            Self::AnnotationTrue => format!("its annotation {inject} is \"true\"").into(),
            Self::AnnotationFalse => format!("its annotation {inject} is \"false\"").into(),
            Self::IstioTrue => format!("its {ISTIO_INJECT} is \"true\"").into(),
            Self::IstioFalse => format!("its {ISTIO_INJECT} is \"false\"").into(),
            Self::NeverSelector => "a neverInject selector matches its labels".into(),
            Self::JobWithClassicSidecar => format!(
                "the pod of a Job would never end beside a classic {}; label it {inject}: \
                 \"true\" to have it all the same",
                sidecar::PROXY_CONTAINER
            )
            .into(),
            Self::AlwaysSelector => "an alwaysInject selector matches its labels".into(),
            Self::PolicyEnabled => "the policy is enabled".into(),
            Self::PolicyDisabled => "the policy is disabled".into(),
        };
        f.write_str(&reason)
    }
}

#[cfg(test)]
mod tests;
