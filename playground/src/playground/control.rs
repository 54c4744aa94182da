//! The control plane of a playground: `weir-control` in a pod of its own, behind a Service, fed by
//! the live objects; and its webhook as the API server knows it.

use std::{collections::BTreeSet, fmt, fs, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};
use weir_api::ports;

use super::Playground;
use crate::{
    cluster::{Cluster, PodKey, admission::Webhook, cluster_ip, endpoints},
    container::rootfs::Mount,
    error::{Error, Result},
    kubelet::{probe, request},
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
/// File of the certificate directory by which it checks tokens.
const SERVICE_ACCOUNT_KEY: &str = "service-account.pem";
/// File of the directory of settings with those of the whole mesh, which may change while it runs.
const MESH_SETTINGS: &str = "mesh.yaml";
/// How long the control plane gets to come up.
const LIMIT: Duration = Duration::from_secs(30);

/// The control plane, seen from the API server.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// Its admission webhook.
    pub webhook: Webhook,
    pod: PodKey,
    debug: SocketAddr,
}

impl Playground {
    /// Starts the control plane and waits until its webhook answers. From then on every namespace
    /// has the `ConfigMap` with its root certificate.
    ///
    /// # Errors
    /// If `weir-control` is missing or does not come up.
    pub async fn start_control_plane(&self) -> Result<ControlPlane> {
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
            lend("settings", "/etc/weir/settings", true);
            lend("certs", "/var/lib/weir/certs", false);
        }
        let file = shared.dir().join("settings").join(MESH_SETTINGS);
        fs::write(&file, "").map_err(Error::file("write", &file))?;
        let file = shared.dir().join("certs").join(SERVICE_ACCOUNT_KEY);
        let tokens = shared
            .cluster()
            .tokens
            .as_ref()
            .map(|tokens| tokens.public_key().to_owned());
        fs::write(&file, tokens.unwrap_or_default()).map_err(Error::file("write", &file))?;
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
        let pod = keys
            .into_iter()
            .next()
            .unwrap_or_else(|| PodKey::new(SERVICE.1, SERVICE.0));
        // Applied above, and a Service gets an address when it is.
        let ip = service.and_then(cluster_ip).ok_or_else(|| Error::Pod {
            pod: pod.to_string(),
            reason: "its Service has no address".to_owned(),
        })?;
        Ok(ControlPlane {
            webhook: Webhook {
                address: SocketAddr::from((ip, WEBHOOK.0)),
                server_name: format!("{}.{}.svc", SERVICE.0, SERVICE.1),
                path: WEBHOOK.1.to_owned(),
                ca,
            },
            pod,
            debug: SocketAddr::from((ip, ports::CONTROL_DEBUG)),
        })
    }

    /// Waits until the control plane knows every ready endpoint. It learns of them a moment after
    /// the pods have become ready, in a playground as in a cluster.
    ///
    /// # Errors
    /// If it does not within half a minute, or cannot be asked.
    pub async fn wait_known(&self, control: &ControlPlane) -> Result<()> {
        self.wait_for(control, "/debug/endpointz", endpoints_of, ready_endpoints)
            .await
    }

    /// Waits until the control plane knows every Service, and with them the rules, which are written
    /// down before: pods that are created from then on are told at admission what rules demand.
    ///
    /// # Errors
    /// If it does not within half a minute, or cannot be asked.
    pub async fn wait_told(&self, control: &ControlPlane) -> Result<()> {
        self.wait_for(control, "/debug/registryz", services_of, service_names)
            .await
    }

    /// Waits until everything that is wanted is among what a page of the control plane lists.
    async fn wait_for<T: Ord + fmt::Display>(
        &self,
        control: &ControlPlane,
        page: &str,
        known: fn(&[Value]) -> BTreeSet<T>,
        wanted: fn(&Cluster) -> BTreeSet<T>,
    ) -> Result<()> {
        let wrong = |reason: String| Error::Pod {
            pod: control.pod.to_string(),
            reason,
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            let known = known(&control.list(page).await.map_err(wrong)?);
            let wanted = wanted(&self.shared().cluster());
            let Some(missing) = wanted.difference(&known).next() else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let limit = LIMIT.as_secs();
                return Err(wrong(format!(
                    "it did not learn of {missing} within {limit} s"
                )));
            }
            sleep(probe::EAGER_PERIOD).await;
        }
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// What a page of its debug endpoints lists.
    async fn list(&self, page: &str) -> std::result::Result<Vec<Value>, String> {
        let stream = TcpStream::connect(self.debug).await;
        let stream = stream.map_err(|error| format!("cannot reach {}: {error}", self.debug))?;
        let request = Request::get(page)
            .header("host", self.debug.to_string())
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let (status, body) = request::send(stream, request).await?;
        if status != 200 {
            return Err(format!("{page} answered {status}"));
        }
        serde_json::from_slice(&body).map_err(|error| format!("{page}: {error}"))
    }
}

/// Addresses of the endpoints the control plane takes for ready.
fn endpoints_of(services: &[Value]) -> BTreeSet<SocketAddr> {
    let ports = services.iter().flat_map(|service| list(service, "ports"));
    let endpoints = ports.flat_map(|port| list(port, "endpoints"));
    let ready = endpoints.filter(|endpoint| endpoint["readiness"] == "ready");
    ready
        .filter_map(|endpoint| endpoint["address"].as_str()?.parse().ok())
        .collect()
}

/// Namespaces and names of the Services that the control plane knows.
fn services_of(services: &[Value]) -> BTreeSet<String> {
    let text = |service: &Value, field: &str| service[field].as_str().map(str::to_owned);
    let names = services.iter().filter_map(|service| {
        let (namespace, name) = (text(service, "namespace")?, text(service, "name")?);
        Some(format!("{namespace}/{name}"))
    });
    names.collect()
}

/// Namespaces and names of all Services.
fn service_names(cluster: &Cluster) -> BTreeSet<String> {
    let services = cluster.services.iter().map(|service| &service.metadata);
    let names = services.filter_map(|meta| {
        let (namespace, name) = (meta.namespace.as_deref()?, meta.name.as_deref()?);
        Some(format!("{namespace}/{name}"))
    });
    names.collect()
}

/// Addresses of every ready endpoint of every Service.
fn ready_endpoints(cluster: &Cluster) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    for slice in cluster
        .services
        .iter()
        .flat_map(|service| endpoints::slices(cluster, service))
    {
        for endpoint in list(&slice, "endpoints") {
            if endpoint["conditions"]["ready"] != true {
                continue;
            }
            for port in list(&slice, "ports").filter(|port| port["protocol"] == "TCP") {
                let address = list(endpoint, "addresses").find_map(|address| {
                    let port = u16::try_from(port["port"].as_u64()?).ok()?;
                    Some(SocketAddr::new(address.as_str()?.parse().ok()?, port))
                });
                addresses.extend(address);
            }
        }
    }
    addresses
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
