//! The control plane of a playground: `weir-control` in a pod of its own, behind a Service, fed by
//! the live objects; and its webhook as the API server knows it.

use std::{fs, net::SocketAddr, time::Duration};

use super::Playground;
use crate::{
    cluster::{PodKey, admission::Webhook, cluster_ip},
    container::rootfs::Mount,
    error::{Error, Result},
    manifest,
};

/// Namespace, Service and Deployment of the control plane.
const MANIFESTS: &str = include_str!("control.yaml");
/// Name of the control plane's Service, and of its namespace.
const SERVICE: (&str, &str) = ("weir-control", "weir-system");
/// Port of the webhook at the Service, and its path.
const WEBHOOK: (u16, &str) = (443, "/inject");
/// File of the certificate directory that clients trust.
const ROOT_CERTIFICATE: &str = "root-cert.pem";
/// How long the control plane gets to come up.
const LIMIT: Duration = Duration::from_secs(30);

impl Playground {
    /// Starts the control plane and waits until its webhook answers. From then on every namespace
    /// has the `ConfigMap` with its root certificate.
    ///
    /// # Errors
    /// If `weir-control` is missing or does not come up.
    pub async fn start_control_plane(&self) -> Result<Webhook> {
        let shared = self.shared();
        shared.programs.control()?;
        let manifests = manifest::parse([("the control plane's manifests", MANIFESTS)])?;
        shared.cluster().apply(&manifests)?;
        for pod in manifests
            .workloads
            .iter()
            .flat_map(manifest::Workload::pods)
        {
            let key = PodKey::new(SERVICE.1, &pod.name);
            let lend = |dir: &str, target: &str, read_only| {
                let source = shared.dir().join(dir);
                shared.lend(
                    &key,
                    Mount {
                        source,
                        target: target.into(),
                        read_only,
                    },
                );
            };
            lend("objects", "/etc/weir/objects", true);
            lend("certs", "/var/lib/weir/certs", false);
        }
        let keys = self.start(&manifests.workloads, None).await?;
        self.wait_ready(&keys, LIMIT).await?;
        let file = shared.dir().join("certs").join(ROOT_CERTIFICATE);
        let ca = fs::read(&file).map_err(Error::file("read", &file))?;
        let mut cluster = shared.cluster();
        cluster.set_root_certificate(&ca);
        let service = cluster.services.iter().find(|service| {
            service.metadata.name.as_deref() == Some(SERVICE.0)
                && service.metadata.namespace.as_deref() == Some(SERVICE.1)
        });
        // Applied above, and a Service gets an address when it is.
        let ip = service.and_then(cluster_ip).ok_or_else(|| Error::Pod {
            pod: keys.first().map(ToString::to_string).unwrap_or_default(),
            reason: "its Service has no address".to_owned(),
        })?;
        Ok(Webhook {
            address: SocketAddr::from((ip, WEBHOOK.0)),
            server_name: format!("{}.{}.svc", SERVICE.0, SERVICE.1),
            path: WEBHOOK.1.to_owned(),
            ca,
        })
    }
}
