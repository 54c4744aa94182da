//! [`Config`]: what an administrator sets for all pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_api::{
    flows,
    mesh_metrics::{Label, MeshMetrics},
    sidecar,
    spiffe::TrustDomain,
};

use crate::{
    selector::LabelSelector,
    settings::{self, BadAnnotation},
};

/// Namespaces whose pods are never injected: the cluster's own, and Weir's.
pub const SYSTEM_NAMESPACES: [&str; 5] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
    "weir-system",
];

/// Configuration of the injector, the same for all pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What happens to a pod that nothing else decides about.
    pub policy: Policy,
    /// Namespaces whose pods are never injected, whatever they say.
    pub system_namespaces: Vec<String>,
    /// Pods that match one of these are not injected, unless their own label or annotation says so.
    pub never_inject: Vec<LabelSelector>,
    /// Pods that match one of these are injected, unless `never_inject` matches as well.
    pub always_inject: Vec<LabelSelector>,
    /// Image of the sidecar and of its init container.
    pub image: String,
    /// Images besides that one, and other versions of it, that a pod's author may choose for our
    /// containers, there with a command of their own: `registry/weir:next`, or `registry/weir` for
    /// all of its versions.
    pub allowed_images: Vec<String>,
    /// When the kubelet pulls the image; the kubelet's own default if absent.
    pub image_pull_policy: Option<PullPolicy>,
    /// Whether there are nodes whose kernels know iptables-legacy only. The init container then gets
    /// NET_RAW beside NET_ADMIN, which that one needs.
    pub legacy_iptables: bool,
    /// Whether the label `sidecar.istio.io/inject` of a pod, or its annotation, counts where Weir's
    /// own says nothing, and the label `istio-injection: disabled` of a namespace.
    pub istio_labels: bool,
    /// How the sidecar is placed in a pod that does not say so itself.
    pub sidecar: SidecarMode,
    /// Whether sidecars count who calls whom, and under which names.
    pub mesh_metrics: MeshMetrics,
    /// Labels that those do without.
    pub mesh_metrics_without: Vec<Label>,
    /// How long sidecars remember who did what at their pods, minutes; 0: not at all.
    pub flow_minutes: u16,
    /// `host:port` of the control plane's xDS over TLS.
    pub control_plane: String,
    /// Domain of the cluster.
    pub cluster_domain: String,
    /// Trust domain of the mesh.
    pub trust_domain: TrustDomain,
    /// Annotations a pod is taken to carry unless it carries them itself, such as
    /// `weir.dev/exclude-outbound-ports: "3306"`.
    pub default_annotations: BTreeMap<String, String>,
}

/// What happens to a pod that neither its label, its annotation nor a selector decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It is injected.
    Enabled,
    /// It is left alone.
    Disabled,
}

/// How sidecars are placed in pods that do not say so themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SidecarMode {
    /// Native, unless the control plane knows of a kubelet that is too old. Where it knows of none
    /// this is native as well: every Kubernetes since 1.29 has it.
    Auto,
    /// Native, whatever the kubelets are.
    Native,
    /// Classic, whatever the kubelets are.
    Classic,
}

/// How a sidecar is placed in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SidecarKind {
    /// An init container with `restartPolicy: Always`: starts before the application's init
    /// containers, ends after its containers. Kubelets from 1.29 know it (1.33 made it stable).
    Native,
    /// The first of the containers, for kubelets older than that.
    Classic,
}

/// `imagePullPolicy` of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// At every start of a container.
    Always,
    /// Where the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It does not parse; the message names the field.
    #[error("injector configuration: {path}: {reason}")]
    Syntax {
        /// Where in the configuration.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// A default annotation would be refused on a pod.
    #[error("injector configuration: defaultAnnotations: {}", settings::join(.0))]
    DefaultAnnotations(Vec<BadAnnotation>),
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::Enabled,
            system_namespaces: SYSTEM_NAMESPACES.map(str::to_owned).to_vec(),
            never_inject: Vec::new(),
            always_inject: Vec::new(),
            image: sidecar::DEFAULT_IMAGE.to_owned(),
            allowed_images: Vec::new(),
            image_pull_policy: None,
            legacy_iptables: false,
            istio_labels: false,
            sidecar: SidecarMode::Auto,
            mesh_metrics: MeshMetrics::default(),
            mesh_metrics_without: Vec::new(),
            flow_minutes: flows::DEFAULT_MINUTES,
            control_plane: sidecar::DEFAULT_CONTROL_PLANE.to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            trust_domain: TrustDomain::default(),
            default_annotations: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads a configuration from a deserializer such as `serde_json`'s or `yaml_serde`'s. Unknown
    /// fields and default annotations that would be refused on a pod are errors.
    pub fn read<'de, D>(deserializer: D) -> Result<Self, ConfigError>
    where
        D: serde::Deserializer<'de>,
    {
        let config: Self = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            ConfigError::Syntax {
                path: error.path().to_string(),
                reason: error.inner().to_string(),
            }
        })?;
        config.check()?;
        Ok(config)
    }

    /// Whether a pod's author may choose this image for our containers.
    pub(crate) fn allows_image(&self, image: &str) -> bool {
        repository(image) == repository(&self.image) || self.lists_image(image)
    }

    /// Whether the administrator lists this image.
    pub(crate) fn lists_image(&self, image: &str) -> bool {
        let mut listed = self.allowed_images.iter();
        listed.any(|listed| listed == image || listed == repository(image))
    }

    /// Whether the default annotations are ones a pod may carry.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bad = settings::check_defaults(&self.default_annotations);
        if bad.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::DefaultAnnotations(bad))
        }
    }
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // What follows the port of a registry is a path.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(&mut serde_json::Deserializer::from_str(text))
    }

    #[test]
    fn an_empty_configuration_is_the_default() {
        assert_eq!(read("{}").expect("config"), Config::default());
    }

    #[test]
    fn an_image_is_allowed_by_its_repository_or_where_it_is_listed() {
        let config = Config {
            image: "registry:5000/mesh/weir:1@sha256:00".to_owned(),
            allowed_images: ["other/weir:2", "registry:5000/all"]
                .map(str::to_owned)
                .into(),
            ..Config::default()
        };
        for (image, allowed, listed) in [
            ("registry:5000/mesh/weir:1@sha256:00", true, false),
            ("registry:5000/mesh/weir:0.9", true, false),
            ("registry:5000/mesh/weir", true, false),
            ("registry:5000/mesh/weir2:1", false, false),
            ("registry:5000/mesh", false, false),
            ("registry", false, false),
            ("mesh/weir:1", false, false),
            ("other/weir:2", true, true),
            ("other/weir:3", false, false),
            ("registry:5000/all:7@sha256:01", true, true),
            ("evil/registry:5000/all:7", false, false),
            ("", false, false),
        ] {
            assert_eq!(config.allows_image(image), allowed, "{image}");
            assert_eq!(config.lists_image(image), listed, "{image}");
        }
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        let error = read(r#"{"polciy":"enabled"}"#).expect_err("refused");
        assert!(error.to_string().contains("polciy"), "{error}");
        let error = read(r#"{"neverInject":[{"matchLabel":{}}]}"#).expect_err("refused");
        assert!(error.to_string().contains("neverInject[0]"), "{error}");
    }

    #[test]
    fn a_default_annotation_that_no_pod_may_carry_is_refused() {
        for (annotation, value) in [
            ("weir.dev/exclude-outbound-ports", "web"),
            ("weir.dev/capture-mode", "tproxy"),
            ("weir.dev/concurrency", "0"),
            ("weir.dev/exclude-outbound-port", "80"),
            ("weir.dev/inject", "true"),
        ] {
            let text = serde_json::json!({ "defaultAnnotations": { annotation: value } });
            let error = read(&text.to_string()).expect_err(annotation).to_string();
            assert!(error.contains(annotation), "{error}");
        }
    }
}
