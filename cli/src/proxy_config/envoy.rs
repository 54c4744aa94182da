//! Bootstraps. The one written for real Envoy: it subscribes to everything the control plane has,
//! over one delta ADS stream, as the pod it is said to be.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};
use weir_api::{
    node::{self, NodeId},
    ports,
    sidecar::{self, PodPort},
};

use super::{dump, read_dump};
use crate::{cluster::reason, output, reach::AnyPodArgs};

/// Name of the cluster that is the control plane.
const CONTROL_PLANE: &str = "weir-control";
/// A control plane that is silent for so long is asked whether it is there.
const KEEPALIVE: &str = "30s";

#[derive(Debug, Args)]
pub(crate) struct BootstrapArgs {
    #[command(flatten)]
    pod: AnyPodArgs,
    /// Write one for Envoy, which then stands for the pod: its addresses and ports decide about
    /// inbound configuration
    #[arg(long)]
    envoy: bool,
    /// Addresses of the pod [default: the cluster is asked]
    #[arg(long, requires = "envoy", value_name = "IP,..", value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// Where the control plane serves xDS
    #[arg(long, requires = "envoy", value_name = "HOST:PORT",
          default_value = sidecar::DEFAULT_CONTROL_PLANE)]
    control_plane: String,
    /// Name in the control plane's certificate [default: HOST of --control-plane]
    #[arg(long, requires = "envoy", value_name = "NAME")]
    control_plane_name: Option<String>,
    /// File, where Envoy runs, with the root certificate that the control plane's is signed by
    #[arg(long, requires = "envoy", value_name = "FILE", default_value_os_t = root_cert())]
    ca_file: PathBuf,
    /// File, where Envoy runs, with a service account token for the audience weir-ca; it is read
    /// anew for each stream. The control plane asks for one unless it runs with --manifests
    #[arg(long, requires = "envoy", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Speak to the control plane without TLS, for development
    #[arg(long, requires = "envoy",
          conflicts_with_all = ["ca_file", "token_file", "control_plane_name"])]
    plaintext: bool,
    /// Port of Envoy's admin interface, on loopback
    #[arg(long, requires = "envoy", value_name = "PORT", default_value_t = ports::ADMIN)]
    admin_port: u16,
    /// Domain of the cluster
    #[arg(
        long,
        requires = "envoy",
        value_name = "DOMAIN",
        default_value = "cluster.local"
    )]
    cluster_domain: String,
}

/// The pod that Envoy stands for.
#[derive(Debug, Default)]
struct Identity {
    ips: Vec<IpAddr>,
    ports: Vec<PodPort>,
    node: Option<String>,
}

fn root_cert() -> PathBuf {
    PathBuf::from(sidecar::CA_DIR).join(sidecar::CA_FILE)
}

/// Prints a bootstrap: the one a proxy runs on, or a new one for Envoy.
pub(super) async fn run(args: &BootstrapArgs, run_root: &Path) -> anyhow::Result<()> {
    let bootstrap = if args.envoy {
        let (namespace, name) = args.names();
        let identity = match args.ip.is_empty() {
            true => ask(args, namespace, name).await?,
            false => Identity {
                ips: args.ip.clone(),
                ..Identity::default()
            },
        };
        new_bootstrap(args, &identity)?
    } else {
        let dump = read_dump(&args.pod, run_root).await?;
        let bootstrap = dump::bootstrap(&dump);
        bootstrap
            .cloned()
            .context("the proxy's dump has no bootstrap")?
    };
    output::line(yaml_serde::to_string(&bootstrap)?.trim_end());
    Ok(())
}

/// Reads the pod from the cluster.
async fn ask(args: &BootstrapArgs, namespace: &str, pod: &str) -> anyhow::Result<Identity> {
    output::error(&format!("weir: asking {}", args.pod.cluster));
    let client = args.pod.cluster.client().await.context(
        "--ip is not given, and the cluster cannot \
                                                      be asked",
    )?;
    let name = format!("pod {namespace}/{pod}");
    let pod = Api::<Pod>::namespaced(client, namespace).get(pod).await;
    let pod = pod.map_err(|error| anyhow::anyhow!("{name}: {}", reason(&error)))?;
    let ips = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ips.as_ref())
        .into_iter()
        .flatten();
    let ips: Vec<IpAddr> = ips.filter_map(|ip| ip.ip.parse().ok()).collect();
    if ips.is_empty() {
        bail!("{name} has no address yet");
    }
    let spec = pod.spec.unwrap_or_default();
    let containers = spec
        .containers
        .iter()
        .filter(|one| one.name != sidecar::PROXY_CONTAINER);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let ports = ports.filter_map(|port| {
        Some(PodPort {
            name: port.name.clone(),
            container_port: u16::try_from(port.container_port).ok()?,
            protocol: port.protocol.clone(),
        })
    });
    Ok(Identity {
        ips,
        ports: ports.collect(),
        node: spec.node_name,
    })
}

fn new_bootstrap(args: &BootstrapArgs, pod: &Identity) -> anyhow::Result<Value> {
    let first = pod.ips.first().context("a pod has an address")?;
    let (namespace, name) = args.names();
    let id = NodeId {
        ip: *first,
        pod: name.to_owned(),
        namespace: namespace.to_owned(),
        cluster_domain: args.cluster_domain.clone(),
    };
    let addresses: Vec<String> = pod.ips.iter().map(IpAddr::to_string).collect();
    let mut metadata = json!({
        node::INSTANCE_IPS: addresses.join(","),
        node::APP_PORTS: serde_json::to_string(&pod.ports)?,
    });
    if let Some(node) = &pod.node {
        metadata[node::NODE_NAME] = json!(node);
    }
    let (host, port) = args.endpoint()?;
    Ok(json!({
        "node": {
            "id": id.to_string(),
            "cluster": format!("{name}.{namespace}"),
            "metadata": metadata,
        },
        "admin": {"address": address("127.0.0.1", args.admin_port)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [args.grpc_service(&host, port)],
            },
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {"clusters": args.clusters(&host, port)},
    }))
}

// === impl BootstrapArgs ===

impl BootstrapArgs {
    /// Namespace and name of the pod that Envoy stands for.
    fn names(&self) -> (&str, &str) {
        let apart = self.pod.pod.split_once('/');
        let default = self.pod.namespace.as_deref().unwrap_or("default");
        apart.unwrap_or((default, &self.pod.pod))
    }

    fn endpoint(&self) -> anyhow::Result<(String, u16)> {
        let wrong = || format!("--control-plane {}: expected HOST:PORT", self.control_plane);
        let (host, port) = self.control_plane.rsplit_once(':').with_context(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            bail!(wrong());
        }
        Ok((host.to_owned(), port.parse().with_context(wrong)?))
    }

    /// Name that the control plane's certificate has to have.
    fn certified(&self, host: &str) -> String {
        self.control_plane_name
            .clone()
            .unwrap_or_else(|| host.to_owned())
    }

    /// How the stream is opened. Envoy's own gRPC client reads a token once; Google's, which is
    /// part of Envoy as well, reads it for each stream, as it has to be: tokens of pods last an
    /// hour.
    fn grpc_service(&self, host: &str, port: u16) -> Value {
        let Some(token) = &self.token_file else {
            return json!({"envoy_grpc": {"cluster_name": CONTROL_PLANE}});
        };
        let target = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let number = |value: u32| json!({"int_value": value});
        json!({"google_grpc": {
            "target_uri": target,
            "stat_prefix": CONTROL_PLANE,
            "channel_credentials": {"ssl_credentials": {"root_certs": {"filename": self.ca_file}}},
            "credentials_factory_name": "envoy.grpc_credentials.file_based_metadata",
            "call_credentials": [{"from_plugin": {
                "name": "envoy.grpc_credentials.file_based_metadata",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig",
                    "secret_data": {"filename": token},
                    "header_key": "authorization",
                    "header_prefix": "Bearer ",
                },
            }}],
            "channel_args": {"args": {
                "grpc.ssl_target_name_override": {"string_value": self.certified(host)},
                "grpc.keepalive_time_ms": number(30_000),
                "grpc.keepalive_timeout_ms": number(10_000),
            }},
        }})
    }

    fn clusters(&self, host: &str, port: u16) -> Vec<Value> {
        if self.token_file.is_some() {
            return Vec::new();
        }
        let is_name = host.parse::<IpAddr>().is_err();
        let mut cluster = json!({
            "name": CONTROL_PLANE,
            "type": if is_name { "STRICT_DNS" } else { "STATIC" },
            "connect_timeout": "5s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {
                        "connection_keepalive": {"interval": KEEPALIVE, "timeout": "10s"},
                    }},
                },
            },
            "load_assignment": {
                "cluster_name": CONTROL_PLANE,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(host, port)}}]}],
            },
        });
        if !self.plaintext {
            cluster["transport_socket"] = self.tls(host);
        }
        vec![cluster]
    }

    fn tls(&self, host: &str) -> Value {
        let name = self.certified(host);
        let is_name = name.parse::<IpAddr>().is_err();
        let mut context = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "validation_context": {
                    "trusted_ca": {"filename": self.ca_file},
                    "match_typed_subject_alt_names": [{
                        "san_type": if is_name { "DNS" } else { "IP_ADDRESS" },
                        "matcher": {"exact": name},
                    }],
                },
            },
        });
        if is_name {
            context["sni"] = json!(name);
        }
        json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
    }
}

fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}
