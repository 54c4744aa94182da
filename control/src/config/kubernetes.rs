//! Flags of Kubernetes mode: which objects of the cluster are the control plane's.

use std::{path::PathBuf, time::Duration};

use clap::Args;

/// The revision that needs no suffix.
const DEFAULT_REVISION: &str = "default";

/// What a control plane that speaks to a Kubernetes API server has to know.
///
/// Where a name is not given, it has its default; that of a revision other than `default` ends with
/// the revision's name, so that two versions can run side by side. The Secret of the CA is shared by
/// all revisions, because a namespace has one ConfigMap with root certificates for the pods of all.
#[derive(Debug, Clone, Args)]
pub struct Kubernetes {
    /// How to reach the API server. Without it the service account of the pod is used.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the control plane.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        value_name = "NAME",
        default_value = "weir-system"
    )]
    pub namespace: String,

    /// Name of this pod, for Events.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "")]
    pub pod_name: String,

    /// Which of several control planes of a cluster this is: it serves namespaces and pods with this
    /// value of the label weir.dev/rev.
    #[arg(
        long,
        env = "WEIR_REVISION",
        value_name = "NAME",
        default_value = DEFAULT_REVISION
    )]
    pub revision: String,

    /// Service that leads to the webhooks and xDS [default: weir-control]
    #[arg(long, env = "WEIR_SERVICE", value_name = "NAME")]
    pub service: Option<String>,

    /// Secret with the CA and the serving certificate; it is made if there is none.
    #[arg(
        long,
        env = "WEIR_CA_SECRET",
        value_name = "NAME",
        default_value = "weir-ca"
    )]
    pub ca_secret: String,

    /// MutatingWebhookConfiguration whose caBundle is kept right; "" for none
    /// [default: weir-injector]
    #[arg(long, env = "WEIR_MUTATING_WEBHOOK", value_name = "NAME")]
    pub mutating_webhook: Option<String>,

    /// ValidatingWebhookConfiguration whose caBundle is kept right; "" for none
    /// [default: weir-validator]
    #[arg(long, env = "WEIR_VALIDATING_WEBHOOK", value_name = "NAME")]
    pub validating_webhook: Option<String>,

    /// ConfigMap with injector.yaml and mesh.yaml; it is watched [default: weir-config]
    #[arg(long, env = "WEIR_CONFIG_MAP", value_name = "NAME")]
    pub config_map: Option<String>,

    /// Directory with tls.crt, tls.key and ca.crt that somebody else renews, such as cert-manager.
    /// Then no CA is made, and caBundle is for the somebody else to write.
    #[arg(long, env = "WEIR_SERVING_CERT_DIR", value_name = "DIR")]
    pub serving_cert_dir: Option<PathBuf>,

    /// Life of the CA in days. At half of it the next one takes over.
    #[arg(long, env = "WEIR_CA_DAYS", value_name = "DAYS", default_value = "365",
          value_parser = clap::value_parser!(u32).range(7..=36500))]
    pub ca_days: u32,

    /// Life of the serving certificate in days. At half of it a new one is issued.
    #[arg(long, env = "WEIR_SERVING_CERT_DAYS", value_name = "DAYS", default_value = "30",
          value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub serving_cert_days: u32,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Name of the Service.
    #[must_use]
    pub fn service(&self) -> String {
        self.named(self.service.as_deref(), "weir-control")
    }

    /// Name of the MutatingWebhookConfiguration; `None` if there is none to keep right.
    #[must_use]
    pub fn mutating_webhook(&self) -> Option<String> {
        let name = self.named(self.mutating_webhook.as_deref(), "weir-injector");
        (!name.is_empty()).then_some(name)
    }

    /// Name of the ValidatingWebhookConfiguration; `None` if there is none to keep right.
    #[must_use]
    pub fn validating_webhook(&self) -> Option<String> {
        let name = self.named(self.validating_webhook.as_deref(), "weir-validator");
        (!name.is_empty()).then_some(name)
    }

    /// Name of the ConfigMap with the configuration.
    #[must_use]
    pub fn config_map(&self) -> String {
        self.named(self.config_map.as_deref(), "weir-config")
    }

    /// Names by which the Service is reached.
    pub(super) fn service_names(&self, domain: &str) -> Vec<String> {
        let short = format!("{}.{}", self.service(), self.namespace);
        let full = format!("{short}.svc.{domain}");
        vec![format!("{short}.svc"), full, short]
    }

    /// Life of the CA.
    #[must_use]
    pub fn ca_life(&self) -> Duration {
        days(self.ca_days)
    }

    /// Life of a serving certificate.
    #[must_use]
    pub fn serving_life(&self) -> Duration {
        days(self.serving_cert_days)
    }

    fn named(&self, given: Option<&str>, default: &str) -> String {
        match given {
            Some(name) => name.to_owned(),
            None if self.revision == DEFAULT_REVISION => default.to_owned(),
            None => format!("{default}-{}", self.revision),
        }
    }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3600)
}
