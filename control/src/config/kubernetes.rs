//! Flags of Kubernetes mode: which objects of the cluster are the control plane's.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use humantime::format_duration;

use crate::ControlError;

/// Name of the Lease of whoever of several replicas, of all revisions of a namespace, leads.
pub const LEADER_LEASE: &str = "weir-control-leader";

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

    /// Directory with tls.crt, tls.key and ca.crt of a CA of yours, as cert-manager writes them: it
    /// signs in place of one that is made here, and what clients trust is ca.crt. A changed CA takes
    /// over in steps, as one that is made here would.
    #[arg(
        long,
        env = "WEIR_CA_CERT_DIR",
        value_name = "DIR",
        conflicts_with = "serving_cert_dir"
    )]
    pub ca_cert_dir: Option<PathBuf>,

    /// Life of the CA. At half of it the next one takes over.
    #[arg(long, env = "WEIR_CA_LIFE", value_name = "DURATION", default_value = "365days",
          value_parser = humantime::parse_duration)]
    pub ca_life: Duration,

    /// Life of the serving certificate. At half of it a new one is issued.
    #[arg(long, env = "WEIR_SERVING_CERT_LIFE", value_name = "DURATION", default_value = "30days",
          value_parser = humantime::parse_duration)]
    pub serving_cert_life: Duration,
}

/// Shortest life of a serving certificate: it is written and read by way of the API server.
const SHORTEST_LIFE: Duration = Duration::from_secs(40);
/// Longest life of a CA: what dates in certificates can say without doubt.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

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

    /// Checks what no single flag can check.
    pub(super) fn check(&self, workload: Duration) -> Result<(), ControlError> {
        let (ca, serving) = (self.ca_life, self.serving_cert_life);
        let wrong = |reason: String| Err(ControlError::Config(reason));
        if serving < SHORTEST_LIFE {
            let (life, least) = (format_duration(serving), format_duration(SHORTEST_LIFE));
            return wrong(format!("--serving-cert-life {life}: at least {least}"));
        }
        if ca < serving.max(workload) * 4 || ca > LONGEST_LIFE {
            let life = format_duration(ca);
            return wrong(format!(
                "--ca-life {life}: at least four times --serving-cert-life and \
                 --workload-cert-life, at most a century"
            ));
        }
        Ok(())
    }

    fn named(&self, given: Option<&str>, default: &str) -> String {
        match given {
            Some(name) => name.to_owned(),
            None if self.revision == DEFAULT_REVISION => default.to_owned(),
            None => format!("{default}-{}", self.revision),
        }
    }
}
